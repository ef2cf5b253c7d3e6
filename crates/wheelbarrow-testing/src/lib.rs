//! Helpers that the tests of several crates share. No program contains them.

#![allow(clippy::print_stdout, reason = "tests say what they skipped")]

pub mod generated;
pub mod mounts;
pub mod site;
