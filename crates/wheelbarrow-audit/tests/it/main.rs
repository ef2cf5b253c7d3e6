//! Wheels judged: made ones with one thing wrong each, and those of the index.
#![allow(clippy::print_stdout, reason = "tests say what they skipped")]

mod allowing;
mod odd;
mod real;
mod support;
