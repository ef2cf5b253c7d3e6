//! The same lock and code on different systems give the same file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use fs_err as fs;

use super::images::{Images, SYSTEMS};
use super::site;
use super::test::{Test, same_bytes};
use crate::children::run as run_child;

/// In containers of the oldest and the newest system, and out here; and with the same Python in both containers, the same
/// bytecode in it.
pub(super) fn everywhere(test: &Test) -> Result<()> {
    let site = test.place.join("wheels-only");
    site::write(&site, site::WHEELS_ONLY, "name = \"demo\"\nversion = \"1.0\"\n")?;
    let targets = SYSTEMS.iter().flat_map(|(_, system, _)| ["--target", *system]);
    let targets: Vec<&str> = targets.chain(["--bytecode", "never"]).collect();
    let here = test.place.join("here.zip");
    run_child(test.wheelbarrow(&site).args(&targets).arg("--output").arg(&here))?;
    let lock = test.place.join("pylock.demo.toml");
    for (suite, ..) in [SYSTEMS[0], SYSTEMS[2]] {
        let there = test.place.join(format!("{suite}.zip"));
        let mut build = test.wheelbarrow(&site);
        build.args(&targets).args(["--offline", "--in-container", &Images::builder(suite)]);
        run_child(build.arg("--lock").arg(&lock).arg("--output").arg(&there))?;
        same_bytes(&here, &there)?;
    }
    bytecode(test, &site, &lock)
}

/// The oldest system's Python is lent to the newest one.
fn bytecode(test: &Test, site: &Path, lock: &Path) -> Result<()> {
    let (suite, _, minor) = SYSTEMS[0];
    let python = lend(test, suite, minor)?;
    let mut built = Vec::new();
    for (suite, ..) in [SYSTEMS[0], SYSTEMS[2]] {
        let artifact = test.place.join(format!("{suite}-bytecode.zip"));
        let mut build = test.wheelbarrow(site);
        build.arg("--python").arg(&python).args(["--offline", "--bytecode", "always"]);
        build.args(["--in-container", &Images::builder(suite)]);
        // The cache of bytecode would only be compared with itself.
        site::remove(&test.place.join("cache/bytecode"))?;
        run_child(build.arg("--lock").arg(lock).arg("--output").arg(&artifact))?;
        built.push(artifact);
    }
    let pack = format!(".wheelbarrow/bytecode/cpython-3{minor}/");
    if !site::members(&built[0])?.iter().any(|name| name.starts_with(&pack)) {
        bail!("{} has no bytecode", built[0].display());
    }
    same_bytes(&built[0], &built[1])
}

/// Takes the Python out of a builder's image, so that any container can have it.
fn lend(test: &Test, suite: &str, minor: u32) -> Result<PathBuf> {
    let directory = test.place.join("lent");
    site::remove(&directory)?;
    fs::create_dir_all(directory.join("bin"))?;
    let (program, library) = (format!("bin/python3.{minor}"), format!("lib/python3.{minor}"));
    let mut tar = test.images.engine();
    tar.args(["run", "--rm", "--network=none", &Images::builder(suite), "tar", "-C", "/usr"]);
    let mut tar = tar.args(["-c", &program, &library]).stdout(Stdio::piped()).spawn()?;
    let mut unpack = Command::new("tar");
    unpack.arg("-x").arg("-C").arg(&directory).stdin(tar.stdout.take().map_or_else(Stdio::null, Stdio::from));
    let unpacked = unpack.status()?;
    if !tar.wait()?.success() || !unpacked.success() {
        bail!("cannot take the Python out of {}", Images::builder(suite));
    }
    Ok(directory.join(program))
}
