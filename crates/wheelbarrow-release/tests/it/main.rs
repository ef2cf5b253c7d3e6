//! Releases, made by calling the library.
#![allow(clippy::print_stdout, reason = "tests say what they skipped")]

mod clocks;
mod collected;
mod files;
mod hindered;
mod owner;
mod silent;
mod support;
mod trust;

use wheelbarrow_testing::{mounts, site};
