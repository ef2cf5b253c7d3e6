//! Links static files one by one: their names in the store are their hashes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::progress::Progress;

use super::Store;
use super::paths::{STATIC, static_entry};
use super::transfer::{LinkEnds, Transfer};
use crate::InstallError;

/// How static files come out of the store.
pub(crate) struct StaticLinks<'s> {
    directory: Option<OwnedFd>,
    transfer: &'s Transfer,
}

impl<'s> StaticLinks<'s> {
    /// A store without static files has no directory for them.
    pub(crate) fn open(store: &Store, transfer: &'s Transfer) -> Result<Self, InstallError> {
        let path = store.path().join(STATIC);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(directory) => Ok(Self { directory: Some(directory), transfer }),
            Err(rustix::io::Errno::NOENT) => Ok(Self { directory: None, transfer }),
            Err(errno) => Err(InstallError::io("open the directory", &path)(errno.into())),
        }
    }

    /// Brings a file to `name` in an open directory; `path` is that of the file in errors. A copy gets `time`.
    pub(crate) fn link(
        &self,
        sha256: Sha256,
        (directory, name): (BorrowedFd<'_>, &str),
        (path, time): (&Path, u32),
        progress: &dyn Progress,
    ) -> Result<(), InstallError> {
        let missing = || InstallError::AlteredStore {
            entries: vec![(static_entry(sha256), "it is missing".to_owned())],
        };
        let from = self.directory.as_ref().ok_or_else(missing)?.as_fd();
        let ends = LinkEnds { from, source: &sha256.to_string(), to: directory, target: name };
        match self.transfer.file(&ends, false, time) {
            Ok(impossible) => {
                impossible.iter().for_each(|impossible| impossible.note(progress));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(InstallError::io("link", path)(error)),
        }
    }
}
