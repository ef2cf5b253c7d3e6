//! Probes the server over HTTP: several good answers in a row, before a deadline.
//!
//! Plain HTTP/1.1 over TCP or a Unix socket, since it probes the server behind the proxy. Only the status
//! counts (RFC 9112, section 4).

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use wheelbarrow_artifact::release::ProbeSettings;
use wheelbarrow_base::beneath;
use wheelbarrow_base::progress::Progress;

use crate::ReleaseError;
use crate::serving::addresses::addresses;
use crate::serving::probe_address::ProbeAddress;

const SUCCESSES: u32 = 3;
const DEADLINE: u64 = 30;
/// After a bad answer. A good one is followed by the next request at once.
const PAUSE: Duration = Duration::from_millis(50);
/// How often to look whether a queue has room.
const LOOK: Duration = Duration::from_millis(10);
/// What one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// No status line is longer.
const LONGEST: u64 = 1024;

impl ProbeAddress {
    /// Asks once, all within `patience`; the status.
    fn ask(&self, patience: Duration) -> std::io::Result<u16> {
        let end = Instant::now() + patience;
        if let Some(socket) = &self.socket {
            let stream = connect(socket, end).map_err(|error| named(socket, &error))?;
            return self.ask_on(BoundedStream { stream, end });
        }
        let mut last = Error::other("the host has no address");
        for address in addresses(&self.authority, patience)? {
            match TcpStream::connect_timeout(&address, left(end)?) {
                Ok(stream) => return self.ask_on(BoundedStream { stream, end }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn ask_on(&self, mut stream: impl Read + Write) -> std::io::Result<u16> {
        let Self { path, host, .. } = self;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: wheelbarrow\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut line = Vec::new();
        BufReader::new(stream.take(LONGEST)).read_until(b'\n', &mut line)?;
        let line = String::from_utf8_lossy(&line);
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        status.ok_or_else(|| Error::other("the answer is no HTTP"))
    }
}

/// A stream of which nothing is waited for after `end`, however slowly it goes on.
struct BoundedStream<S> {
    stream: S,
    end: Instant,
}

trait TimedStream {
    fn wait_at_most(&self, left: Duration) -> std::io::Result<()>;
}

impl TimedStream for TcpStream {
    fn wait_at_most(&self, left: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(left))?;
        self.set_write_timeout(Some(left))
    }
}

impl TimedStream for UnixStream {
    fn wait_at_most(&self, left: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(left))?;
        self.set_write_timeout(Some(left))
    }
}

impl<S: TimedStream + Read> Read for BoundedStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.wait_at_most(left(self.end)?)?;
        self.stream.read(buffer)
    }
}

