//! An interactive command of another user, as in `wheelbarrow exec -- django-admin shell`.
//!
//! It must not share the terminal of the deploying user: a process can type into its controlling terminal
//! (TIOCSTI of ioctl_tty(2)), and read from it after its parent has ended. So it gets a pseudo-terminal of
//! its own, and this process relays between the two. Streams other than terminals are passed unchanged.
//!
//! It runs code of the site's user, who must not be able to keep it running: if SIGHUP, SIGINT or SIGTERM
//! does not end it, it is killed after a while, or at once when another signal comes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios};
use wheelbarrow_base::progress::Progress;

use crate::command::child::{self, DYING, GRACE};

/// How long to wait for one of the two to say something before a look at everything else.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How long the last words of a command that has ended may take: what it left behind may write without end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs it to its end, apart from the terminal and the session of this process.
pub(crate) fn run(command: &mut Command, progress: &dyn Progress) -> io::Result<ExitStatus> {
    wheelbarrow_base::watch_signals();
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let are_terminals = streams.map(rustix::termios::isatty);
    let Some(stream) = are_terminals.iter().position(|is_terminal| *is_terminal) else {
        child::set_apart(command, None, None);
        return wait(command, None, progress, wheelbarrow_base::take_stop);
    };
    let (main, other) = open_pair()?;
    let share = || other.try_clone().map(Stdio::from);
    if are_terminals[0] {
        command.stdin(share()?);
    }
    if are_terminals[1] {
        command.stdout(share()?);
    }
    if are_terminals[2] {
        command.stderr(share()?);
    }
    if let Ok(term) = std::env::var("TERM") {
        command.env("TERM", term);
    }
    child::set_apart(command, None, i32::try_from(stream).ok());
    drop(other);
    let shown = [1, 2, 0].into_iter().find(|number| are_terminals[*number]).unwrap_or_default();
    let typed = are_terminals[0].then_some(streams[0]);
    let relay = TerminalRelay { main, typed, shown: streams[shown], pending: Vec::new() };
    wait(command, Some(relay), progress, wheelbarrow_base::take_stop)
}

fn open_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let main = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&main)?;
    rustix::pty::unlockpt(&main)?;
    let path = rustix::pty::ptsname(&main, Vec::new())?;
    let other =
        rustix::fs::open(path.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::fcntl_setfl(&main, rustix::fs::fcntl_getfl(&main)? | OFlags::NONBLOCK)?;
    Ok((main, other))
}

