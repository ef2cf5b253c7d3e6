//! A release's own record, `.wheelbarrow/release.json`: written last, so that its presence means complete.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::manifest::Sha256;

use crate::ReleaseId;

pub(crate) const RELEASE_PATH: &str = ".wheelbarrow/release.json";

/// The record, format 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    pub format: u32,
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
}

/// A release of which the record was read: everything it needs is in place.
#[derive(Clone, Debug, PartialEq)]
pub struct CompleteRelease {
    pub(crate) path: PathBuf,
    pub(crate) record: ReleaseRecord,
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
}
