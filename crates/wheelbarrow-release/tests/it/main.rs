//! Releases, made by calling the library.

mod clocks;
mod files;
mod site;
mod support;
