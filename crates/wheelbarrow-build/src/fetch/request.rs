//! The request for a download.

use std::path::PathBuf;

use wheelbarrow_base::{Sha256, variable};
use wheelbarrow_http::{Credentials, Patience};

use crate::Error;
use crate::lock::Place;

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
    pub patience: Patience,
    /// Bytes of a file whose size is not known.
    pub longest: u64,
}

/// No file in a zip without zip64, as artifacts are, is longer.
const LONGEST: u64 = u32::MAX as u64;

impl Default for FetchOptions {
    /// The number of files at once may be set by `UV_CONCURRENT_DOWNLOADS`.
    fn default() -> Self {
        let connections = variable(&["UV_CONCURRENT_DOWNLOADS"]).and_then(|text| text.trim().parse().ok());
        Self {
            connections: connections.unwrap_or(16).clamp(1, 64),
            offline: false,
            directories: Vec::new(),
            credentials: Credentials::default(),
            patience: Patience::default(),
            longest: LONGEST,
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
