//! One operation on a site root at a time: flock(2) on a file that is made once and never removed.
//!
//! The kernel releases the lock when its last holder ends. Only users who may write to the directory of the
//! lock may open it, so no other user can hold it.
//!
//! A command that must not be overtaken, such as a migration, inherits another file, open for reading, with a
//! shared lock: it keeps other commands out even if wheelbarrow is killed. The command can release that lock,
//! make it exclusive, and pass it on to a process that stays. So the deciding fact is whether the command
//! still runs, which is recorded in the first file; a lock that no such command holds is removed with its
//! file.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use wheelbarrow_base::json;

use crate::command::child;
use crate::report::text::cut_line;
use crate::root::operator::{Operator, Wait};
use crate::{ReleaseError, Root};

/// How often a waiter looks whether it should stop waiting.
const LOOK: Duration = Duration::from_millis(50);
/// How long a holder may take to write down who it is.
const NAMELESS: Duration = Duration::from_secs(1);

/// Bytes of what is written down, filled up with spaces.
const RECORD: usize = 1024;

/// Characters of a name that are shown.
const NAMED: usize = 200;

/// Who works on a root, as the lock file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    pub pid: u32,
    pub by: String,
    /// `deploy`, `prune`, ...
    pub operation: String,
    /// Seconds since 1970.
    pub since: u64,
    /// Of a command that has a lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<Box<CommandRecord>>,
}

/// Which command runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommandRecord {
    /// When its process was started, in clock ticks; 0 where it will be started now.
    started: u64,
    /// Where its number counts: the boot of the machine, and the namespace of processes.
    counts_in: String,
}

/// The right to change a root, until dropped.
#[derive(Debug)]
pub struct RootLock {
    file: fs::File,
    /// Of [`CommandLock`].
    commands: PathBuf,
    holder: LockHolder,
}

/// What a command holds for as long as it runs.
pub(crate) struct CommandLock(OwnedFd);

impl RootLock {
    /// Takes the lock for `operation`.
    pub fn acquire(root: &Root, operation: &str, operator: &Operator<'_>) -> Result<Self, ReleaseError> {
        let (path, commands) = (root.lock_path(), root.command_lock_path());
        let mut file = open(&path)?;
        let begun = Instant::now();
        while !(try_lock(&file, &path)? && no_command_runs(&commands, &mut file)?) {
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
        let holder =
            LockHolder { pid: std::process::id(), by, operation: operation.to_owned(), since, command: None };
        child::LOCK.store(file.as_raw_fd(), Ordering::Relaxed);
        let lock = Self { file, commands, holder };
        lock.name(&lock.holder);
        Ok(lock)
    }

    /// For a command that keeps others out for as long as it runs, whatever becomes of this process.
    pub(crate) fn for_command(&self) -> Result<CommandLock, ReleaseError> {
        let path = &self.commands;
        let share = || {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = rustix::fs::open(path, flags, Mode::empty())?;
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).map(|()| file)
        };
        let file = match share() {
            // An earlier command has passed it on, to somebody who keeps it.
            Err(Errno::WOULDBLOCK) => {
                fs::remove_file(path).map_err(ReleaseError::io("remove", path))?;
                open(path)?;
                share()
            }
            shared => shared,
        };
        let file = file.map_err(ReleaseError::errno("lock", path))?;
        self.name(&LockHolder { command: Some(Box::new(CommandRecord::of(0))), ..self.holder.clone() });
        Ok(CommandLock(file))
    }

    /// A command was started, which [`RootLock::for_command`] is for.
    pub(crate) fn command_started(&self, pid: u32, what: &str) {
        let operation = format!("{}: {what}", self.holder.operation);
        // One that has ended already has no time.
        let command = Some(Box::new(CommandRecord::of(child::started(pid).unwrap_or(1))));
        self.name(&LockHolder { pid, operation, command, ..self.holder.clone() });
    }

    /// Who waits is told that this is under way.
    pub(crate) fn works_on(&self, operation: &str) {
        self.name(&LockHolder { operation: operation.to_owned(), ..self.holder.clone() });
    }

    pub(crate) fn command_ended(&self) {
        self.name(&self.holder);
    }

    /// Writes down who holds it. It is only for people, and a full disk is no reason not to make room on it.
    fn name(&self, holder: &LockHolder) {
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
        child::LOCK.store(-1, Ordering::Relaxed);
        let _ = write_padded(&self.file, b"");
        // Not left to the closing: a child that never got to its program has it open too.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl fmt::Display for LockHolder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, by, operation, .. } = self;
        write!(formatter, "process {pid} of {by}, {operation}")
    }
}

