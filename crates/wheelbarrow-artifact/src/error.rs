//! Errors of artifacts.

use std::io;
use std::path::PathBuf;

use wheelbarrow_base::{Exit, Explain, UnsafePath};

use crate::format::Newer;
use crate::manifest::{FORMAT, MANIFEST_PATH};
use crate::tree::BadLink;
use crate::zip::ZipError;

/// Why an artifact is not trusted.
pub type Distrust = Box<dyn std::error::Error + Send + Sync>;

#[derive(thiserror::Error)]
pub enum ArtifactError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not a whole artifact", path.display())]
    Zip { path: PathBuf, source: ZipError },
    #[error("{} is not a wheelbarrow artifact: it has no {MANIFEST_PATH}", path.display())]
    NoManifest { path: PathBuf },
    #[error("the manifest of {} cannot be read", path.display())]
    Manifest { path: PathBuf, source: serde_json::Error },
    #[error("{} has format {found}; this wheelbarrow reads format {FORMAT}", path.display())]
    Format { path: PathBuf, found: u64 },
    #[error("{} was refused", path.display())]
    Unsafe { path: PathBuf, source: UnsafePath },
    #[error("{} has a link that cannot be installed", path.display())]
    Link { path: PathBuf, source: BadLink },
    #[error("{} was altered: {what}", path.display())]
    Altered { path: PathBuf, what: String },
    #[error("{} is not trusted here", path.display())]
    Untrusted { path: PathBuf, source: Distrust },
    #[error("{} is thin: {count} of its members are left out, for a host that has them", path.display())]
    Thin { path: PathBuf, count: usize },
    #[error(transparent)]
    Newer(#[from] Newer),
    #[error("what {} leaves out cannot be read", path.display())]
    LeftOut { path: PathBuf, source: serde_json::Error },
    #[error("stopped, and nothing was changed")]
    Cancelled,
}

wheelbarrow_base::debug_error!(ArtifactError);

impl Explain for ArtifactError {
    fn exit(&self) -> Exit {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::StorageFull => Exit::NoSpace,
            Self::Read { .. } => Exit::Failed,
            Self::Untrusted { .. } => Exit::Unsigned,
            Self::Thin { .. } => Exit::Lacking,
            Self::Newer(_) => Exit::Newer,
            Self::Cancelled => Exit::Stopped,
            _ => Exit::Broken,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Read { .. } | Self::Cancelled => return None,
            Self::Newer(newer) => return Some(newer.hint()),
            Self::NoManifest { .. } => "`wheelbarrow build` makes artifacts",
            Self::Thin { .. } => {
                "`deploy` accepts it for a site root that has the other files, and `-d DEST --store STORE` if no code is left out; \
                 otherwise use the full artifact"
            }
            Self::Format { .. } => "use the wheelbarrow that built it, or build it again",
            Self::Untrusted { .. } => {
                "this host accepts artifacts signed by a key that is valid in its allowed_signers: `wheelbarrow sign ARTIFACT --key KEY`"
            }
            Self::Link { .. } => "change the link to one that stays inside the project, and build it again",
            _ => "copy it again from the build machine, and compare `sha256sum` of both",
        };
        Some(hint.to_owned())
    }
}
