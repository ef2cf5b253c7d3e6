//! Stories told through the binary.
#![allow(clippy::print_stdout, reason = "tests say what they skipped")]

mod audit;
mod env;
mod errors;
mod help;
mod init;
mod secrets;
mod site;
mod support;
mod targets;
