//! Tools that a person need not have: they are put into `target/tools`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::children::{clean, run, target_directory};
use crate::pythons::{self, Python};

/// uv, by the pip of whichever Python has one, the `preferred` before the others.
pub(crate) fn uv(preferred: &[Python]) -> Result<PathBuf> {
    let directory = target_directory().join("tools/uv");
    let uv = directory.join("bin/uv");
    if !uv.exists() {
        let found = pythons::find_all();
        // The newest first: there is no uv for the oldest.
        let python = preferred.iter().chain(found.iter().rev()).find(|python| python.has_pip());
        let python = python.context("no Python here has pip; on Debian: apt-get install python3-pip")?;
        let mut pip = clean(&python.path);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
        run(pip.arg(&directory).arg("uv"))?;
    }
    Ok(uv)
}

/// The `bin` of a virtualenv `target/tools/NAME` with these distributions of PyPI. They run on Python 3.`oldest` and newer.
pub(crate) fn of_pypi(name: &str, requirements: &[&str], oldest: u32) -> Result<PathBuf> {
    let directory = target_directory().join("tools").join(name);
    let (programs, marker) = (directory.join("bin"), directory.join(requirements.join(" ")));
    if marker.exists() {
        return Ok(programs);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    let python = pythons::find_all().into_iter().rev().find(|python| python.minor >= oldest);
    let python =
        python.with_context(|| format!("{} needs Python 3.{oldest} or newer", requirements.join(", ")))?;
    run(clean(&python.path).args(["-m", "venv"]).arg(&directory))?;
    let mut pip = clean(programs.join("pip"));
    run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(requirements))?;
    fs::write(marker, "")?;
    Ok(programs)
}
