//! What is fetched, and how.

use std::path::PathBuf;
use std::time::Duration;

use wheelbarrow_artifact::manifest::Sha256;

use crate::Error;
use crate::credentials::Credentials;
use crate::lock::Place;
use crate::uv::variable;

/// One file that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// For messages.
    pub filename: String,
    pub place: Place,
    pub sha256: Sha256,
    /// Bytes, where the lock says so.
    pub size: Option<u64>,
}

/// How to fetch.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// How many files at once.
    pub connections: usize,
    /// Take only what is in the cache, and local files.
    pub offline: bool,
    /// Looked into for a file of that name and hash before the network is asked.
    pub directories: Vec<PathBuf>,
    pub credentials: Credentials,
    /// How long a connection may stay silent.
    pub stall: Duration,
    /// The wait before the second attempt; it doubles with each.
    pub backoff: Duration,
    /// Attempts in a row that brought nothing, before the file is given up.
    pub attempts: u32,
}

impl Default for FetchOptions {
    /// The timeout may be set by `UV_HTTP_TIMEOUT` or `PIP_DEFAULT_TIMEOUT`, in seconds, and the number of files at once by
    /// `UV_CONCURRENT_DOWNLOADS`.
    fn default() -> Self {
        let number = |names: &[&str]| variable(names).and_then(|text| text.trim().parse::<u64>().ok());
        let stall = number(&["UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "PIP_DEFAULT_TIMEOUT"]).unwrap_or(30);
        let connections = number(&["UV_CONCURRENT_DOWNLOADS"]).unwrap_or(16);
        Self {
            connections: usize::try_from(connections).unwrap_or(16).clamp(1, 64),
            offline: false,
            directories: Vec::new(),
            credentials: Credentials::default(),
            stall: Duration::from_secs(stall.max(1)),
            backoff: Duration::from_millis(500),
            attempts: 5,
        }
    }
}

/// The error for a file that is not the one that was asked for.
pub(super) fn wrong_hash(download: &Download, found: Sha256) -> Error {
    Error::Hash {
        file: download.filename.clone(),
        expected: vec![format!("sha256:{}", download.sha256)],
        got: format!("sha256:{found}"),
    }
}
