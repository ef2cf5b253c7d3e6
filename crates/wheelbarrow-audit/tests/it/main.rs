//! Wheels judged: made ones with one thing wrong each, and those of the index.
#![allow(clippy::print_stdout, reason = "tests say what they skipped")]

mod allowing;
mod odd;
mod python_symbols;
mod real;
mod support;
