//! Programs that may hang, write without end or leave processes behind: each is started in a session of its
//! own, and ended with all its children.

mod group;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions};
use wheelbarrow_base::progress::Progress;
use wheelbarrow_wheel::order::Inserted;

use self::group::ControlGroup;

/// How often to look.
const LOOK: Duration = Duration::from_millis(10);

/// How long a program has to end by itself once it was asked to.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// How long a program may take to begin.
const STARTING: Duration = Duration::from_secs(20);

/// How long processes that were killed may take to disappear.
pub(crate) const DYING: Duration = Duration::from_secs(2);

/// The descriptor of the lock of a root, if this process has one. A child closes it before exec(2), in which another user may hold
/// the child up.
pub(crate) static LOCK: AtomicI32 = AtomicI32::new(-1);

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramEnd {
    By(ExitStatus),
    /// It was killed at its deadline.
    Late,
    /// It was killed because somebody wanted to stop.
    Cancelled,
}

/// What becomes of processes that outlive the program which started them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leftovers {
    /// They are killed, those in a session of their own too.
    End,
    /// They stay: the program starts a server.
    Keep,
}

/// A program that was started in a session of its own.
pub(crate) struct RunningProgram {
    child: Child,
    leftovers: Leftovers,
    /// Children of this process that were there before.
    before: BTreeSet<i32>,
    /// Of the program, if its leftovers are ended, and there can be one.
    group: Option<ControlGroup>,
    /// How long it has to end by itself, and then to disappear.
    grace: Duration,
    dying: Duration,
}

/// Starts `command` in a session of its own, without a controlling terminal (setsid(2)) and without the descriptors of this
/// process, `kept` excepted.
pub(crate) fn start(
    command: &mut Command,
    leftovers: Leftovers,
    kept: Option<BorrowedFd<'_>>,
) -> io::Result<RunningProgram> {
    start_within(command, leftovers, kept, STARTING)
}

/// Starts a program that nobody waits for longer than `limit`: it is killed without being asked before.
pub(crate) fn start_hastily(command: &mut Command, limit: Duration) -> io::Result<RunningProgram> {
    let running = start_within(command, Leftovers::Keep, None, limit)?;
    Ok(RunningProgram { grace: Duration::ZERO, dying: LOOK * 10, ..running })
}

fn start_within(
    command: &mut Command,
    leftovers: Leftovers,
    kept: Option<BorrowedFd<'_>>,
    limit: Duration,
) -> io::Result<RunningProgram> {
    let before = children().into_iter().map(|process| process.pid).inserted();
    set_apart(command, kept.map(|kept| kept.as_raw_fd()), None);
    let mut group = None;
    if leftovers == Leftovers::End {
        adopt_orphans(true);
        group = ControlGroup::make();
    }
    if let Some(group) = group.as_ref().map(ControlGroup::descriptor) {
        let enter = move || {
            group::enter(group);
            Ok(())
        };
        // SAFETY: a single system call is made.
        unsafe { command.pre_exec(enter) };
    }
    let child = spawn_within(command, limit).inspect_err(|_| adopt_orphans(false))?;
    Ok(RunningProgram { child, leftovers, before, group, grace: GRACE, dying: DYING })
}

/// Starts it, within [`STARTING`]: between the change of its user and its exec(2) every process of that user can stop it.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    spawn_within(command, STARTING)
}

/// Not in this thread: if the program lies in a file system by FUSE, its user's server decides how long exec(2) takes, and no
/// signal ends the child before.
fn spawn_within(command: &mut Command, limit: Duration) -> io::Result<Child> {
    let (tell, told) = mpsc::channel();
    let own = fs::read_link("/proc/self/exe").ok();
    let before: BTreeSet<i32> = children().into_iter().map(|process| process.pid).inserted();
    let program = command.get_program().to_owned();
    let mut taken = std::mem::replace(command, Command::new(program));
    let start = move || _ = tell.send((taken.spawn(), taken));
    std::thread::Builder::new().spawn(start)?;
    let started = told.recv_timeout(limit).or_else(|_| {
        let is_stuck = |process: &ChildProcess| {
            let program = fs::read_link(format!("/proc/{}/exe", process.pid)).ok();
            !before.contains(&process.pid) && program == own
        };
        children().iter().filter(|process| is_stuck(process)).for_each(ChildProcess::kill);
        told.recv_timeout(LOOK * 100)
    });
    let (started, taken) = started.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    *command = taken;
    started
}

