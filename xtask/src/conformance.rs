//! `cargo xtask conformance`: what the tests expect of the wheels and zips of other projects and of the large site, of the release
//! build. The tests are those that `cargo xtask test` has built; only the program that they start is another one.

use anyhow::Result;

use crate::children::{self, cargo, cargo_for_tests, succeeds, workspace};
use crate::tools;

/// Modules of the tests of `wheelbarrow-native` that heed `WHEELBARROW_PROGRAM`.
const MODULES: [&str; 3] = ["conformance::", "corpus::", "site106::"];

pub(crate) fn run() -> Result<()> {
    let program = children::wheelbarrow()?;
    let mut command = cargo_for_tests();
    // The whole workspace, as in `cargo xtask test`: else dependencies have other features, and are built again.
    if succeeds(cargo().args(["nextest", "--version"])) {
        let tests = MODULES.map(|module| format!("test(/^{module}/)")).join(" | ");
        let filter = format!("package(wheelbarrow-native) & ({tests})");
        command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--filterset", &filter]);
    } else {
        command.args(["test", "--workspace", "--test", "it", "--no-fail-fast", "--"]).args(MODULES);
    }
    command.env("WHEELBARROW_PROGRAM", program).env("WHEELBARROW_UV", tools::uv(&[])?);
    children::run(command.current_dir(workspace()))
}