impl<S: TimedStream + Write> Write for BoundedStream<S> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.wait_at_most(left(self.end)?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// Never zero, which would mean without end to a socket.
fn left(end: Instant) -> std::io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// connect(2) waits without end where the queue of a Unix socket is full, and heeds no limit there.
///
/// The site's user may own its directory: no link of theirs is followed to a socket that only this user may open.
fn connect(socket: &Path, end: Instant) -> std::io::Result<UnixStream> {
    let file = beneath::socket(socket)?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let descriptor = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    while let Err(errno) = rustix::net::connect(&descriptor, &address) {
        if errno != Errno::AGAIN {
            return Err(errno.into());
        }
        std::thread::sleep(LOOK.min(left(end)?));
    }
    let stream = UnixStream::from(descriptor);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// An error of the system does not name the file.
fn named(socket: &Path, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", socket.display()))
}

/// Asks until enough answers in a row were good.
pub(crate) fn probe(settings: &ProbeSettings, progress: &dyn Progress) -> Result<(), ReleaseError> {
    let address = ProbeAddress::of(settings)?;
    let wanted = settings.successes.unwrap_or(SUCCESSES).max(1);
    let deadline = settings.deadline.unwrap_or(DEADLINE);
    let (begun, limit) = (Instant::now(), Duration::from_secs(deadline));
    let mut successes = 0;
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        let answer = address.ask(left.clamp(Duration::from_millis(1), PATIENCE));
        let status = answer.as_ref().ok().copied();
        let (pause, last, hint) = match answer {
            Ok(status) if is_expected(settings, status) => {
                successes += 1;
                if successes >= wanted {
                    return Ok(());
                }
                (
                    Duration::ZERO,
                    format!("only {successes} of {wanted} good answers in a row"),
                    "`[release.probe] deadline` gives it more time",
                )
            }
            bad => {
                successes = 0;
                (PAUSE, describe(bad), hint(status, settings))
            }
        };
        if progress.is_cancelled() {
            return Err(ReleaseError::Cancelled);
        }
        if begun.elapsed() + pause >= limit {
            let url = settings.url.clone();
            return Err(ReleaseError::Probe { url, deadline, last, hint, status });
        }
        std::thread::sleep(pause);
    }
}

/// Asks for so many good answers, all within `limit`. The first that is bad ends it: in words.
pub(crate) fn probe_without_retry(settings: &ProbeSettings, limit: Duration) -> Result<(), String> {
    let address = ProbeAddress::of(settings).map_err(|error| error.to_string())?;
    let begun = Instant::now();
    for _ in 0..settings.successes.unwrap_or(SUCCESSES).max(1) {
        let left = limit.saturating_sub(begun.elapsed());
        match address.ask(left.clamp(Duration::from_millis(1), PATIENCE)) {
            Ok(status) if is_expected(settings, status) => {}
            bad => return Err(describe(bad)),
        }
    }
    Ok(())
}

/// A bad answer.
fn describe(answer: std::io::Result<u16>) -> String {
    match answer {
        Ok(status) => format!("it answers {status}"),
        // A socket's time that is over has two names, neither of which says so.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            "it does not answer in time".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

/// What to do about a bad answer.
fn hint(status: Option<u16>, settings: &ProbeSettings) -> &'static str {
    match status {
        None if settings.socket.is_some() => "does the server run, and listen at `[release.probe] socket`?",
        None => "does the server run, and listen at the address of `[release.probe]`?",
        Some(400) => {
            "`[release.probe] url` selects another page; `[release.probe] host` sets the host, which Django refuses if \
             ALLOWED_HOSTS does not name it"
        }
        Some(500..) => {
            "the application, or a service that it uses, failed at the page of `[release.probe] url`"
        }
        Some(_) => "`[release.probe] url` selects another page, `expected` allows other statuses",
    }
}

/// Whether it answers one request, with whatever status.
pub(crate) fn answers(settings: &ProbeSettings) -> bool {
    ProbeAddress::of(settings).is_ok_and(|address| address.ask(PATIENCE).is_ok())
}

fn is_expected(settings: &ProbeSettings, status: u16) -> bool {
    match &settings.expected {
        Some(expected) => expected.contains(&status),
        None => (200..400).contains(&status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> ProbeSettings {
        ProbeSettings { url: url.to_owned(), ..ProbeSettings::default() }
    }

    #[test]
    fn the_hint_fits_the_answer() {
        let tcp = settings("http://a/");
        let socket = ProbeSettings { socket: Some("/run/a.sock".into()), ..tcp.clone() };
        assert!(hint(Some(400), &tcp).contains("ALLOWED_HOSTS"));
        assert!(hint(Some(404), &tcp).contains("another page"));
        assert!(hint(Some(502), &tcp).contains("the application"));
        assert!(hint(None, &tcp).contains("listen at the address"));
        assert!(hint(None, &socket).contains("listen at `[release.probe] socket`"));
    }

    #[test]
    fn no_server_is_waited_for_after_the_deadline() {
        let place = tempfile::tempdir().unwrap();
        let full = place.path().join("full");
        let listener = std::os::unix::net::UnixListener::bind(&full).unwrap();
        // Nobody accepts, so the queue gets full; of its first length, only a process with many open files could fill it.
        rustix::net::listen(&listener, 8).unwrap();
        let end = Instant::now() + Duration::from_millis(300);
        let queue: Vec<_> = std::iter::from_fn(|| connect(&full, end).ok()).take(100).collect();
        assert!(queue.len() < 100);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let slow = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let to_full = ProbeSettings { socket: Some(full), ..settings("http://a/") };
        for one in [to_full, settings(&format!("http://{slow}/"))] {
            let begun = Instant::now();
            let answer = ProbeAddress::of(&one).unwrap().ask(Duration::from_millis(500));
            let told = describe(answer);
            assert_eq!(told, "it does not answer in time");
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
    }

    #[test]
    fn no_link_of_another_user_leads_to_a_socket() {
        let place = tempfile::tempdir().unwrap();
        let (given, own) = (place.path().join("given"), place.path().join("own"));
        std::fs::create_dir(&given).unwrap();
        let _own = std::os::unix::net::UnixListener::bind(&own).unwrap();
        let _given = std::os::unix::net::UnixListener::bind(given.join("socket")).unwrap();
        std::os::unix::fs::symlink(&own, given.join("link")).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        connect(&given.join("link"), end).unwrap();
        std::fs::set_permissions(&given, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let refused = connect(&given.join("link"), end).unwrap_err();
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        connect(&given.join("socket"), end).unwrap();
    }

    #[test]
    fn a_socket_that_cannot_be_used_is_named() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("site.sock");
        let one = ProbeSettings { socket: Some(socket.clone()), ..settings("http://a/") };
        let ask = || describe(ProbeAddress::of(&one).unwrap().ask(PATIENCE));
        assert!(ask().starts_with(&format!("{}: No such file", socket.display())), "{}", ask());
        fs_err::write(&socket, "").unwrap();
        assert!(ask().starts_with(&format!("{}: ", socket.display())), "{}", ask());
    }

    #[test]
    fn a_silent_server_is_reported() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let settings = ProbeSettings { deadline: Some(1), ..settings(&url) };
        let error = probe(&settings, &wheelbarrow_base::progress::Silent).unwrap_err();
        assert!(
            matches!(error, ReleaseError::Probe { ref last, .. } if last.contains("does not answer")),
            "{error:?}"
        );
    }
}
