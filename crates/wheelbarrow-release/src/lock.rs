//! One operation on a root at a time: flock(2) on a file that is made once and never removed.
//!
//! The kernel frees the lock when its last holder is gone, however it went. A command that must not be overtaken, a
//! migration say, inherits the open file and so keeps the lock even when the wheelbarrow that started it was killed.

use std::fmt;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::progress::Progress;

use crate::{ReleaseError, Root};

/// How often a waiter looks whether it should stop waiting.
const LOOK: Duration = Duration::from_millis(50);

/// Who works on a root, as the lock file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub by: String,
    /// `deploy`, `prune`, ...
    pub operation: String,
    /// Seconds since 1970.
    pub since: u64,
}

/// What to do while somebody else works on the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    No,
    /// At most so long.
    For(Duration),
}

/// The right to change a root, until dropped.
#[derive(Debug)]
pub struct RootLock {
    file: fs::File,
}

impl RootLock {
    /// Takes the lock for `operation`, in the name of `by`.
    pub fn take(
        root: &Root,
        operation: &str,
        by: &str,
        wait: Wait,
        progress: &dyn Progress,
    ) -> Result<Self, ReleaseError> {
        let path = root.lock_path();
        let mut file = open(&path)?;
        let begun = Instant::now();
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(ReleaseError::io("lock", &path)(errno.into())),
            }
            match wait {
                Wait::For(limit) if begun.elapsed() < limit => {}
                _ => {
                    let holder = read_holder(&mut file);
                    return Err(ReleaseError::Locked { root: root.path().to_path_buf(), holder });
                }
            }
            if progress.is_cancelled() {
                return Err(ReleaseError::Cancelled);
            }
            std::thread::sleep(LOOK);
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let holder =
            Holder { pid: std::process::id(), by: by.to_owned(), operation: operation.to_owned(), since };
        write_holder(&mut file, &holder).map_err(ReleaseError::io("write", &path))?;
        Ok(Self { file })
    }
}

impl AsFd for RootLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.file().as_fd()
    }
}

impl Drop for RootLock {
    fn drop(&mut self) {
        // Only for people: a free lock has no holder, whatever the file says.
        let _ = self.file.set_len(0);
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, by, operation, .. } = self;
        write!(formatter, "process {pid} of {by}, {operation}")
    }
}

fn open(path: &PathBuf) -> Result<fs::File, ReleaseError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let descriptor = rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))
        .map_err(|errno| ReleaseError::io("open", path)(errno.into()))?;
    Ok(fs::File::from_parts(descriptor.into(), path))
}

fn write_holder(file: &mut fs::File, holder: &Holder) -> std::io::Result<()> {
    let text = serde_json::to_vec(holder)?;
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&text)
}

/// None where it writes just now.
fn read_holder(file: &mut fs::File) -> Option<Holder> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
