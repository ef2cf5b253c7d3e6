//! Releases, made by calling the library.
#![allow(clippy::print_stdout, reason = "tests say what they skipped")]

mod clocks;
mod files;
#[allow(dead_code, reason = "the tests of installs use all of it")]
#[path = "../../../wheelbarrow-install/tests/it/mounts.rs"]
mod mounts;
mod site;
mod support;
mod trust;
