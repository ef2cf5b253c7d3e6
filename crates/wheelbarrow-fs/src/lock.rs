//! Locks by flock(2): the kernel frees them when their holder dies, however it dies.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::FsError;

/// An exclusive lock on a file or directory, held until dropped.
#[derive(Debug)]
pub struct Lock {
    descriptor: OwnedFd,
}

impl Lock {
    /// Waits for the lock on a directory that exists.
    pub fn directory(path: &Path) -> Result<Self, FsError> {
        let lock = Self { descriptor: open_directory(path)? };
        lock.take(path)?;
        Ok(lock)
    }

    /// Lets go of it, until it is taken again.
    pub(crate) fn release(&self) {
        // The kernel has no reason to refuse that; closing would do it too.
        let _ = rustix::fs::flock(&self.descriptor, FlockOperation::Unlock);
    }

    /// Waits for a lock that was released; `path` is for the error.
    pub(crate) fn take(&self, path: &Path) -> Result<(), FsError> {
        rustix::fs::flock(&self.descriptor, FlockOperation::LockExclusive)
            .map_err(FsError::errno("lock", path))
    }

    /// Takes the lock on a directory, unless somebody holds it.
    pub fn try_directory(path: &Path) -> Result<Option<Self>, FsError> {
        let descriptor = open_directory(path)?;
        match rustix::fs::flock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { descriptor })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(FsError::errno("lock", path)(errno)),
        }
    }

    /// Waits for the lock on a file, which is made when it is not there and never removed.
    pub fn file(path: &Path) -> Result<Self, FsError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))
            .map_err(FsError::errno("open", path))?;
        rustix::fs::flock(&descriptor, FlockOperation::LockExclusive)
            .map_err(FsError::errno("lock", path))?;
        Ok(Self { descriptor })
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, FsError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(FsError::errno("open the directory", path))
}
