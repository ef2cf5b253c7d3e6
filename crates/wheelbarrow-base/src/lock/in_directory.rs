//! File locks on directories, and in directories where another user may write.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{LOOK, Lock, PATIENCE, Wait, open_lock_in};
use crate::FsError;
use crate::beneath::Directory;
use crate::unfinished::Unfinished;

impl Lock {
    /// Waits for the file lock on a directory that this process has just made, and no other user may open.
    pub(crate) fn of_directory(directory: &Directory, path: &Path) -> Result<Self, FsError> {
        let descriptor = directory.as_fd().try_clone_to_owned().map_err(FsError::io("open", path))?;
        Self::of(descriptor, path, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the file lock on a directory, unless another process holds it.
    pub(crate) fn try_directory(directory: &Directory, path: &Path) -> Result<Option<Self>, FsError> {
        let descriptor = directory.as_fd().try_clone_to_owned().map_err(FsError::io("open", path))?;
        match rustix::fs::flock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { descriptor, removed: None })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(FsError::errno("lock", path)(errno)),
        }
    }

    /// Waits for the lock on a file that its holder makes, and removes in the end. Every user who may read a
    /// directory can lock the directory; only users who may write in `directory` can hold this lock. `path`
    /// is in `directory`.
    pub(crate) fn passing(directory: &Directory, path: &Path) -> Result<Self, FsError> {
        Self::passing_within(directory, path, PATIENCE)
    }

    pub(super) fn passing_within(
        directory: &Directory,
        path: &Path,
        patience: Duration,
    ) -> Result<Self, FsError> {
        let name = path.file_name().unwrap_or_default();
        let wait = Wait { begun: Instant::now(), patience };
        if let Err(error) = directory.stat_at(name)
            && error.kind() == std::io::ErrorKind::InvalidData
        {
            // Another user has mounted a file system there, whose server may let this process wait.
            return Err(FsError::io("open", path)(error));
        }
        loop {
            let file = match open_lock_in(directory.as_fd(), name, path) {
                // Another user's lease on a file of his (fcntl(2)).
                Err(FsError::Io { source, .. }) if source.kind() == std::io::ErrorKind::WouldBlock => {
                    if wait.is_over() {
                        return Err(wait.busy(path));
                    }
                    std::thread::sleep(LOOK);
                    continue;
                }
                opened => opened?,
            };
            let lock = Self::until(file, path, FlockOperation::NonBlockingLockExclusive, wait);
            if let Err(FsError::Io { .. }) = lock {
                // Where locking fails nobody holds one.
                let _ = directory.unlink(name);
            }
            let mut lock = lock?;
            let ours = rustix::fs::fstat(&lock.descriptor).map_err(FsError::errno("look at", path))?;
            match directory.stat_at(name) {
                Ok(found) if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino) => {
                    let listed = Unfinished::list(directory.as_fd(), name);
                    lock.removed = Some(listed.map_err(FsError::io("open", path))?);
                    return Ok(lock);
                }
                // It was removed by who had it before, or is exchanged all the time.
                _ if wait.is_over() => return Err(wait.busy(path)),
                _ => {}
            }
        }
    }
}
