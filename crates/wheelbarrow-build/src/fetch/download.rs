//! One file over HTTP.
//!
//! A server may drop the connection, stall, truncate, lie about lengths or ignore `Range`: what counts is the hash. Bytes
//! that came are kept in the cache's `.part` file, and the next attempt asks for the rest. If the hash of a resumed file is
//! wrong, the file is fetched once more from its start before that is an error.

use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use sha2::Digest as _;
use ureq::http::{Response, StatusCode, header};
use url::Url;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::progress::Progress;

use super::client::Client;
use super::encoded;
use super::request::{Download, FetchOptions, wrong_hash};
use crate::cache::{Cache, Entry, Partial};
use crate::credentials::redact;
use crate::lock::Place;
use crate::{Error, Result};

/// No server's wish for a pause is granted beyond this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A person would wonder.
const TOLD_WAIT: Duration = Duration::from_secs(3);

pub(super) struct Job<'a> {
    pub(super) cache: &'a Cache,
    pub(super) client: &'a Client,
    pub(super) download: &'a Download,
    pub(super) options: &'a FetchOptions,
    pub(super) progress: &'a dyn Progress,
    /// Whether another file failed, so that this one is not needed any more.
    pub(super) stop: &'a (dyn Fn() -> bool + Sync),
}

/// How an attempt ended that did not bring the file.
enum Failure {
    Final(Error),
    /// The reason, and how long the server wants to be left alone.
    Again(String, Option<Duration>),
    Stopped,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Job<'_> {
    /// Gets the file into the cache, unless it is told to stop.
    pub(super) fn run(&self) -> Result<()> {
        let Place::Remote(url) = &self.download.place else { return Ok(()) };
        let mut partial = self.cache.partial(self.download.sha256)?;
        if self.cache.get(self.download.sha256)?.is_some() {
            partial.discard();
            return Ok(());
        }
        let mut fruitless = 0;
        // Only what was never reached before counts as getting on, so that the attempts come to an end.
        let mut furthest = partial.len()?;
        let mut counted = 0;
        let mut wrong_before = false;
        loop {
            let reason = match self.attempt(url, &mut partial, &mut counted) {
                Ok(found) if found == self.download.sha256 => return partial.finish(found).map(drop),
                Ok(found) if wrong_before => {
                    partial.restart()?;
                    return Err(wrong_hash(self.download, found));
                }
                Ok(_) => {
                    wrong_before = true;
                    partial.restart()?;
                    continue;
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Stopped) => return Ok(()),
                Err(Failure::Again(reason, wait)) => {
                    let length = partial.len()?;
                    fruitless = if length > furthest { 1 } else { fruitless + 1 };
                    furthest = furthest.max(length);
                    if fruitless < self.options.attempts {
                        let backoff = self.options.backoff * (1 << (fruitless - 1).min(6));
                        self.pause(url, &reason, wait.unwrap_or(backoff));
                        continue;
                    }
                    format!("{reason}; {} attempts in a row brought nothing", self.options.attempts)
                }
            };
            return Err(self.failed(url, &reason));
        }
    }

    /// Gets a file whose hash is not known, from its start: nobody could tell whether what is there already is right.
    pub(super) fn run_unhashed(&self) -> Result<Entry> {
        let Place::Remote(url) = &self.download.place else {
            return Err(Error::Offline { missing: vec![self.download.filename.clone()] });
        };
        let mut partial = self.cache.partial(self.download.sha256)?;
        let mut counted = 0;
        for attempt in 1.. {
            partial.restart()?;
            match self.attempt(url, &mut partial, &mut counted) {
                Ok(_) => {
                    let entry = self.cache.put(partial.path())?;
                    partial.discard();
                    return Ok(entry);
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(reason, wait)) if attempt < self.options.attempts => {
                    self.pause(
                        url,
                        &reason,
                        wait.unwrap_or(self.options.backoff * (1 << (attempt - 1).min(6))),
                    );
                }
                Err(Failure::Again(reason, _)) => return Err(self.failed(url, &reason)),
                Err(Failure::Stopped) => break,
            }
        }
        Err(self.failed(url, "it was not fetched"))
    }

