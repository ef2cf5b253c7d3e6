//! `cargo xtask test`: everything that must hold before a change goes in.

use anyhow::Result;

use crate::ansible_pages;
use crate::children::{self, cargo, cargo_for_tests, clean, succeeds, workspace};
use crate::circles;
use crate::licences;
use crate::reference;
use crate::tools;
use crate::words;

fn steps(skipped: &mut Vec<&'static str>) -> Result<()> {
    let cargo_in = |arguments: &[&str]| {
        let mut command = cargo_for_tests();
        command.args(arguments).current_dir(workspace());
        command
    };
    children::run(&mut cargo_in(&["fmt", "--all", "--check"]))?;
    circles::check()?;
    words::check()?;
    reference::check()?;
    ansible_pages::check()?;
    children::run(&mut cargo_in(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    let mut documentation = cargo_in(&["doc", "--workspace", "--no-deps", "--quiet"]);
    children::run(documentation.env("RUSTDOCFLAGS", "-D warnings"))?;
    let tests: &[&str] = if succeeds(&mut cargo_in(&["nextest", "--version"])) {
        &["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        skipped.push("cargo-nextest is not installed: the tests ran by `cargo test`, one after the other");
        // They start and await processes, and count files: each of them needs a process for itself, or the only turn.
        &["test", "--workspace", "--tests", "--no-fail-fast", "--", "--test-threads=1"]
    };
    // The tests that resolve say that they were skipped where there is no uv.
    let uv = tools::uv(&[]).inspect_err(|error| println!("no uv for the tests: {error:#}"));
    children::run(cargo_in(tests).envs(uv.ok().map(|uv| ("WHEELBARROW_UV", uv))))?;
    children::run(
        clean("python3").arg("crates/wheelbarrow-artifact/python/tests/run.py").current_dir(workspace()),
    )?;
    if succeeds(&mut cargo_in(&["deny", "--version"])) {
        children::run(&mut cargo_in(&["deny", "check", "bans", "licenses", "sources"]))?;
    } else {
        println!("cargo-deny is not installed: looking at licences and sources as deny.toml says");
        licences::check()?;
    }
    Ok(())
}

pub(crate) fn run() -> Result<()> {
    let mut skipped = Vec::new();
    let result = steps(&mut skipped);
    for reason in skipped {
        println!("skipped: {reason}");
    }
    result
}

/// Every fault that the tests take a sample of: each changing system call of an install, of looking after a store and of
/// whatever changes a root, failed and killed at, and the power cut after it; more random sequences of all that can be done
/// to a root; and members of 3 GB whatever way they go.
pub(crate) fn torture() -> Result<()> {
    let uv = tools::uv(&[]).inspect_err(|error| println!("no uv for the tests: {error:#}")).ok();
    for (package, tests) in [
        ("wheelbarrow-native", &["faults::"][..]),
        (
            "wheelbarrow",
            &["releases::faults::", "releases::model::", "releases::powercut::", "store::", "large::"],
        ),
    ] {
        let mut command = cargo();
        command.args(["test", "--package", package, "--test", "it", "--", "--nocapture"]).args(tests);
        command.envs(uv.as_ref().map(|uv| ("WHEELBARROW_UV", uv)));
        children::run(command.env("WHEELBARROW_TORTURE", "1").current_dir(workspace()))?;
    }
    Ok(())
}
