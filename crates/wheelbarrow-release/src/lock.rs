//! One operation on a root at a time: flock(2) on a file that is made once and never removed.
//!
//! The kernel frees the lock when its last holder is gone, however it went. A command that must not be overtaken, a
//! migration say, inherits the open file and so keeps the lock even when the wheelbarrow that started it was killed.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::FdFlags;
use serde::{Deserialize, Serialize};

use crate::work::Operator;
use crate::{ReleaseError, Root};

/// How often a waiter looks whether it should stop waiting.
const LOOK: Duration = Duration::from_millis(50);
/// How long a holder may take to write down who it is.
const NAMELESS: Duration = Duration::from_secs(1);

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
    holder: Holder,
}

impl RootLock {
    /// Takes the lock for `operation`.
    pub fn take(root: &Root, operation: &str, operator: &Operator<'_>) -> Result<Self, ReleaseError> {
        let path = root.lock_path();
        let mut file = open(&path)?;
        let begun = Instant::now();
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(ReleaseError::io("lock", &path)(errno.into())),
            }
            let holder = read_holder(&mut file);
            let patience = match operator.wait {
                Wait::For(limit) => limit,
                // Who has just got it has not written down its name yet.
                Wait::No if holder.is_none() => NAMELESS,
                Wait::No => Duration::ZERO,
            };
            if begun.elapsed() >= patience {
                return Err(ReleaseError::Locked { root: root.path().to_path_buf(), holder });
            }
            if operator.progress.is_cancelled() {
                return Err(ReleaseError::Cancelled);
            }
            std::thread::sleep(LOOK);
        }
        let (by, since) = (operator.by.clone(), operator.now());
        let holder = Holder { pid: std::process::id(), by, operation: operation.to_owned(), since };
        let lock = Self { file, holder };
        lock.name(&lock.holder);
        Ok(lock)
    }

    /// Starts a command that keeps the lock for as long as it runs, whatever becomes of this process.
    pub(crate) fn spawn(&self, command: &mut Command, what: &str) -> io::Result<Child> {
        rustix::io::fcntl_setfd(&self.file, FdFlags::empty())?;
        let spawned = command.spawn();
        rustix::io::fcntl_setfd(&self.file, FdFlags::CLOEXEC)?;
        let child = spawned?;
        let operation = format!("{}: {what}", self.holder.operation);
        self.name(&Holder { pid: child.id(), operation, ..self.holder.clone() });
        Ok(child)
    }

    /// After [`RootLock::spawn`], when the command has ended.
    pub(crate) fn spawned_ended(&self) {
        self.name(&self.holder);
    }

    /// Writes down who holds it. It is only for people, and a full disk is no reason not to make room on it.
    fn name(&self, holder: &Holder) {
        let _ = write_holder(&self.file, holder);
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

/// Who works on the root now; none where the lock is free. The kernel is asked, since trying the lock would keep others
/// from it for that moment.
pub(crate) fn holder(root: &Root) -> Option<Holder> {
    let path = root.lock_path();
    let inode = format!(":{}", fs::metadata(&path).ok()?.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // `1: FLOCK  ADVISORY  WRITE 4711 fe:01:262156 0 EOF`; the device is not that of stat(2) on every file system.
    let held = locks.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(1) == Some(&"FLOCK") && fields.get(5).is_some_and(|file| file.ends_with(&inode))
    });
    if held { read_holder(&mut fs::File::open(&path).ok()?) } else { None }
}

fn open(path: &PathBuf) -> Result<fs::File, ReleaseError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let descriptor = rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))
        .map_err(|errno| ReleaseError::io("open", path)(errno.into()))?;
    Ok(fs::File::from_parts(descriptor.into(), path))
}

fn write_holder(mut file: &fs::File, holder: &Holder) -> io::Result<()> {
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
