//! What can go wrong with releases.

use std::io;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::ArtifactError;
use wheelbarrow_fs::FsError;
use wheelbarrow_install::InstallError;

use crate::check::CheckError;
use crate::lock::Holder;
use crate::{NotAnId, ReleaseId};

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Id(#[from] NotAnId),
    #[error("{} is not a site root", path.display())]
    NotARoot { path: PathBuf },
    #[error("{} is {found}, not a link of Wheelbarrow's to one of its releases", path.display())]
    ForeignCurrent { path: PathBuf, found: String },
    #[error("another wheelbarrow works on {}{}", root.display(), describe(holder.as_ref()))]
    Locked { root: PathBuf, holder: Option<Holder> },
    #[error("{} has no release {id}", root.display())]
    Unknown { root: PathBuf, id: ReleaseId },
    #[error("the release {id} is not complete")]
    Incomplete { id: ReleaseId },
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("stopped")]
    Cancelled,
}

impl ReleaseError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Artifact(error) => return error.hint(),
            Self::Install(error) => return error.hint(),
            Self::Check(error) => error.hint(),
            Self::NotARoot { .. } => "`wheelbarrow deploy ARTIFACT --root ROOT` makes one",
            Self::ForeignCurrent { .. } => "move it away; deploy makes the link `current` itself",
            Self::Locked { .. } => "`--wait` waits for it to end",
            Self::Unknown { .. } => "`wheelbarrow list --root ROOT` shows the releases that are there",
            Self::Incomplete { .. } => "deploy it again",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// As `docs/exit-codes.md` says.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Artifact(ArtifactError::Read { .. }) | Self::Io { .. } | Self::Fs(_) => 1,
            Self::Artifact(_) => 3,
            Self::Install(error) => error.exit_code(),
            Self::Id(_) => 2,
            Self::NotARoot { .. } | Self::ForeignCurrent { .. } => 5,
            Self::Unknown { .. } | Self::Incomplete { .. } => 5,
            Self::Check(_) => 11,
            Self::Locked { .. } => 15,
            Self::Cancelled => 130,
        }
    }
}

fn describe(holder: Option<&Holder>) -> String {
    holder.map(|holder| format!(": {holder}")).unwrap_or_default()
}
