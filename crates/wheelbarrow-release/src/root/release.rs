//! A release's own record, `.wheelbarrow/release.json`: written last, so that its presence means complete.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::format;
use wheelbarrow_artifact::manifest::{self, EnvironmentRules, MANIFEST_PATH, Project, Sha256};
use wheelbarrow_artifact::release::ReleaseSettings;
use wheelbarrow_base::beneath::Directory;

use crate::environment::ENVIRONMENT;
use crate::{ReleaseError, ReleaseId};

pub(crate) const RELEASE_PATH: &str = ".wheelbarrow/release.json";
/// With the owner and the mode of environment.json: who knows most of that could guess the rest.
pub(crate) const ENVIRONMENT_SHA256: &str = ".wheelbarrow/environment.sha256";
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
    /// Of the environment.json that was taken into it; none where there was none, and for whoever may not read that. It is in
    /// `.wheelbarrow/environment.sha256`; earlier versions had it in the record, which everybody may read.
    #[serde(default, skip_serializing)]
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

/// The record of the release at `path`, for this user.
pub(crate) fn with_environment(record: ReleaseRecord, path: &Path) -> ReleaseRecord {
    let release = Directory::open(path).ok();
    let digest = release.and_then(|release| environment_sha256(&release, record.environment_sha256));
    ReleaseRecord { environment_sha256: digest, ..record }
}

/// The hash of the environment in a release for this user; `recorded` is what the record has.
fn environment_sha256(release: &Directory, recorded: Option<Sha256>) -> Option<Sha256> {
    let is_denied = |error: &io::Error| error.kind() == ErrorKind::PermissionDenied;
    match release.read(ENVIRONMENT_SHA256) {
        Ok(text) => Sha256::from_hex(std::str::from_utf8(&text).ok()?.trim_end()),
        Err(_) => recorded.filter(|_| !release.file(ENVIRONMENT).is_err_and(|error| is_denied(&error))),
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use fs_err as fs;

    use super::*;

    /// The record of a release can be read by everybody.
    #[test]
    fn the_hash_of_an_environment_is_for_who_may_read_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("1-00000000");
        fs::create_dir_all(path.join(".wheelbarrow")).unwrap();
        let (old, new) = (Sha256::of(b"old"), Sha256::of(b"new"));
        let read = |recorded| environment_sha256(&Directory::open(&path).unwrap(), recorded);
        assert_eq!((read(Some(old)), read(None)), (Some(old), None));
        fs::write(path.join(ENVIRONMENT), "{}").unwrap();
        assert_eq!(read(Some(old)), Some(old));
        if rustix::process::geteuid().is_root() {
            let set = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
            let by_other = |recorded| wheelbarrow_base::as_user(4321, 4321, || read(recorded)).unwrap();
            set(place.path(), 0o755);
            assert_eq!(by_other(Some(old)), Some(old), "its environment.json may be read");
            set(&path.join(ENVIRONMENT), 0o640);
            assert_eq!(by_other(Some(old)), None);
            fs::write(path.join(ENVIRONMENT_SHA256), format!("{new}\n")).unwrap();
            set(&path.join(ENVIRONMENT_SHA256), 0o640);
            assert_eq!((by_other(None), read(None)), (None, Some(new)));
        }
    }
}
