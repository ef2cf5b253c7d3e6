//! A release's own record, `.wheelbarrow/release.json`: written last, so that its presence means complete.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::format;
use wheelbarrow_artifact::manifest::{self, EnvironmentRules, MANIFEST_PATH, Project, Sha256};
use wheelbarrow_artifact::release::ReleaseSettings;
use wheelbarrow_base::beneath::Directory;

use crate::{ReleaseError, ReleaseId};

pub(crate) const RELEASE_PATH: &str = ".wheelbarrow/release.json";
pub(crate) const LOGS: &str = ".wheelbarrow/logs";
/// The format of the record that this code writes, and the only one that it reads.
pub(crate) const FORMAT: u32 = 1;

/// The record, format 1. A key may be added that an older program can do without; `docs/reference/compatibility.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    pub format: u32,
    /// The version of Wheelbarrow that wrote it; none of 0.1.0.
    #[serde(default)]
    pub program: Option<String>,
    pub id: ReleaseId,
    /// Of the site.
    pub name: String,
    pub version: Option<String>,
    /// Of the artifact.
    pub manifest_sha256: Sha256,
    /// What was live when it was made: where a rollback goes.
    pub parent: Option<ReleaseId>,
    /// Of the environment.json that was taken into it; none where there was none.
    pub environment_sha256: Option<Sha256>,
    /// Seconds since 1970, for people.
    pub made_at: u64,
    /// What flags said when it was made: a rollback to it, and a recovery, do it the same way.
    #[serde(default)]
    pub settings: ReleaseSettings,
}

/// A release of which the record was read: everything it needs is in place.
#[derive(Clone, Debug, PartialEq)]
pub struct CompleteRelease {
    pub(crate) path: PathBuf,
    pub(crate) record: ReleaseRecord,
}

/// The Python that a release brings, by its manifest.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct InterpreterRecord {
    /// `3.12.11`
    pub(crate) version: String,
}

/// What a release must know of its manifest.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SiteRecord {
    #[serde(default)]
    pub(crate) interpreter: Option<InterpreterRecord>,
    pub project: Project,
    pub environment: EnvironmentRules,
    pub release: Option<ReleaseSettings>,
}

impl CompleteRelease {
    /// Its directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn id(&self) -> &ReleaseId {
        &self.record.id
    }

    pub fn record(&self) -> &ReleaseRecord {
        &self.record
    }

    /// What commands leave that run in it or for it.
    pub fn logs(&self) -> PathBuf {
        self.path.join(LOGS)
    }

    /// The virtualenv.
    pub fn virtualenv(&self) -> PathBuf {
        wheelbarrow_install::virtualenv(&self.path)
    }

    /// Its directory, open: what is in it is read without following links or entering what is mounted there, since some of it may be
    /// given away.
    pub(crate) fn open(&self) -> Result<Directory, ReleaseError> {
        let open = Directory::open(&self.path).map(Directory::on_one_mount);
        open.map_err(ReleaseError::io("open", &self.path))
    }

    /// What a file of it holds; a path below it.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, ReleaseError> {
        self.open()?.read(path).map_err(ReleaseError::io("read", &self.path.join(path)))
    }

    /// The same; none for a file that is not there.
    pub(crate) fn read_if_there(&self, path: &str) -> Result<Option<Vec<u8>>, ReleaseError> {
        match self.read(path) {
            Ok(contents) => Ok(Some(contents)),
            Err(ReleaseError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What its manifest says of the site.
    pub fn site(&self) -> Result<SiteRecord, ReleaseError> {
        let path = self.path.join(MANIFEST_PATH);
        let text = self.read(MANIFEST_PATH)?;
        format::read(&path, &text, manifest::FORMAT).map_err(ReleaseError::misread(&path))
    }
}