/// Who works on the root now; none where the lock is free. The kernel is asked, since trying the lock would keep others
/// from it for that moment.
pub(crate) fn holder(root: &Root) -> Option<LockHolder> {
    let path = root.lock_path();
    let processes = holding_processes(root);
    match fs::File::open(&path) {
        Ok(mut file) => {
            let holder = read_holder(&mut file)?;
            // In a namespace of processes the kernel does not list the lock of a wheelbarrow that was killed.
            let runs = |command: &CommandRecord| command.is_seen(holder.pid);
            (!processes.is_empty() || holder.command.as_deref().is_some_and(runs)).then_some(holder)
        }
        // Who may not open the lock sees that it is held, and no more.
        Err(_) => Some(LockHolder {
            pid: working_process(root, &processes)?,
            by: "another user".to_owned(),
            operation: "an operation".to_owned(),
            since: 0,
            command: None,
        }),
    }
}

/// A process of root's or of the root's owner. No other user may open the locks: what such a user holds is a file of another file
/// system with the same inode, or a descriptor that a command has passed on.
fn working_process(root: &Root, processes: &[u32]) -> Option<u32> {
    let owner = |path: &Path| fs::metadata(path).map(|metadata| metadata.uid());
    let users = [0, owner(root.path()).ok()?];
    let is_ours =
        |pid: &&u32| owner(&Path::new("/proc").join(pid.to_string())).is_ok_and(|user| users.contains(&user));
    processes.iter().find(is_ours).copied()
}

/// The processes that took a lock on a file with the inode of a lock of the root.
fn holding_processes(root: &Root) -> Vec<u32> {
    let inode = |path: &Path| fs::metadata(path).ok().map(|metadata| format!(":{}", metadata.ino()));
    let inodes = [inode(&root.lock_path()), inode(&root.command_lock_path())];
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // `1: FLOCK  ADVISORY  WRITE 4711 fe:01:262156 0 EOF`; the device is not that of stat(2) on every file system.
    let taken = locks.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is = |inode: &String| fields.get(5).is_some_and(|file| file.ends_with(inode.as_str()));
        let is_lock = fields.get(1) == Some(&"FLOCK") && inodes.iter().flatten().any(is);
        is_lock.then(|| fields.get(4)?.parse().ok()).flatten()
    });
    taken.collect()
}

fn open(path: &Path) -> Result<fs::File, ReleaseError> {
    let file = wheelbarrow_base::open_lock(path)?;
    Ok(fs::File::from_parts(file.into(), path))
}

fn try_lock(file: &fs::File, path: &Path) -> Result<bool, ReleaseError> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(ReleaseError::errno("lock", path)(errno)),
    }
}

/// Whether no command of a wheelbarrow that was killed still runs. To be asked by who has the lock, `file`: a wheelbarrow that
/// works has it too, and its command with it.
fn no_command_runs(path: &Path, file: &mut fs::File) -> Result<bool, ReleaseError> {
    let is_free = try_lock(&open(path)?, path)?;
    let record = read_record(file).map_err(ReleaseError::io("read", file.path()))?;
    let runs = match json::from_slice::<LockHolder>(&record) {
        // It may have freed the lock itself.
        Ok(LockHolder { pid, command: Some(command), .. }) if is_free => command.is_seen(pid),
        Ok(LockHolder { pid, command: Some(command), .. }) => command.runs(pid),
        Ok(LockHolder { command: None, .. }) => false,
        // Nothing is written down while nobody has the lock.
        Err(_) => !is_free && !record.trim_ascii().is_empty(),
    };
    if is_free {
        return Ok(!runs);
    }
    if !runs {
        // Whoever has it still was not given it.
        fs::remove_file(path).map_err(ReleaseError::io("remove", path))?;
        return try_lock(&open(path)?, path);
    }
    Ok(false)
}

impl CommandRecord {
    fn of(started: u64) -> Self {
        Self { started, counts_in: counts_in() }
    }

    /// Whether its session has a process, as far as this process can tell.
    fn runs(&self, pid: u32) -> bool {
        self.started == 0 || self.counts_in != counts_in() || self.is_seen(pid)
    }

    /// Whether its session has a process here.
    fn is_seen(&self, pid: u32) -> bool {
        self.started != 0 && self.counts_in == counts_in() && child::session_lives(pid, self.started)
    }
}

/// The boot of the machine, and the namespace of processes.
fn counts_in() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim_end(), namespace.display())
}

fn write_holder(file: &fs::File, holder: &LockHolder) -> io::Result<()> {
    write_padded(file, &serde_json::to_vec(holder)?)
}

/// The file never gets smaller, so that there is room for the next holder on a full disk, and is never empty meanwhile.
fn write_padded(file: &fs::File, text: &[u8]) -> io::Result<()> {
    let mut record = vec![b' '; RECORD.max(text.len())];
    record[..text.len()].copy_from_slice(text);
    let had = file.metadata()?.len();
    rustix::io::pwrite(file, &record, 0)?;
    if had > record.len() as u64 { file.set_len(record.len() as u64) } else { Ok(()) }
}

fn read_record(file: &mut fs::File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(1 << 16).read_to_end(&mut text)?;
    Ok(text)
}

