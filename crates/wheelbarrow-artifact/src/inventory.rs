//! The inventory of a host: the files that an artifact for the host can leave out. `docs/reference/store.md`,
//! "The inventory of a host", is the specification.
//!
//! An inventory comes from another machine and is not trusted: a host refuses a thin artifact that leaves out
//! too much.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wheelbarrow_base::{Exit, Explain, read_regular};
use wheelbarrow_platform::{AbiTag, MinorVersion, RequiredPlatform};

use crate::format::{self, Misread, Newer};
use crate::manifest::Sha256;

/// The format that this code writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// In bytes. A host with 100,000 files in releases says so in 7 MB.
const LARGEST: u64 = 64 << 20;

/// What a host has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// [`FORMAT`].
    pub format: u32,
    /// Of the host, as in the names of standalone binaries: `x86_64`. None where every machine is meant.
    pub machine: Option<String>,
    /// What its releases were installed for, ordered. None of them: whatever an artifact is for.
    pub targets: BTreeSet<HostTarget>,
    /// Unpacked wheels, pip among them, ordered by SHA-256.
    pub wheels: Vec<HostWheel>,
    /// Native programs.
    pub programs: BTreeSet<Sha256>,
    /// The contents of code, static files and packs of the project's bytecode.
    pub files: BTreeSet<Sha256>,
}

/// A target of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostTarget {
    pub python: MinorVersion,
    pub abi: AbiTag,
    pub platform: RequiredPlatform,
    /// Whether its interpreter took the bytecode that travelled.
    pub bytecode: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostWheel {
    pub sha256: Sha256,
    /// The file name of the wheel.
    pub wheel: String,
    pub bytecode: Vec<HostBytecode>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostBytecode {
    /// Of the pack.
    pub sha256: Sha256,
    pub cache_tag: String,
    pub magic: String,
}

#[derive(thiserror::Error)]
pub enum InventoryError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is larger than any inventory: more than {LARGEST} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} is not an inventory of a host", path.display())]
    Wrong { path: PathBuf, source: serde_json::Error },
    #[error(transparent)]
    Newer(#[from] Newer),
}

wheelbarrow_base::debug_error!(InventoryError);

impl Explain for InventoryError {
    fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } => Exit::Failed,
            Self::Newer(_) => Exit::Newer,
            _ => Exit::Broken,
        }
    }

    fn hint(&self) -> Option<String> {
        if let Self::Newer(newer) = self {
            return Some(newer.hint());
        }
        let hint = "`wheelbarrow store inventory --root ROOT --json`, run on the host, prints one";
        (!matches!(self, Self::Read { .. })).then(|| hint.to_owned())
    }
}

impl Inventory {
    /// Of what `wheelbarrow store inventory --json` has printed.
    pub fn read(path: &Path) -> Result<Self, InventoryError> {
        let read_error = |source| InventoryError::Read { path: path.to_path_buf(), source };
        let text = match read_regular(path, LARGEST) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(InventoryError::TooLarge { path: path.to_path_buf() });
            }
            text => text.map_err(read_error)?,
        };
        let wrong = |source| InventoryError::Wrong { path: path.to_path_buf(), source };
        let inventory: Self = format::read(path, &text, FORMAT).map_err(|misread| match misread {
            Misread::Newer(newer) => newer.into(),
            Misread::Wrong(source) => wrong(source),
        })?;
        match inventory.format {
            FORMAT => Ok(inventory),
            format => Err(wrong(format::unknown(format, FORMAT))),
        }
    }
}
