//! One Python for all uses of the site before the switch: it sets Django up once, and forks for each request
//! (`python/fork_server.py`).
//!
//! It runs with the rights of the site, and its reports are no more trusted than those of any program of the
//! site. It can neither keep this process waiting longer than a separate program could, nor leave processes
//! running. If it has ended, or declines a request, a separate process serves the request.
//!
//! Its standard input is a socket of whole messages (SOCK_SEQPACKET), which are JSON. It sends `{"started": true}`
//! before anything of the site is imported. Each request comes with the descriptors of three standard streams, and
//! gets one answer: `{"status": N}`, how it ended, as wait(2) has it, or `{"declined": REASON}` if nothing was done,
//! because a separate process might do it differently. With `"last": true` no further request is answered.
//!
//! The requests: `{"check": {...}}` as [`crate::check`] has it, whose answers go to the second stream and what the
//! application prints to the third; `{"words": [...]}`, a command of Django; `{"script": TEXT}`. The last two have
//! `settings`, the value of DJANGO_SETTINGS_MODULE if the environment does not have it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Deserialize;
use wheelbarrow_base::json;
use wheelbarrow_base::progress::Progress;

use crate::ReleaseError;
use crate::command::child::{self, Leftovers, ProgramEnd, RunningProgram};
use crate::command::secrets::Secrets;
use crate::report::text::cut_line;
use crate::root::lock::{CommandLock, RootLock};

/// How long an interpreter may take to start that has not imported anything of the site.
const STARTING: Duration = Duration::from_secs(10);

/// How long it may take to end once nobody asks any more.
const LEAVING: Duration = Duration::from_secs(1);

/// How often to look while it is at work.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// Bytes of an answer.
const MOST: usize = 1 << 12;

/// Characters of a reason that are shown.
const SHOWN: usize = 200;

/// Starts with its first request, and ends when it is dropped.
pub(crate) struct ForkServer {
    /// None once it is gone.
    server: Option<Server>,
    secrets: Secrets,
}

struct Server {
    running: RunningProgram,
    control: OwnedFd,
    /// It keeps others out for as long as a fork runs, whatever becomes of this process.
    _lock: CommandLock,
}

/// What it says: that it has started, that a request has ended, or why it takes none.
#[derive(Debug, Deserialize)]
struct Said {
    started: Option<bool>,
    status: Option<i32>,
    /// It is over with this.
    #[serde(default)]
    last: bool,
    declined: Option<String>,
}

/// What came of a request.
enum Heard {
    Ended { status: ExitStatus, is_last: bool },
    Declined,
}

impl ForkServer {
    /// Starts the Python, `command`. None if it does not start: a process of its own will have the reason.
    pub(crate) fn start(
        mut command: Command,
        lock: &RootLock,
        secrets: Secrets,
        progress: &dyn Progress,
    ) -> Result<Option<Self>, ReleaseError> {
        let held = lock.for_command()?;
        // No command runs yet.
        lock.command_ended();
        let Ok((control, other)) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        else {
            return Ok(None);
        };
        command.stdin(other).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(running) = child::start(&mut command, Leftovers::End, Some(held.as_fd())) else {
            return Ok(None);
        };
        // With it, this process's own copy of the other end of the socket.
        drop(command);
        let mut server = Server { running, control, _lock: held };
        let started = server
            .wait(STARTING, progress, &mut || {}, |said| said.started.filter(|started| *started).map(drop));
        match started {
            Ok(Ok(Ok(()))) => Ok(Some(Self { server: Some(server), secrets })),
            Ok(Err(ProgramEnd::Cancelled)) => Err(ReleaseError::Cancelled),
            _ => Ok(None),
        }
    }

    /// Whether it takes requests.
    pub(crate) fn is_there(&self) -> bool {
        self.server.is_some()
    }

    /// Its process; none when it is gone.
    pub(crate) fn id(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.running.id())
    }

    /// Has it do what `request` says with these standard streams. None if nothing was done.
    pub(crate) fn ask(
        &mut self,
        request: &serde_json::Value,
        streams: [BorrowedFd<'_>; 3],
        limit: Duration,
        progress: &dyn Progress,
        mut look: impl FnMut(),
    ) -> io::Result<Option<ProgramEnd>> {
        let Some(mut server) = self.server.take() else { return Ok(None) };
        server.running.adopt_orphans();
        if server.send(request.to_string().as_bytes(), streams).is_err() {
            return Ok(None);
        }
        let heard = server.wait(limit, progress, &mut look, |said| {
            if let Some(status) = said.status {
                return Some(Heard::Ended { status: ExitStatus::from_raw(status), is_last: said.last });
            }
            let reason = cut_line(&self.secrets.hide(&said.declined?), SHOWN);
            progress.detail(&format!("in a process of its own, since {reason}"));
            Some(Heard::Declined)
        })?;
        match heard {
            Ok(Ok(Heard::Declined)) => {
                self.server = Some(server);
                Ok(None)
            }
            Ok(Ok(Heard::Ended { status, is_last })) => {
                if !is_last && server.running.end_leftovers_of_part() {
                    self.server = Some(server);
                }
                Ok(Some(ProgramEnd::By(status)))
            }
            // It was ended, and what it was asked for with it.
            Ok(Err(status)) => Ok(Some(ProgramEnd::By(status))),
            Err(ended) => {
                server.running.end(progress);
                Ok(Some(ended))
            }
        }
    }
}

impl Server {
    fn send(&self, request: &[u8], streams: [BorrowedFd<'_>; 3]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        with.push(SendAncillaryMessage::ScmRights(&streams));
        // Nobody has to read it.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::sendmsg(&self.control, &[io::IoSlice::new(request)], &mut with, flags)?;
        Ok(())
    }

    /// Waits for what `wanted` takes, or for its end: then how it ended, and never well.
    #[allow(clippy::type_complexity, reason = "it is taken apart at once")]
    fn wait<T>(
        &mut self,
        limit: Duration,
        progress: &dyn Progress,
        look: &mut impl FnMut(),
        mut wanted: impl FnMut(Said) -> Option<T>,
    ) -> io::Result<Result<Result<T, ExitStatus>, ProgramEnd>> {
        let control = self.control.as_fd();
        self.running.watch(limit, progress, look, |running| {
            let _ = rustix::event::poll(&mut [PollFd::from_borrowed_fd(control, PollFlags::IN)], Some(&LOOK));
            let mut bytes = [0; MOST];
            match rustix::net::recv(control, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((count @ 1.., _)) => {
                    let said = json::from_slice(bytes.get(..count).unwrap_or_default());
                    return Ok(said.ok().and_then(&mut wanted).map(Ok));
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                // It has closed its end.
                Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
            let ended = running.try_wait()?;
            let failed =
                ended.map(|status| if status.success() { ExitStatus::from_raw(1 << 8) } else { status });
            Ok(failed.map(Err))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Without anybody who could ask, it ends by itself.
        let _ = rustix::net::shutdown(&self.control, rustix::net::Shutdown::Both);
        let begun = Instant::now();
        while begun.elapsed() < LEAVING && matches!(self.running.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.running.end(&wheelbarrow_base::progress::Silent);
    }
}
