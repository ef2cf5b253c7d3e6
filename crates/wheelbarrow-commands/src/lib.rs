//! The commands on installs and releases, and how they print: for the `wheelbarrow` binary, and for the program that
//! travels in every artifact, so that `./site.zip deploy --root ROOT` does what `wheelbarrow deploy` does.

pub mod commands;
pub mod failure;
pub mod printer;
pub mod progress;
mod secret;
pub mod text;

use std::path::{Component, Path, PathBuf};

use anyhow::Context;

/// Absolute and without `..`, going by the text alone, as `os.path.abspath` in `__main__.py` does it: a link in the path
/// stays, so that the scripts of the virtualenv name what was asked for.
pub fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))?;
    let mut normal = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    Ok(normal)
}
