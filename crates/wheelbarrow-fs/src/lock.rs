//! Locks by flock(2): the kernel frees them when their holder dies, however it dies.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::FsError;

/// A lock on a file or directory, held until dropped; exclusive where nothing else is said.
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
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(FsError::errno("lock", path)(errno)),
        }
    }

    /// Waits for the lock on a file, which is made when it is not there and never removed.
    pub fn file(path: &Path) -> Result<Self, FsError> {
        Self::of_file(path, FlockOperation::LockExclusive)
    }

    /// The same, together with others who want it shared. Who may only read the file can have it too.
    pub fn shared_file(path: &Path) -> Result<Self, FsError> {
        Self::of_file(path, FlockOperation::LockShared)
    }

    /// Takes the exclusive lock on a file, unless somebody holds it.
    pub fn try_file(path: &Path) -> Result<Option<Self>, FsError> {
        match Self::of_file(path, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Ok(Some(lock)),
            Err(FsError::Io { source, .. }) if source.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of_file(path: &Path, operation: FlockOperation) -> Result<Self, FsError> {
        let open = |flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o666));
        let descriptor = match open(OFlags::RDWR | OFlags::CREATE) {
            Err(errno @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {
                open(OFlags::RDONLY).map_err(|_| errno)
            }
            opened => opened,
        };
        let descriptor = descriptor.map_err(FsError::errno("open", path))?;
        rustix::fs::flock(&descriptor, operation).map_err(FsError::errno("lock", path))?;
        Ok(Self { descriptor })
    }
}

impl Drop for Lock {
    /// Not left to the closing: where that fails, this process would wait for itself the next time.
    fn drop(&mut self) {
        self.release();
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

/// Opens the file of a lock, and makes it first if it is not there. Only who may write into its directory may open it: whoever
/// can open a file can hold a lock on it.
pub fn open_lock(path: &Path) -> Result<OwnedFd, FsError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shared = rustix::fs::stat(directory).is_ok_and(|metadata| metadata.st_mode & 0o020 != 0);
    let mode = Mode::from_raw_mode(if shared { 0o660 } else { 0o600 });
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, mode).map_err(FsError::errno("open", path))?;
    let metadata = rustix::fs::fstat(&file).map_err(FsError::errno("look at", path))?;
    if metadata.st_mode & 0o777 != mode.bits() && metadata.st_uid == rustix::process::geteuid().as_raw() {
        // Of an earlier version, or cut by a umask.
        let _ = rustix::fs::fchmod(&file, mode);
    }
    Ok(file)
}
