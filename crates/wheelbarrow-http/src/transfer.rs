//! One file over HTTP.
//!
//! A server may drop the connection, stall, truncate, report wrong lengths or ignore `Range`: the hash
//! decides. Received bytes are kept in the partial file, and the next attempt requests the rest. If the hash
//! of a resumed file is wrong, the file is fetched once more from the start before that is an error.

use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use sha2::Digest as _;
use ureq::http::{Response, StatusCode, header};
use url::Url;
use wheelbarrow_base::Sha256;
use wheelbarrow_base::progress::Progress;

use crate::client::Client;
use crate::credentials::{Credentials, redact};
use crate::encoded;
use crate::error::HttpError;
use crate::partial::PartialFile;
use crate::patience::Patience;

type Result<T> = std::result::Result<T, HttpError>;

/// No server's wish for a pause is granted beyond this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A longer wait is reported.
const REPORTED_WAIT: Duration = Duration::from_secs(3);

/// What is fetched, and how.
pub struct Transfer<'a> {
    pub client: &'a Client,
    pub url: &'a Url,
    /// Bytes, if they are known.
    pub size: Option<u64>,
    /// Bytes. A longer file is refused if its size is not known: a server could fill the disk.
    pub longest: u64,
    pub credentials: &'a Credentials,
    pub patience: &'a Patience,
    pub progress: &'a dyn Progress,
    /// Whether the file is not needed any more.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// How a transfer ended that met no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The partial file is whole, and has this hash.
    Whole(Sha256),
    /// The file of the server has this hash, which is not the wanted one. The partial file is empty.
    Wrong(Sha256),
    /// It was told to stop.
    Stopped,
}

/// How an attempt ended that did not bring the file.
enum Failure {
    Final(HttpError),
    /// The reason, and how long the server wants to be left alone.
    Again(String, Option<Duration>),
    Stopped,
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::Final(error)
    }
}

