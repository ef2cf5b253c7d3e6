//! The Pythons of this machine.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::children::{clean, succeeds};

/// A Python that runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Python {
    /// Of 3.
    pub(crate) minor: u32,
    pub(crate) path: PathBuf,
}

/// What the demo's Wagtail and its requirements are made for.
const OLDEST: u32 = 10;
const NEWEST: u32 = 13;

impl Python {
    /// Asks a path or a name for its version.
    pub(crate) fn ask(path: &Path) -> Option<Self> {
        let code =
            "import sys; print(sys.version_info[1] if sys.version_info[0] == 3 else 0, sys.executable)";
        let output =
            clean(path).args(["-I", "-c", code]).output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (minor, path) = text.trim().split_once(' ')?;
        Some(Self { minor: minor.parse().ok()?, path: PathBuf::from(path) })
    }

    pub(crate) fn has_pip(&self) -> bool {
        succeeds(clean(&self.path).args(["-m", "pip", "--version"]))
    }

    pub(crate) fn version(&self) -> String {
        format!("3.{}", self.minor)
    }

    pub(crate) fn serves_demo(&self) -> bool {
        (OLDEST..=NEWEST).contains(&self.minor)
    }
}

/// One of each minor version, the oldest first: on PATH, and pyenv's.
pub(crate) fn find_all() -> Vec<Python> {
    let names = (6..=20).map(|minor| format!("python3.{minor}"));
    let mut places: Vec<PathBuf> =
        ["python3".to_owned()].into_iter().chain(names).map(PathBuf::from).collect();
    places.push("/usr/bin/python3".into());
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
    if let Some(versions) = root.and_then(|root| fs_err::read_dir(root.join("versions")).ok()) {
        places.extend(versions.filter_map(|entry| Some(entry.ok()?.path().join("bin/python3"))));
    }
    let mut found: Vec<_> = places.iter().filter_map(|path| Python::ask(path)).collect();
    found.sort();
    found.dedup_by_key(|python| python.minor);
    found
}

/// The newest `most` of those that can run the demo's site, the oldest of them first.
pub(crate) fn for_demo(most: usize) -> Result<Vec<Python>> {
    let mut pythons: Vec<_> = find_all().into_iter().filter(Python::serves_demo).collect();
    if pythons.is_empty() {
        bail!("the demo needs a Python from 3.{OLDEST} to 3.{NEWEST}; --python names one");
    }
    Ok(pythons.split_off(pythons.len().saturating_sub(most)))
}