/// `asked` is the signal that this process got since it was last called.
fn wait(
    command: &mut Command,
    mut relay: Option<TerminalRelay<'_>>,
    progress: &dyn Progress,
    asked: impl Fn() -> Option<u8>,
) -> io::Result<ExitStatus> {
    let _raw = relay.as_ref().and_then(|relay| RawTerminal::set(relay.typed?).ok());
    let mut running = child::spawn(command)?;
    // The command's ends of the pseudo-terminal: as long as they are open here, its end is not seen.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let group = i32::try_from(running.id()).ok().and_then(Pid::from_raw);
    // When its patience is over, and whether it was killed already.
    let (mut end, mut is_killed) = (None, false);
    loop {
        if let Some(status) = running.try_wait()? {
            if let Some(relay) = &mut relay {
                let ended = Instant::now();
                while ended.elapsed() < LAST_WORDS && relay.step(Timespec::default())? {}
            }
            return Ok(status);
        }
        let send = |signal| group.map(|group| rustix::process::kill_process_group(group, signal));
        match asked().and_then(|signal| Signal::from_named_raw(i32::from(signal))) {
            Some(_) if end.is_some() => end = Some(Instant::now()),
            Some(signal) => {
                // One that is stopped does not hear of it before it goes on.
                let _ = (send(signal), send(Signal::CONT));
                end = Some(Instant::now() + GRACE);
            }
            None => {}
        }
        match end.is_some_and(|end| end <= Instant::now()) {
            true if is_killed => {
                group.and_then(child::undying).iter().for_each(|text| progress.note(text));
                return Ok(ExitStatus::from_raw(libc::SIGKILL));
            }
            true => {
                send(Signal::KILL);
                (end, is_killed) = (Some(Instant::now() + DYING), true);
            }
            false => {}
        }
        match &mut relay {
            Some(relay) => _ = relay.step(LOOK)?,
            None => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
}

/// The exit code of a shell for the status.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Between the terminal of this process and the pseudo-terminal of the command.
struct TerminalRelay<'a> {
    main: OwnedFd,
    /// Where keys come from, if somebody can type.
    typed: Option<BorrowedFd<'a>>,
    shown: BorrowedFd<'a>,
    /// What was typed and has no room yet.
    pending: Vec<u8>,
}

impl TerminalRelay<'_> {
    /// Moves what is there; false when nothing came from the command.
    fn step(&mut self, patience: Timespec) -> io::Result<bool> {
        if let Ok(size) = rustix::termios::tcgetwinsize(self.shown) {
            let _ = rustix::termios::tcsetwinsize(&self.main, size);
        }
        let wanted = if self.pending.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut polled = vec![PollFd::new(&self.main, wanted)];
        if let Some(typed) = self.typed.as_ref().filter(|_| self.pending.is_empty()) {
            polled.push(PollFd::new(typed, PollFlags::IN));
        }
        match rustix::event::poll(&mut polled, Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let heard = polled[0].revents();
        let keys = polled.get(1).is_some_and(|polled| !polled.revents().is_empty());
        let mut bytes = [0; 4096];
        if keys && let Some(typed) = self.typed {
            match rustix::io::read(typed, &mut bytes) {
                Ok(0) | Err(Errno::IO) => self.typed = None,
                Ok(count) => self.pending.extend(&bytes[..count]),
                Err(_) => {}
            }
        }
        if !self.pending.is_empty()
            && let Ok(count) = rustix::io::write(&self.main, &self.pending)
        {
            self.pending.drain(..count);
        }
        if heard.contains(PollFlags::IN)
            && let Ok(count @ 1..) = rustix::io::read(&self.main, &mut bytes)
        {
            show(self.shown, &bytes[..count])?;
            return Ok(true);
        }
        if heard.contains(PollFlags::HUP) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Ok(false)
    }
}

fn show(terminal: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(terminal, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                rustix::event::poll(&mut [PollFd::from_borrowed_fd(terminal, PollFlags::OUT)], None)?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// A terminal that passes each key on as it is, Ctrl-C too. As before when dropped.
struct RawTerminal<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> RawTerminal<'a> {
    fn set(terminal: BorrowedFd<'a>) -> io::Result<Self> {
        let before = rustix::termios::tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Drain, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawTerminal<'_> {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(self.terminal.as_fd(), OptionalActions::Drain, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use wheelbarrow_base::progress::Silent;

    use super::*;

    /// What a shell script ends by that is asked to end after half a second, `times` in all, and how long that takes.
    fn ended_by(script: &str, times: u32) -> (Option<i32>, Duration) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        child::set_apart(&mut command, None, None);
        let (begun, asked) = (Instant::now(), Cell::new(0));
        let signal = || {
            let is_time = begun.elapsed() > Duration::from_millis(500) && asked.get() < times;
            is_time.then(|| asked.set(asked.get() + 1)).map(|()| 15)
        };
        let status = wait(&mut command, None, &Silent, signal).unwrap();
        (status.signal(), begun.elapsed())
    }

    #[test]
    fn a_command_that_does_not_end_when_it_is_asked_is_killed() {
        let stubborn = "trap '' TERM; while :; do sleep 0.1; done";
        let (signal, took) = ended_by(stubborn, 1);
        assert!(signal == Some(9) && took > GRACE && took < GRACE + DYING, "{signal:?} {took:?}");
        let (signal, took) = ended_by(stubborn, 2);
        assert!(signal == Some(9) && took < GRACE, "{signal:?} {took:?}");
    }

    #[test]
    fn a_command_that_is_stopped_hears_of_it() {
        let (signal, took) = ended_by("kill -STOP $$; sleep 60", 1);
        assert!(signal == Some(15) && took < GRACE, "{signal:?} {took:?}");
    }
}