/// None where it writes just now.
fn read_holder(file: &mut fs::File) -> Option<LockHolder> {
    let holder: LockHolder = json::from_slice(&read_record(file).ok()?).ok()?;
    let line = |text: &str| cut_line(text, NAMED);
    Some(LockHolder { by: line(&holder.by), operation: line(&holder.operation), ..holder })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use wheelbarrow_base::progress::Silent;

    use super::*;
    use crate::command::child::{Leftovers, start};
    use crate::root::operator::Probing;

    fn acquire(root: &Root) -> Result<RootLock, ReleaseError> {
        let by = "somebody".to_owned();
        let operator = Operator {
            by,
            wait: Wait::No,
            deploy: None,
            probing: Probing::Asked,
            clock: &std::time::SystemTime::now,
            progress: &Silent,
        };
        RootLock::acquire(root, "recover", &operator)
    }

    /// Of a wheelbarrow that is killed: nothing is given back.
    fn killed(root: &Root, script: &str) -> (crate::command::child::RunningProgram, OwnedFd) {
        let lock = acquire(root).unwrap();
        let command_lock = lock.for_command().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let running = start(&mut command, Leftovers::Keep, Some(command_lock.as_fd())).unwrap();
        lock.command_started(running.id(), script);
        let passed_on = rustix::io::dup(&command_lock).unwrap();
        rustix::fs::flock(&lock.file, FlockOperation::Unlock).unwrap();
        std::mem::forget((lock, command_lock));
        (running, passed_on)
    }

    #[test]
    fn a_command_keeps_others_out_for_as_long_as_its_session_lives() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let (running, _passed_on) = killed(&root, "(sleep 1.2; :) &");
        running.wait(Duration::from_secs(60), &Silent, || {}).unwrap();
        // The shell has ended, what it started has not.
        let locked = acquire(&root).unwrap_err();
        assert!(matches!(locked, ReleaseError::Locked { .. }), "{locked:?}");
        let begun = Instant::now();
        while let Err(error) = acquire(&root) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{error:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        // The descriptor that was passed on holds nothing now.
        assert!(acquire(&root).is_ok());
    }

    #[test]
    fn a_command_whose_lock_is_not_listed_is_shown() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let (running, passed_on) = killed(&root, "exec sleep 60");
        rustix::fs::flock(&passed_on, FlockOperation::Unlock).unwrap();
        assert!(holding_processes(&root).is_empty());
        assert_eq!(holder(&root).map(|holder| holder.operation).as_deref(), Some("recover: exec sleep 60"));
        wheelbarrow_testing::kill(running.id(), rustix::process::Signal::KILL);
        running.wait(Duration::from_secs(60), &Silent, || {}).unwrap();
        assert_eq!(holder(&root), None);
    }

    #[test]
    fn a_command_that_has_ended_keeps_nobody_out() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        // Nobody asks how it ended, so it stays in the table of processes.
        let (running, _passed_on) = killed(&root, "exit 0");
        let stat = format!("/proc/{}/stat", running.id());
        let begun = Instant::now();
        while !fs_err::read_to_string(&stat).unwrap().contains(") Z ") {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(acquire(&root).is_ok());
        assert!(fs_err::read_to_string(&stat).unwrap().contains(") Z "));
    }

    #[test]
    fn a_lock_of_another_user_is_nobodys_work() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let working = || working_process(&root, &holding_processes(&root));
        let lock = acquire(&root).unwrap();
        assert_eq!(working(), Some(std::process::id()));
        let passed_on = rustix::io::dup(&lock.file).unwrap();
        drop(lock);
        rustix::fs::flock(&passed_on, FlockOperation::Unlock).unwrap();
        assert_eq!(working(), None);
        // LOCK_EX.
        let script = "flock(STDIN, 2) or die; $| = 1; print 1; sleep 60";
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65533", "--clear-groups", "perl", "-e", script]);
        let mut child = command.stdin(passed_on).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        assert_eq!((holding_processes(&root), working()), (vec![child.id()], None));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_descriptor_that_was_passed_on_holds_nothing() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let lock = acquire(&root).unwrap();
        let command_lock = lock.for_command().unwrap();
        let passed_on = rustix::io::dup(&command_lock).unwrap();
        lock.command_started(std::process::id(), "prepare");
        lock.command_ended();
        drop((command_lock, lock));
        // It was unlocked, and its new owner locks it again.
        rustix::fs::flock(&passed_on, FlockOperation::NonBlockingLockShared).unwrap();
        let lock = acquire(&root).unwrap();
        // The same for itself alone, which keeps no later command from its own.
        let command_lock = lock.for_command().unwrap();
        let passed_on = rustix::io::dup(&command_lock).unwrap();
        drop(command_lock);
        rustix::fs::flock(&passed_on, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(lock.for_command().is_ok());
    }

    #[test]
    fn a_command_that_frees_its_lock_keeps_others_out_nevertheless() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let (running, passed_on) = killed(&root, "sleep 1.2");
        rustix::fs::flock(&passed_on, FlockOperation::Unlock).unwrap();
        let locked = acquire(&root).unwrap_err();
        assert!(matches!(locked, ReleaseError::Locked { .. }), "{locked:?}");
        running.wait(Duration::from_secs(60), &Silent, || {}).unwrap();
        assert!(acquire(&root).is_ok());
    }
}