impl Transfer<'_> {
    /// Fills `partial` with the file whose hash is `wanted`. What is there already is kept.
    pub fn run(&self, partial: &mut PartialFile, wanted: Sha256) -> Result<Ended> {
        let mut fruitless = 0;
        // Only what was never reached before counts as getting on, so that the attempts come to an end.
        let mut furthest = partial.len()?;
        let mut counted = 0;
        let mut was_wrong = false;
        loop {
            let reason = match self.attempt(Some(wanted), partial, &mut counted) {
                Ok(found) if found == wanted => return Ok(Ended::Whole(found)),
                Ok(found) => {
                    partial.restart()?;
                    if was_wrong {
                        return Ok(Ended::Wrong(found));
                    }
                    was_wrong = true;
                    continue;
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Stopped) => return Ok(Ended::Stopped),
                Err(Failure::Again(reason, wait)) => {
                    let length = partial.len()?;
                    fruitless = if length > furthest { 1 } else { fruitless + 1 };
                    furthest = furthest.max(length);
                    if fruitless < self.patience.attempts {
                        self.pause(&reason, wait.unwrap_or(self.patience.pause_after(fruitless)));
                        continue;
                    }
                    format!("{reason}; {} attempts in a row brought nothing", self.patience.attempts)
                }
            };
            return Err(self.failed(&reason));
        }
    }

    /// Fills `partial` with a file whose hash is not known, from its start: nobody could tell whether what is there
    /// already is right.
    pub fn run_unhashed(&self, partial: &mut PartialFile) -> Result<Ended> {
        let mut counted = 0;
        let mut attempt = 1;
        loop {
            partial.restart()?;
            match self.attempt(None, partial, &mut counted) {
                Ok(found) => return Ok(Ended::Whole(found)),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Stopped) => return Ok(Ended::Stopped),
                Err(Failure::Again(reason, wait)) if attempt < self.patience.attempts => {
                    self.pause(&reason, wait.unwrap_or(self.patience.pause_after(attempt)));
                    attempt += 1;
                }
                Err(Failure::Again(reason, _)) => return Err(self.failed(&reason)),
            }
        }
    }

    /// Sleeps, until it is told to stop. A long wait is reported, once for all files of the client.
    fn pause(&self, reason: &str, wait: Duration) {
        let step = Duration::from_millis(50);
        let mut left = wait.min(LONGEST_WAIT);
        if left >= REPORTED_WAIT && self.client.is_first_wait() {
            let host = self.url.host_str().unwrap_or_default();
            self.progress.note(&format!("waiting up to {} s for {host}: {reason}", left.as_secs()));
        }
        while !left.is_zero() && !(self.stop)() {
            std::thread::sleep(left.min(step));
            left = left.saturating_sub(step);
        }
    }

    fn failed(&self, reason: &str) -> HttpError {
        HttpError::Fetch { url: redact(self.url.as_str()), reason: redact(reason) }
    }

    /// Asks once, from where the partial file ends, and reads to the end. Gives the hash of the whole file.
    fn attempt(
        &self,
        wanted: Option<Sha256>,
        partial: &mut PartialFile,
        counted: &mut u64,
    ) -> std::result::Result<Sha256, Failure> {
        let mut offset = partial.len()?;
        if self.size.is_some_and(|size| offset >= size) {
            // A killed run left it whole, or more than whole.
            let (hasher, _) = rehash(partial)?;
            let found = Sha256(hasher.finalize().into());
            if Some(found) == wanted {
                return Ok(found);
            }
            partial.restart()?;
            offset = 0;
        }
        let response = self.ask(offset)?;
        let offset = self.accept(&response, partial, offset)?;
        let (mut hasher, length) = if offset > 0 { rehash(partial)? } else { (sha2::Sha256::new(), 0) };
        if length != offset {
            partial.restart()?;
            return Err(Failure::Again("the partial file changed".to_owned(), None));
        }
        let is_gzip = encoded::is_gzip(response.headers());
        let length = self.read_body(response, partial, &mut hasher, (offset, counted))?;
        let found = Sha256(hasher.finalize().into());
        if let Some(wanted) = wanted.filter(|wanted| is_gzip && *wanted != found)
            && encoded::decode(partial, wanted, self.size.unwrap_or(self.longest))?
        {
            return Ok(wanted);
        }
        match self.size {
            Some(size) if length < size => {
                Err(Failure::Again(format!("the answer ended after {length} of {size} bytes"), None))
            }
            _ => Ok(found),
        }
    }

    fn ask(&self, offset: u64) -> std::result::Result<Response<ureq::Body>, Failure> {
        let mut request = self.client.request(self.url, self.credentials);
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        request.call().map_err(|error| self.transport(&error))
    }

    /// Errors before or between the bytes. A certificate does not get better by asking again.
    fn transport(&self, error: &ureq::Error) -> Failure {
        let reason = match error {
            ureq::Error::Timeout(_) => {
                format!("the server was silent for {} s", self.patience.stall.as_secs_f32())
            }
            ureq::Error::HostNotFound => "the host is not known".to_owned(),
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        // It may be the proxy that is not found.
        let reason = match self.client.proxy_of(self.url) {
            Some(proxy) => format!("{reason}, through {proxy}"),
            None => reason,
        };
        let hopeless = reason.contains("ertificate")
            || matches!(error, ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects);
        if hopeless { Failure::Final(self.failed(&reason)) } else { Failure::Again(reason, None) }
    }

    /// Judges the status; gives where the answer's first byte belongs.
    fn accept(
        &self,
        response: &Response<ureq::Body>,
        partial: &PartialFile,
        offset: u64,
    ) -> std::result::Result<u64, Failure> {
        let status = response.status();
        match status {
            StatusCode::OK => {
                partial.restart()?;
                Ok(0)
            }
            StatusCode::PARTIAL_CONTENT if range_start(response) == Some(offset) => Ok(offset),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.restart()?;
                Err(Failure::Again("the server answered with another range".to_owned(), Some(Duration::ZERO)))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(HttpError::Unauthorized { url: redact(self.url.as_str()), status: status.as_u16() }
                    .into())
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Again(format!("HTTP {status}"), retry_after(response)))
            }
            _ if status.is_server_error() => {
                Err(Failure::Again(format!("HTTP {status}"), retry_after(response)))
            }
            _ => Err(self.failed(&format!("HTTP {status}")).into()),
        }
    }

    /// Refuses a file of that length whose size is not known.
    fn check_length(&self, length: u64, partial: &PartialFile) -> std::result::Result<(), Failure> {
        if self.size.is_some() || length <= self.longest {
            return Ok(());
        }
        partial.restart()?;
        Err(self
            .failed(&format!("the file has no size in the lock, and more than {} bytes", self.longest))
            .into())
    }

    /// Writes the body behind the first `offset` bytes and gives the file's length. A body longer than its known size is cut;
    /// its hash tells.
    fn read_body(
        &self,
        response: Response<ureq::Body>,
        partial: &mut PartialFile,
        hasher: &mut sha2::Sha256,
        (offset, counted): (u64, &mut u64),
    ) -> std::result::Result<u64, Failure> {
        let path = partial.path().to_path_buf();
        let unwritable = |error| Failure::Final(HttpError::io("write", &path)(error));
        partial.file.seek(SeekFrom::Start(offset)).map_err(unwritable)?;
        self.check_length(offset + response.body().content_length().unwrap_or(0), partial)?;
        let most = self.size.map_or(u64::MAX, |size| size - offset.min(size));
        let most = if encoded::is_gzip(response.headers()) { most.saturating_mul(2) } else { most };
        let ends_there = response.body().content_length() == Some(most);
        let mut body = response.into_body().into_reader().take(most);
        let mut buffer = vec![0; 64 * 1024];
        let mut length = offset;
        loop {
            if (self.stop)() {
                return Err(Failure::Stopped);
            }
            let read = match body.read(&mut buffer) {
                Ok(0) => {
                    // Only a body that was seen to end gives its connection to the next file.
                    if ends_there {
                        let _ = body.into_inner().read(&mut [0]);
                    }
                    return Ok(length);
                }
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Again(broken_off(&error, length), None)),
            };
            partial.file.write_all(&buffer[..read]).map_err(unwritable)?;
            hasher.update(&buffer[..read]);
            length += read as u64;
            self.check_length(length, partial)?;
            if length > *counted {
                self.progress.advance(length - *counted);
                *counted = length;
            }
        }
    }
}

fn broken_off(error: &std::io::Error, length: u64) -> String {
    format!("the connection broke after {length} bytes: {error}")
}

/// Hash so far, and length, of what is in the partial file.
fn rehash(partial: &mut PartialFile) -> Result<(sha2::Sha256, u64)> {
    let path = partial.path().to_path_buf();
    let unreadable = |error| HttpError::io("read", &path)(error);
    partial.file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut length = 0;
    loop {
        match partial.file.read(&mut buffer).map_err(unreadable)? {
            0 => return Ok((hasher, length)),
            read => {
                hasher.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}

/// The first byte's place in `Content-Range: bytes 100-199/200`.
fn range_start(response: &Response<ureq::Body>) -> Option<u64> {
    let value = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    value.trim().strip_prefix("bytes")?.trim().split('-').next()?.parse().ok()
}

/// Seconds only; a date is as good as nothing.
fn retry_after(response: &Response<ureq::Body>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