    /// Sleeps, but not on when another file failed. A long wait is told, once for all files.
    fn pause(&self, url: &Url, reason: &str, wait: Duration) {
        let step = Duration::from_millis(50);
        let mut left = wait.min(LONGEST_WAIT);
        if left >= TOLD_WAIT && self.client.is_first_wait() {
            let host = url.host_str().unwrap_or_default();
            self.progress.note(&format!("waiting up to {} s for {host}: {reason}", left.as_secs()));
        }
        while !left.is_zero() && !(self.stop)() {
            std::thread::sleep(left.min(step));
            left = left.saturating_sub(step);
        }
    }

    fn failed(&self, url: &Url, reason: &str) -> Error {
        Error::Fetch { url: redact(url.as_str()), reason: redact(reason) }
    }

    /// Asks once, from where the partial file ends, and reads to the end. Gives the hash of the whole file.
    fn attempt(
        &self,
        url: &Url,
        partial: &mut Partial,
        counted: &mut u64,
    ) -> std::result::Result<Sha256, Failure> {
        let mut offset = partial.len()?;
        if self.download.size.is_some_and(|size| offset >= size) {
            // A killed run left it whole, or more than whole.
            let (hasher, _) = rehash(partial)?;
            let found = Sha256(hasher.finalize().into());
            if found == self.download.sha256 {
                return Ok(found);
            }
            partial.restart()?;
            offset = 0;
        }
        let response = self.ask(url, offset)?;
        let offset = self.accept(url, &response, partial, offset)?;
        let (mut hasher, length) = if offset > 0 { rehash(partial)? } else { (sha2::Sha256::new(), 0) };
        if length != offset {
            partial.restart()?;
            return Err(Failure::Again("the partial file changed".to_owned(), None));
        }
        let is_gzip = encoded::is_gzip(response.headers());
        let length = self.read_body(response, partial, &mut hasher, (offset, counted))?;
        let found = Sha256(hasher.finalize().into());
        if is_gzip && found != self.download.sha256 && encoded::decode(partial, self.download)? {
            return Ok(self.download.sha256);
        }
        match self.download.size {
            Some(size) if length < size => {
                Err(Failure::Again(format!("the answer ended after {length} of {size} bytes"), None))
            }
            _ => Ok(found),
        }
    }

    fn ask(&self, url: &Url, offset: u64) -> std::result::Result<Response<ureq::Body>, Failure> {
        let mut bare = url.clone();
        let _ = (bare.set_username(""), bare.set_password(None));
        bare.set_fragment(None);
        let mut request = self.client.agent(url).get(bare.as_str());
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        if let Some(authorization) = self.options.credentials.authorization(url) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.call().map_err(|error| self.transport(url, &error))
    }

    /// Errors before or between the bytes. A certificate does not get better by asking again.
    fn transport(&self, url: &Url, error: &ureq::Error) -> Failure {
        let reason = match error {
            ureq::Error::Timeout(_) => {
                format!("the server was silent for {} s", self.options.stall.as_secs_f32())
            }
            ureq::Error::HostNotFound => "the host is not known".to_owned(),
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        let hopeless = reason.contains("ertificate")
            || matches!(error, ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects);
        if hopeless { Failure::Final(self.failed(url, &reason)) } else { Failure::Again(reason, None) }
    }

    /// Judges the status; gives where the answer's first byte belongs.
    fn accept(
        &self,
        url: &Url,
        response: &Response<ureq::Body>,
        partial: &Partial,
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
                Err(Error::Unauthorized { url: redact(url.as_str()), status: status.as_u16() }.into())
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Again(format!("HTTP {status}"), retry_after(response)))
            }
            _ if status.is_server_error() => {
                Err(Failure::Again(format!("HTTP {status}"), retry_after(response)))
            }
            _ => Err(self.failed(url, &format!("HTTP {status}")).into()),
        }
    }

    /// Writes the body behind the first `offset` bytes and gives the file's length. A body longer than the lock says is cut;
    /// its hash tells.
    fn read_body(
        &self,
        response: Response<ureq::Body>,
        partial: &mut Partial,
        hasher: &mut sha2::Sha256,
        (offset, counted): (u64, &mut u64),
    ) -> std::result::Result<u64, Failure> {
        let path = partial.path().to_path_buf();
        let unwritable = |error| Failure::Final(Error::io("write", &path)(error));
        partial.file.seek(SeekFrom::Start(offset)).map_err(unwritable)?;
        let most = self.download.size.map_or(u64::MAX, |size| size - offset.min(size));
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
fn rehash(partial: &mut Partial) -> Result<(sha2::Sha256, u64)> {
    let path = partial.path().to_path_buf();
    let unreadable = |error| Error::io("read", &path)(error);
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
