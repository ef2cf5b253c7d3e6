//! The native installer by itself, for the tests of this crate. What travels in artifacts has releases besides.

use std::process::ExitCode;

fn main() -> ExitCode {
    wheelbarrow_install::program::run()
}
