//! Tools that a person need not have: they are put into `target/tools`.

use std::path::PathBuf;

use anyhow::{Context, Result};

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
