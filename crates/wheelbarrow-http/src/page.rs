//! The beginning of a page: its head, and no more.
//!
//! A page never delays a build for long: one time limit covers everything, from the lookup of the host to the
//! last byte, and nothing is retried.

use std::io::Read;
use std::time::Duration;

use ureq::http::{Response, header};
use url::Url;

use crate::client::Client;
use crate::credentials::{Credentials, redact};
use crate::error::HttpError;

/// Which page, and in which form.
pub struct PageRequest<'a> {
    pub client: &'a Client,
    pub url: &'a Url,
    pub credentials: &'a Credentials,
    /// The header `Accept`.
    pub accept: &'a str,
    /// For all of it.
    pub timeout: Duration,
}

/// An answer whose body was not read yet.
pub struct Page {
    response: Response<ureq::Body>,
    url: String,
    timeout: Duration,
}

impl PageRequest<'_> {
    /// Asks. An answer with any status is an answer.
    pub fn open(&self) -> Result<Page, HttpError> {
        let request = self.client.request(self.url, self.credentials).header(header::ACCEPT, self.accept);
        let request = request.config().timeout_global(Some(self.timeout)).build();
        let (url, timeout) = (redact(self.url.as_str()), self.timeout);
        match request.call() {
            Ok(response) => Ok(Page { response, url, timeout }),
            Err(error) => Err(failed(url, timeout, error)),
        }
    }
}

fn failed(url: String, timeout: Duration, error: ureq::Error) -> HttpError {
    let reason = match error {
        ureq::Error::Timeout(_) => format!("no answer within {} s", timeout.as_secs_f32()),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    HttpError::Fetch { url, reason: redact(&reason) }
}

impl Page {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// In lower case, without parameters; empty if the server gives none.
    pub fn content_type(&self) -> String {
        let value = self.response.headers().get(header::CONTENT_TYPE);
        let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The body, up to `most` bytes, and no further than `is_enough` says of what has come. A page that is known to be
    /// shorter is read to its end, since the connection is good for another page then.
    pub fn read(self, most: u64, is_enough: &dyn Fn(&[u8]) -> bool) -> Result<Vec<u8>, HttpError> {
        let is_short = self.response.body().content_length().is_some_and(|length| length < most);
        let mut body = self.response.into_body().into_reader().take(most);
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        let mut next_look = 0;
        loop {
            match body.read(&mut buffer) {
                Ok(0) => return Ok(bytes),
                Ok(read) => bytes.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(self.url, self.timeout, error.into())),
            }
            // Not at each byte of a server that sends one at a time.
            if !is_short && bytes.len() >= next_look {
                if is_enough(&bytes) {
                    return Ok(bytes);
                }
                next_look = bytes.len() + 1024;
            }
        }
    }
}
