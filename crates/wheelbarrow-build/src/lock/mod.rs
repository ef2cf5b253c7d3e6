//! Locks: PEP 751 files, <https://packaging.python.org/en/latest/specifications/pylock-toml/>.
//!
//! Other inputs are resolved into a lock by uv ([`resolve`]), which is kept beside the artifact and used
//! until the inputs change.

mod change;
mod complete;
mod digest;
mod index_order;
mod local;
mod marker;
mod paths;
mod previous;
mod pylock;
mod record;
mod request;
mod resolve;
mod run;
mod wanted;
mod with;
mod yanked;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use wheelbarrow_http::Credentials;

use crate::inputs::formats::Formats;
use crate::inputs::hashes::RequiredHashes;

pub(crate) use complete::complete;
pub use digest::{Algorithm, Digest};
pub use marker::TargetMarkers;
pub(crate) use previous::PreviousLock;
pub(crate) use pylock::place;
pub use pylock::{Archive, Directory, DistributionFile, Package, Place, Pylock, Vcs};
pub use request::{LockRequest, ReadRequest};
pub use resolve::{FoundLock, read, resolve};
pub use wanted::WantedLock;

/// A lock that was read, and what came with its inputs.
#[derive(Clone, Debug)]
pub struct Lock {
    pub path: PathBuf,
    pub pylock: Pylock,
    /// Hashes that the requirements files ask for, beside those of the lock.
    pub required: RequiredHashes,
    /// Whether wheels and sources may be taken.
    pub formats: Formats,
    /// Of the project, to be installed.
    pub extras: Vec<String>,
    /// Dependency groups to be installed; the lock's default ones where none is named.
    pub groups: Vec<String>,
    /// Logins of URLs in the inputs; the lock holds none.
    pub credentials: Credentials,
    /// Whether it was made just now.
    pub resolved: bool,
    /// Whether Wheelbarrow made it, now or before.
    pub ours: bool,
}

impl Lock {
    /// A note on distributions that pyproject.toml names and the lock does not have.
    pub(crate) fn left_out(&self, named: &BTreeSet<String>) -> Option<String> {
        let is_locked = |name: &&String| self.pylock.packages.iter().any(|package| package.name == **name);
        let names: Vec<&str> = named.iter().filter(|name| !is_locked(name)).map(String::as_str).collect();
        (!names.is_empty()).then(|| {
            format!(
                "pyproject.toml names dependencies that are not in the artifact, since requirements files count alone: {}",
                names.join(", ")
            )
        })
    }
}

impl Lock {
    /// Reads a lock that needs no inputs.
    pub fn read(path: &Path) -> crate::Result<Self> {
        Ok(Self::of(path, Pylock::read(path)?))
    }

    /// One that stands at `path`.
    pub(crate) fn of(path: &Path, pylock: Pylock) -> Self {
        Self {
            path: path.to_path_buf(),
            required: RequiredHashes::default(),
            formats: Formats::default(),
            extras: Vec::new(),
            groups: pylock.default_groups.clone(),
            pylock,
            credentials: Credentials::default(),
            resolved: false,
            ours: false,
        }
    }

    /// Where relative paths in it start.
    pub fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }
}
