//! What the tests of several crates share. It is no part of any program.

#![allow(clippy::print_stdout, reason = "tests say what they skipped")]

pub mod generated;
pub mod mounts;
pub mod site;
