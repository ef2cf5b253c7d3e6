//! Writes the artifact in one pass: `docs/reference/format.md` specifies its members and their order.
//!
//! [`plan`] assigns, as plain data, the bytes of each member; `write` writes them. The same inputs give the
//! same bytes: times are fixed, modes are one of two, and nothing of this machine is included.

mod environment;
mod head;
mod plan;
mod write;

use std::io;
use std::path::PathBuf;

use wheelbarrow_artifact::manifest::{EnvironmentRules, Sha256};
use wheelbarrow_artifact::release::ReleaseSettings;
use wheelbarrow_artifact::zip::{Deflated, DosTime, WriteError};
use wheelbarrow_base::{Exit, Explain};

use crate::bundled::Bundled;
use crate::check::PackedTarget;
use crate::project::ProjectFile;

pub use wheelbarrow_artifact::SHEBANG;

pub use plan::{MemberSource, Plan, PlannedMember, check_shebang, modules, plan};
pub(crate) use write::write_beside;
pub use write::{check_output, write};

/// A program that installs an artifact on Linux, for one machine.
#[derive(Clone, Debug)]
pub struct Installer {
    /// `x86_64`, `aarch64`.
    pub machine: String,
    pub program: Deflated,
}

/// What goes into an artifact.
#[derive(Clone, Debug)]
pub struct ArtifactContents {
    /// Normalised (PEP 503).
    pub name: String,
    pub version: Option<String>,
    /// Of the code, in the zip; it names the `.pth` too.
    pub directory: String,
    /// Below `directory`; empty for itself.
    pub import_path: String,
    pub code: Vec<ProjectFile>,
    /// Below `directory`: where the code has the static files that were collected.
    pub static_root: Option<String>,
    pub static_directories: Vec<Vec<ProjectFile>>,
    pub targets: Vec<PackedTarget>,
    pub environment: EnvironmentRules,
    pub release: Option<ReleaseSettings>,
    /// `#!/usr/bin/env python3`, without the line end.
    pub shebang: String,
    pub installers: Vec<Installer>,
    /// The bundled Python; then the script in front of the zip takes the place of `shebang`.
    pub interpreter: Option<Bundled>,
    pub time: DosTime,
}

/// An artifact that was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Packed {
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// How many members it has.
    pub members: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("the shebang {shebang:?} cannot be used: {reason}")]
    Shebang { shebang: String, reason: &'static str },
    #[error("SOURCE_DATE_EPOCH is {value:?}, which is no time between 1980 and 2107 in seconds since 1970")]
    Epoch { value: String },
    #[error("`{name}` in environment.required cannot be the name of a variable")]
    Variable { name: String },
    #[error("the path {path} cannot be in an artifact")]
    Path { path: String, source: wheelbarrow_base::UnsafePath },
    #[error("the output {} is not a regular file", path.display())]
    NoFile { path: PathBuf },
    #[error("the output {} exists, and is not an artifact", path.display())]
    NoArtifact { path: PathBuf },
    #[error("the artifact cannot be made: {what}")]
    Members { what: String },
    #[error("{} changed while it was packed: it has SHA-256 {found}, not {expected}", path.display())]
    Changed { path: PathBuf, expected: Sha256, found: Sha256 },
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: WriteError },
}

impl Explain for PackError {
    fn exit(&self) -> Exit {
        match self {
            Self::Io { source, .. } => Exit::of_io(source),
            Self::NoFile { .. } | Self::NoArtifact { .. } => Exit::Refused,
            Self::Changed { .. } => Exit::Broken,
            Self::Write { source: WriteError::TooLarge { .. }, .. } => Exit::Project,
            Self::Write { source: WriteError::Write(error), .. } => Exit::of_io(error),
            Self::Write { .. } => Exit::Failed,
            _ => Exit::Project,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Shebang { .. } => "it is like `--shebang '#!/opt/python3.12/bin/python3'`".to_owned(),
            Self::Epoch { .. } => {
                "unset it, or give a time such as `git log -1 --format=%ct` prints".to_owned()
            }
            Self::NoFile { path } if path.is_dir() => {
                "`-o` names a file in it, such as `-o DIRECTORY/site.zip`".to_owned()
            }
            Self::NoFile { .. } => "`-o` names a file".to_owned(),
            Self::NoArtifact { .. } => {
                "it was not changed: `-o` names another file, or remove this one".to_owned()
            }
            Self::Io { action: "make a file beside", .. } => "`-o FILE` names another place".to_owned(),
            Self::Changed { .. } => "remove it from the cache and build again".to_owned(),
            Self::Write { source: WriteError::TooLarge { .. }, .. } => {
                "leave large files out of the project (`exclude`), or build one artifact for each Python"
                    .to_owned()
            }
            _ => return None,
        })
    }
}

/// The time of every member: `SOURCE_DATE_EPOCH` where it is set, else the first that a zip can say.
/// <https://reproducible-builds.org/specs/source-date-epoch/>
pub fn source_date(value: Option<&str>) -> Result<DosTime, PackError> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(DosTime::FIRST) };
    let epoch = value.parse().ok().and_then(DosTime::from_epoch);
    epoch.ok_or_else(|| PackError::Epoch { value: value.to_owned() })
}

#[cfg(test)]
mod tests;
