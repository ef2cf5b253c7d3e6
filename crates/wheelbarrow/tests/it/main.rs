//! Stories told through the binary.
#![allow(clippy::print_stdout, reason = "tests say what they skipped")]

mod audit;
mod django;
mod env;
mod errors;
mod help;
mod init;
mod releases;
mod secrets;
mod site;
mod support;
mod targets;
