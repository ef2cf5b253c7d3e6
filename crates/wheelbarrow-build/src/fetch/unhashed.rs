//! Files without a known SHA-256.
//!
//! Other known hashes are compared, and cached with the SHA-256 of the file.

use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_http::Client;

use super::download::DownloadJob;
use super::request::{Download, FetchOptions};
use crate::cache::{Cache, CacheEntry, CachedBuild};
use crate::lock::{Digest, Place};
use crate::{Error, Result};

/// A file that is wanted for its hash.
#[derive(Clone, Debug)]
pub(crate) struct Unhashed {
    /// Its path or URL, as the lock has it.
    pub(crate) key: String,
    pub(crate) filename: String,
    pub(crate) place: Place,
    /// Bytes, where the lock says so.
    pub(crate) size: Option<u64>,
    /// Each must be right.
    pub(crate) digests: Vec<Digest>,
}

/// Gets every file into the cache. The entries come in the order of `wanted`.
pub(crate) fn fetch_unhashed(
    cache: &Cache,
    wanted: &[Unhashed],
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Vec<CacheEntry>> {
    let mut entries = Vec::with_capacity(wanted.len());
    for file in wanted {
        entries.push(match remembered(cache, file)? {
            Some(entry) => Some(entry),
            None => file.local(cache, options)?,
        });
    }
    let lacking: Vec<_> = wanted.iter().zip(&entries).filter(|(_, entry)| entry.is_none()).collect();
    if options.offline && !lacking.is_empty() {
        return Err(Error::Offline {
            missing: lacking.iter().map(|(file, _)| file.filename.clone()).collect(),
        });
    }
    let client = Client::new(options.patience.stall)?;
    progress.begin("fetching", lacking.iter().filter_map(|(file, _)| file.size).sum(), Unit::Bytes);
    let fetched: Result<Vec<CacheEntry>> = wanted
        .iter()
        .zip(entries)
        .map(|(file, entry)| match entry {
            Some(entry) => Ok(entry),
            None => file.fetch(cache, &client, options, progress),
        })
        .collect();
    progress.end();
    let fetched = fetched?;
    for (file, entry) in wanted.iter().zip(&fetched) {
        file.check(entry)?;
        if let Some(key) = file.digests.first().map(key) {
            let built = CachedBuild { filename: file.filename.clone(), sha256: entry.sha256 };
            cache.set_built(key, &built)?;
        }
    }
    Ok(fetched)
}

fn remembered(cache: &Cache, file: &Unhashed) -> Result<Option<CacheEntry>> {
    let Some(digest) = file.digests.first() else { return Ok(None) };
    Ok(cache.built(key(digest))?.map(|(_, entry)| entry))
}

/// What the cache remembers the file by.
fn key(digest: &Digest) -> Sha256 {
    Sha256::of(format!("the file with {digest}").as_bytes())
}

impl Unhashed {
    /// The file of a local path, or of one of the directories with its name and hashes.
    fn local(&self, cache: &Cache, options: &FetchOptions) -> Result<Option<CacheEntry>> {
        if let Place::Local(path) = &self.place {
            return cache.put(path).map(Some);
        }
        for path in options.directories.iter().map(|directory| directory.join(&self.filename)) {
            if !self.digests.is_empty() && path.is_file() {
                let entry = cache.put(&path)?;
                if self.check(&entry).is_ok() {
                    return Ok(Some(entry));
                }
            }
        }
        Ok(None)
    }

    fn fetch(
        &self,
        cache: &Cache,
        client: &Client,
        options: &FetchOptions,
        progress: &dyn Progress,
    ) -> Result<CacheEntry> {
        // The place of the unfinished file: no file has this hash.
        let sha256 = Sha256::of(format!("the file at {}", self.key).as_bytes());
        let (filename, place) = (self.filename.clone(), self.place.clone());
        let download = Download { filename, place, sha256, size: self.size };
        DownloadJob { cache, client, download: &download, options, progress, stop: &|| false }.run_unhashed()
    }

    fn check(&self, entry: &CacheEntry) -> Result<()> {
        for digest in &self.digests {
            let found =
                Digest::of_file(digest.algorithm, &entry.path).map_err(Error::io("read", &entry.path))?;
            if found != *digest {
                return Err(Error::Hash {
                    file: self.filename.clone(),
                    expected: vec![digest.to_string()],
                    got: found.to_string(),
                });
            }
        }
        Ok(())
    }
}
