//! File locks by flock(2): the kernel releases them when their holder ends, however it ends.

#[cfg(target_os = "linux")]
mod in_directory;

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::FsError;
use crate::unfinished::Unfinished;

/// How long to wait for a file lock before it is an error.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two attempts.
const LOOK: Duration = Duration::from_millis(5);

/// A file lock on a file or directory, held until dropped; exclusive by default. A wait for it ends after a
/// minute.
#[derive(Debug)]
pub struct Lock {
    descriptor: OwnedFd,
    /// A file that exists only while the lock is held.
    removed: Option<Unfinished>,
}

impl Lock {
    /// Waits for the lock on a file, which is made if it does not exist and is never removed.
    pub fn file(path: &Path) -> Result<Self, FsError> {
        Self::file_within(path, PATIENCE)
    }

    /// Like [`Self::file`], with another limit.
    pub fn file_within(path: &Path, patience: Duration) -> Result<Self, FsError> {
        let wait = Wait { begun: Instant::now(), patience };
        Self::until(open_lock(path)?, path, FlockOperation::NonBlockingLockExclusive, wait)
    }

    /// Like [`Self::file`], for a shared lock. `None` if this user may not open the file, and so may not
    /// change anything either.
    pub fn shared_file(path: &Path) -> Result<Option<Self>, FsError> {
        let descriptor = match open_lock(path) {
            Err(FsError::Io { source, .. })
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                match rustix::fs::open(
                    path,
                    OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
                    Mode::empty(),
                ) {
                    Ok(descriptor) => descriptor,
                    Err(_) => return Ok(None),
                }
            }
            opened => opened?,
        };
        Self::of(descriptor, path, FlockOperation::NonBlockingLockShared).map(Some)
    }

    fn of(descriptor: OwnedFd, path: &Path, operation: FlockOperation) -> Result<Self, FsError> {
        let wait = Wait { begun: Instant::now(), patience: PATIENCE };
        Self::until(descriptor, path, operation, wait)
    }

    fn until(
        descriptor: OwnedFd,
        path: &Path,
        operation: FlockOperation,
        wait: Wait,
    ) -> Result<Self, FsError> {
        loop {
            match rustix::fs::flock(&descriptor, operation) {
                Ok(()) => return Ok(Self { descriptor, removed: None }),
                Err(Errno::WOULDBLOCK) if !wait.is_over() => std::thread::sleep(LOOK),
                Err(Errno::WOULDBLOCK) => return Err(wait.busy(path)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(FsError::errno("lock", path)(errno)),
            }
        }
    }
}

impl Drop for Lock {
    /// Unlocks explicitly: if closing fails, this process would later wait for itself.
    fn drop(&mut self) {
        if let Some(file) = self.removed.take() {
            file.unlink();
        }
        let _ = rustix::fs::flock(&self.descriptor, FlockOperation::Unlock);
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A wait for a file lock, and its limit.
#[derive(Clone, Copy)]
struct Wait {
    begun: Instant,
    patience: Duration,
}

impl Wait {
    fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.patience
    }

    fn busy(&self, path: &Path) -> FsError {
        FsError::Busy { path: path.to_path_buf(), seconds: self.patience.as_secs() }
    }
}

/// Opens the file of a lock, and makes it first if it does not exist. Only users who may write to its
/// directory may open the file: a user who can open a file can lock it.
pub fn open_lock(path: &Path) -> Result<OwnedFd, FsError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    #[cfg(target_os = "linux")]
    let way = OFlags::PATH;
    #[cfg(not(target_os = "linux"))]
    let way = OFlags::RDONLY;
    let flags = way | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty()).map_err(FsError::errno("open", path))?;
    open_lock_in(directory.as_fd(), path.file_name().unwrap_or_default(), path)
}

fn open_lock_in(directory: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<OwnedFd, FsError> {
    let shared = rustix::fs::fstat(directory).is_ok_and(|metadata| metadata.st_mode & 0o020 != 0);
    let mode = Mode::from_raw_mode(if shared { 0o660 } else { 0o600 });
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let open = |more, mode| rustix::fs::openat(directory, name, flags | more, mode);
    let (file, is_made) = loop {
        match open(OFlags::CREATE | OFlags::EXCL, mode) {
            Ok(file) => break (file, true),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(FsError::errno("open", path)(errno)),
        }
        match open(OFlags::empty(), Mode::empty()) {
            Ok(file) => break (file, false),
            // It was removed by who had it before.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(FsError::errno("open", path)(errno)),
        }
    };
    let metadata = rustix::fs::fstat(&file).map_err(FsError::errno("look at", path))?;
    let now = metadata.st_mode & 0o777;
    // Of an earlier version, or cut by a umask. What was there may be another file, which somebody has put there: nobody gets
    // more rights on it.
    let wanted = if is_made { mode.bits() } else { mode.bits() & now };
    if now != wanted && metadata.st_uid == rustix::process::geteuid().as_raw() {
        let _ = rustix::fs::fchmod(&file, Mode::from_raw_mode(wanted));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    use fs_err as fs;

    use super::*;
    use crate::beneath::Directory;

    /// Takes a lock that somebody has, and sees that this ends, and works once the lock is free.
    fn wait_for(take: impl Fn(Duration) -> Result<Lock, FsError> + Sync, holder: Lock) {
        let patience = Duration::from_millis(200);
        let begun = Instant::now();
        let error = take(patience).unwrap_err();
        assert!(matches!(error, FsError::Busy { .. }), "{error}");
        assert!(begun.elapsed() >= patience && begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| take(PATIENCE));
            std::thread::sleep(Duration::from_millis(50));
            drop(holder);
            waiter.join().unwrap().unwrap();
        });
        take(Duration::ZERO).unwrap();
    }

    #[test]
    fn a_wait_for_a_lock_ends() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("lock");
        wait_for(|patience| Lock::file_within(&path, patience), Lock::file(&path).unwrap());
        let shared = || Lock::shared_file(&path).unwrap().unwrap();
        let others = [shared(), shared()];
        let [one, other] = others;
        drop(one);
        wait_for(|patience| Lock::file_within(&path, patience), other);

        let path = place.path().join("passing");
        let directory = Directory::open(place.path()).unwrap();
        let holder = Lock::passing(&directory, &path).unwrap();
        wait_for(|patience| Lock::passing_within(&directory, &path, patience), holder);
        assert!(!path.exists());
    }

    #[test]
    fn a_replaced_lock_file_gives_no_more_rights() {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), PermissionsExt::from_mode(0o770)).unwrap();
        let path = place.path().join("lock");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        for (before, after) in [(0o600, 0o600), (0o644, 0o640), (0o660, 0o660)] {
            fs::write(&path, "secret").unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(before)).unwrap();
            drop(open_lock(&path).unwrap());
            assert_eq!(mode(), after, "{before:o}");
            fs::remove_file(&path).unwrap();
        }
        drop(open_lock(&path).unwrap());
        assert_eq!(mode(), 0o660, "who may write in the directory may lock");
    }

    #[test]
    fn a_file_that_is_leased_is_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let (directory, path) = (Directory::open(place.path()).unwrap(), place.path().join("lock"));
        let leased = fs::File::create(&path).unwrap();
        // SAFETY: an action without code, and a system call on an open descriptor.
        unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
            assert_eq!(libc::fcntl(leased.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK), 0);
        }
        let begun = Instant::now();
        let given_up = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(leased);
        });
        drop(Lock::passing(&directory, &path).unwrap());
        assert!(begun.elapsed() >= Duration::from_millis(200) && !path.exists());
        given_up.join().unwrap();
    }
}
