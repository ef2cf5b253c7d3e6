//! One operation on a root at a time: flock(2) on a file that is made once and never removed.
//!
//! The kernel frees the lock when its last holder is gone, however it went. Only who may write into the directory of the
//! lock may open it: nobody else can hold it.
//!
//! A command that must not be overtaken, a migration say, inherits another file, open for reading, with a shared lock on it:
//! it keeps others out even when the wheelbarrow that started it was killed. It can neither free the lock nor write into it.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::text::cut_line;
use crate::work::Operator;
use crate::{ReleaseError, Root};

/// How often a waiter looks whether it should stop waiting.
const LOOK: Duration = Duration::from_millis(50);
/// How long a holder may take to write down who it is.
const NAMELESS: Duration = Duration::from_secs(1);

/// Characters of a name that are shown.
const NAMED: usize = 200;

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
    /// Of [`CommandLock`].
    commands: PathBuf,
    holder: Holder,
}

/// What a command holds for as long as it runs.
pub(crate) struct CommandLock(OwnedFd);

impl RootLock {
    /// Takes the lock for `operation`.
    pub fn take(root: &Root, operation: &str, operator: &Operator<'_>) -> Result<Self, ReleaseError> {
        let (path, commands) = (root.lock_path(), root.command_lock_path());
        let mut file = open(&path)?;
        let begun = Instant::now();
        while !(try_lock(&file, &path)? && no_command_runs(&commands)?) {
            // What holds it may be the command of a wheelbarrow that was killed: whoever waits does so without the lock.
            let _ = rustix::fs::flock(&file, FlockOperation::Unlock);
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
        let lock = Self { file, commands, holder };
        lock.name(&lock.holder);
        Ok(lock)
    }

    /// For a command that keeps others out for as long as it runs, whatever becomes of this process.
    pub(crate) fn for_command(&self) -> Result<CommandLock, ReleaseError> {
        let path = &self.commands;
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
            .map_err(ReleaseError::errno("open", path))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared)
            .map_err(ReleaseError::errno("lock", path))?;
        Ok(CommandLock(file))
    }

    /// A command was started, which [`RootLock::for_command`] is for.
    pub(crate) fn command_started(&self, pid: u32, what: &str) {
        let operation = format!("{}: {what}", self.holder.operation);
        self.name(&Holder { pid, operation, ..self.holder.clone() });
    }

    pub(crate) fn command_ended(&self) {
        self.name(&self.holder);
    }

    /// Writes down who holds it. It is only for people, and a full disk is no reason not to make room on it.
    fn name(&self, holder: &Holder) {
        let _ = write_holder(&self.file, holder);
    }
}

impl AsFd for CommandLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for CommandLock {
    fn drop(&mut self) {
        // Not left to the closing: a process that the command left behind may have it open too.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
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
    let inode = |path: &Path| fs::metadata(path).ok().map(|metadata| format!(":{}", metadata.ino()));
    let inodes = [inode(&path), inode(&root.command_lock_path())];
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // `1: FLOCK  ADVISORY  WRITE 4711 fe:01:262156 0 EOF`; the device is not that of stat(2) on every file system.
    let pid = locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is = |inode: &String| fields.get(5).is_some_and(|file| file.ends_with(inode.as_str()));
        let held = fields.get(1) == Some(&"FLOCK") && inodes.iter().flatten().any(is);
        held.then(|| fields.get(4)?.parse().ok()).flatten()
    })?;
    match fs::File::open(&path) {
        Ok(mut file) => read_holder(&mut file),
        // Who may not open the lock sees that it is held, and no more.
        Err(_) => Some(Holder {
            pid,
            by: "another user".to_owned(),
            operation: "an operation".to_owned(),
            since: 0,
        }),
    }
}

fn open(path: &Path) -> Result<fs::File, ReleaseError> {
    let file = wheelbarrow_fs::open_lock(path)?;
    Ok(fs::File::from_parts(file.into(), path))
}

fn try_lock(file: &fs::File, path: &Path) -> Result<bool, ReleaseError> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(ReleaseError::errno("lock", path)(errno)),
    }
}

/// Whether no command of a wheelbarrow that was killed still runs. To be asked by who has the lock: a wheelbarrow that works
/// has it too, and its command with it.
fn no_command_runs(path: &Path) -> Result<bool, ReleaseError> {
    try_lock(&open(path)?, path)
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
    file.take(1 << 16).read_to_end(&mut text).ok()?;
    let holder: Holder = serde_json::from_slice(&text).ok()?;
    let line = |text: &str| cut_line(text, NAMED);
    Some(Holder { by: line(&holder.by), operation: line(&holder.operation), ..holder })
}