/// Has the command leave the session of this process, and all its descriptors but the standard streams and `kept`. Its
/// controlling terminal is that of the stream with the number `terminal`, if any.
pub(crate) fn set_apart(command: &mut Command, kept: Option<RawFd>, terminal: Option<RawFd>) {
    let apart = move || {
        rustix::process::setsid()?;
        // SAFETY: a system call on a number.
        if terminal.is_some_and(|stream| unsafe { libc::ioctl(stream, libc::TIOCSCTTY, 0) } != 0) {
            return Err(io::Error::last_os_error());
        }
        close_on_exec();
        // SAFETY: `close` takes a number and no pointer; for -1 it returns an error.
        unsafe { libc::close(LOCK.load(Ordering::Relaxed)) };
        if let Some(kept) = kept {
            // SAFETY: a number alone; it is open, since it was borrowed.
            unsafe { libc::fcntl(kept, libc::F_SETFD, 0) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made, no memory is allocated and no lock is taken.
    unsafe { command.pre_exec(apart) };
}

/// Every descriptor but the standard streams, also those that this process inherited itself.
fn close_on_exec() {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: system calls on numbers; one that is no open descriptor is an error that changes nothing.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, CLOSE_RANGE_CLOEXEC) != 0 {
            // Before Linux 5.11.
            let most = libc::sysconf(libc::_SC_OPEN_MAX).clamp(256, 65_536) as RawFd;
            for number in 3..most {
                libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
}

impl RunningProgram {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has. The kernel gives its number to no other process, session or group before its leftovers are ended.
    pub(crate) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended = rustix::process::waitid(WaitId::Pid(Pid::from_child(&self.child)), options)?;
        // As wait(2) has it.
        let raw = ended.map(|ended| match ended.exit_status() {
            Some(code) => code << 8,
            None => ended.terminating_signal().unwrap_or(libc::SIGKILL),
        });
        Ok(raw.map(ExitStatus::from_raw))
    }

    /// Waits for it, calling `look` meanwhile, and ends it if it is too late or not wanted any more.
    pub(crate) fn wait(
        mut self,
        limit: Duration,
        progress: &dyn Progress,
        mut look: impl FnMut(),
    ) -> io::Result<ProgramEnd> {
        let ended = self.watch(limit, progress, &mut look, |running| {
            let status = running.try_wait()?;
            if status.is_none() {
                std::thread::sleep(LOOK);
            }
            Ok(status)
        })?;
        self.end(progress);
        Ok(ended.map_or_else(|ended| ended, ProgramEnd::By))
    }

    /// Waits until `answer`, which may take a moment, gives something, calling `look` meanwhile. Stops the program if that is too
    /// late or not wanted any more: `Late` or `Cancelled`.
    pub(crate) fn watch<T>(
        &mut self,
        limit: Duration,
        progress: &dyn Progress,
        look: &mut impl FnMut(),
        mut answer: impl FnMut(&mut Self) -> io::Result<Option<T>>,
    ) -> io::Result<Result<T, ProgramEnd>> {
        let begun = Instant::now();
        let ended = loop {
            if let Some(answer) = answer(self)? {
                return Ok(Ok(answer));
            }
            look();
            match () {
                () if progress.is_cancelled() => break ProgramEnd::Cancelled,
                () if begun.elapsed() > limit => break ProgramEnd::Late,
                () => {}
            }
        };
        self.stop(look)?;
        Ok(Err(ended))
    }

    /// Ends what it has left behind.
    pub(crate) fn end(&mut self, progress: &dyn Progress) {
        for text in self.end_leftovers().into_iter().filter_map(undying) {
            progress.note(&text);
        }
    }

    /// First asks, then kills. Whoever traces a program, or answers for a file system that it uses, keeps it from dying as long
    /// as he likes, and nobody waits for that.
    fn stop(&mut self, look: &mut impl FnMut()) -> io::Result<()> {
        let group = Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < self.grace && self.try_wait()?.is_none() {
            look();
            std::thread::sleep(LOOK);
        }
        // The group may have members that outlive their leader.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let killed = Instant::now();
        while killed.elapsed() < self.dying && self.try_wait()?.is_none() {
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Kills what the program left behind: the rest of its session, and what became a child of this process because its
    /// own parent ended. Killing one makes its children the next, so it is done until there are none. Those that do not die.
    fn end_leftovers(&mut self) -> Vec<Pid> {
        let mut left = Vec::new();
        if self.leftovers == Leftovers::End {
            // Without it, or before Linux 5.14, what forks and ends faster than it is killed gets away.
            let _ = self.group.as_ref().map(ControlGroup::kill);
            left = self.kill_leftovers(true);
            adopt_orphans(false);
        }
        // Its number may be that of another session from here on.
        self.leftovers = Leftovers::Keep;
        if matches!(self.child.try_wait(), Ok(None)) && left.is_empty() {
            left.push(Pid::from_child(&self.child));
        }
        left
    }

    /// Kills what a part of its work has left behind while the program itself goes on. Whether nothing is left.
    pub(crate) fn end_leftovers_of_part(&self) -> bool {
        self.kill_leftovers(false).is_empty()
    }

    /// Orphans of what this process has started since become its children. Whatever ends leftovers undoes that.
    pub(crate) fn adopt_orphans(&self) {
        adopt_orphans(true);
    }

    /// Kills its session, `with_itself` or without, and the orphans of what it has started. Those that do not die.
    fn kill_leftovers(&self, with_itself: bool) -> Vec<Pid> {
        let own = Pid::from_child(&self.child);
        let own_number = own.as_raw_nonzero().get();
        let is_left = |process: &ChildProcess| match process.pid == own_number {
            true => with_itself && !process.is_dead,
            // Of a dead one its parent has to ask how it ended.
            false if process.session == own_number && !process.is_dead => true,
            false => process.is_child() && !self.before.contains(&process.pid),
        };
        let begun = Instant::now();
        loop {
            let left: Vec<ChildProcess> = processes().into_iter().filter(is_left).collect();
            if left.is_empty() || begun.elapsed() > DYING {
                return left.iter().filter_map(|process| Pid::from_raw(process.pid)).collect();
            }
            for process in &left {
                process.kill();
                // The program itself keeps its number for now.
                let _ = Pid::from_raw(process.pid)
                    .filter(|pid| *pid != own)
                    .map(|pid| rustix::process::waitpid(Some(pid), WaitOptions::NOHANG));
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// What to tell of a process that was killed and is still there. Nothing of one that is dead and whose parent, which is still
/// there, has not asked how it ended: only its number is left.
pub(crate) fn undying(pid: Pid) -> Option<String> {
    let pid = pid.as_raw_nonzero();
    let status = fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match field("TracerPid:") {
        None => None,
        Some("0") if field("State:").is_some_and(|state| state.starts_with('Z')) => None,
        Some("0") => Some(format!("process {pid} was killed and does not end: the kernel is busy with it")),
        Some(tracer) => Some(format!(
            "process {pid} was killed and does not end: process {tracer} traces it, so end that one"
        )),
    }
}

/// Whether orphans among the descendants become children of this process (PR_SET_CHILD_SUBREAPER of prctl(2)).
fn adopt_orphans(adopt: bool) {
    let own = rustix::process::getpid();
    // Without it the session of the command is ended all the same.
    let _ = rustix::process::set_child_subreaper(adopt.then_some(own));
}

/// Whether a process of the session of `leader` runs, which was started at the time [`started`] gave. While one is there, the
/// kernel gives the number of the leader to no other process. One that has ended does nothing any more, although its parent may
/// never ask how: the first process of many containers asks for none.
pub(crate) fn session_lives(leader: u32, started: u64) -> bool {
    let leader = i32::try_from(leader).unwrap_or_default();
    let members: Vec<ChildProcess> =
        processes().into_iter().filter(|process| process.session == leader).collect();
    let is_other = |process: &ChildProcess| process.pid == leader && process.started != started;
    members.iter().any(|process| !process.is_dead) && !members.iter().any(is_other)
}

/// When a process was started, in clock ticks since the machine was.
pub(crate) fn started(pid: u32) -> Option<u64> {
    Some(process(i32::try_from(pid).ok()?)?.started)
}

#[derive(Debug)]
struct ChildProcess {
    pid: i32,
    parent: i32,
    session: i32,
    started: u64,
    /// Its parent has not asked yet how it ended.
    is_dead: bool,
}

impl ChildProcess {
    fn is_child(&self) -> bool {
        self.parent == rustix::process::getpid().as_raw_nonzero().get()
    }

    /// Kills it, and never a process that was given its number after it was seen: that is asked once a descriptor holds the
    /// process (pidfd_open(2)). Before Linux 5.3 there is none, and it is asked right before.
    fn kill(&self) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        let held = rustix::process::pidfd_open(pid, PidfdFlags::empty());
        if process(self.pid).is_none_or(|now| (now.started, now.session) != (self.started, self.session)) {
            return;
        }
        let _ = match held {
            Ok(held) => rustix::process::pidfd_send_signal(held, Signal::KILL),
            Err(_) => rustix::process::kill_process(pid, Signal::KILL),
        };
    }
}

fn children() -> Vec<ChildProcess> {
    processes().into_iter().filter(ChildProcess::is_child).collect()
}

/// Every process that this one may see.
fn processes() -> Vec<ChildProcess> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn process(pid: i32) -> Option<ChildProcess> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `PID (NAME) STATE PPID PGRP SESSION ...`, STARTTIME the 22nd, and a name may have any character (proc_pid_stat(5)).
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |place: usize| fields.get(place - 3)?.parse().ok();
    let started = fields.get(22 - 3)?.parse().ok()?;
    let is_dead = fields.first() == Some(&"Z");
    Some(ChildProcess { pid, parent: number(4)?, session: number(6)?, started, is_dead })
}

#[cfg(test)]
mod tests;
