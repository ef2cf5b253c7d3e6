//! `cargo xtask fuzz`: the harness in `fuzz/`, with checks of overflow; or libFuzzer on the same functions.

use std::process::Command;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::children::{self, cargo, target_directory, workspace};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let [flag, seconds, targets @ ..] = arguments
        && flag == "--libfuzzer"
    {
        return libfuzzer(seconds.parse().with_context(|| format!("{seconds}: not a number"))?, targets);
    }
    // Compiling with optimisation takes minutes, which only runs of minutes win back.
    let profile = if arguments.iter().any(|argument| argument == "--minutes") { "fuzz" } else { "dev" };
    let words = ["run", "--quiet", "--profile", profile, "--package", "wheelbarrow-fuzz", "--"];
    children::run(cargo().args(words).args(arguments))
}

/// What cargo-fuzz passes on, without what only a nightly toolchain has: no sanitizer of addresses.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Each target for so long. What was found to reach something new is kept for the next run, beside the build.
fn libfuzzer(seconds: u64, targets: &[String]) -> Result<()> {
    let sources = workspace().join("fuzz/libfuzzer");
    let place = target_directory().join("libfuzzer");
    // Named, so that the flags do not reach the build scripts.
    let system = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    // The same dependencies as the programs have; cargo adds that on libFuzzer.
    fs::copy(workspace().join("Cargo.lock"), sources.join("Cargo.lock"))?;
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--target", &system, "--manifest-path"]);
    build.arg(sources.join("Cargo.toml")).arg("--target-dir").arg(&place);
    children::run(build.env("RUSTFLAGS", COVERAGE))?;
    let mut names = targets.to_vec();
    if names.is_empty() {
        for entry in fs::read_dir(sources.join("fuzz_targets"))? {
            names.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
        names.sort();
    }
    let failures = target_directory().join("fuzz-failures");
    fs::create_dir_all(&failures)?;
    for name in names {
        let found = place.join("corpus").join(&name);
        fs::create_dir_all(&found)?;
        let mut fuzzer = Command::new(place.join(&system).join("release").join(&name));
        fuzzer.arg(format!("-max_total_time={seconds}")).args(["-timeout=2", "-rss_limit_mb=500"]);
        fuzzer.args(["-print_final_stats=1", "-verbosity=0"]);
        fuzzer.arg(format!("-artifact_prefix={}/{name}-", failures.display()));
        children::run(fuzzer.arg(&found).arg(workspace().join("fuzz/corpus").join(&name)))?;
    }
    Ok(())
}
