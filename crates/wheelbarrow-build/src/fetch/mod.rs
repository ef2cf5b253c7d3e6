//! Fetches files with known hashes into the cache: in parallel, resumed, retried, compared.

mod download;
mod request;
mod unhashed;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_http::Client;

use crate::cache::{Cache, CacheEntry, hash_file};
use crate::{Error, Result};
use download::DownloadJob;
use request::wrong_hash;

pub use crate::lock::Place;
pub use request::{Download, FetchOptions};
pub(crate) use unhashed::{Unhashed, fetch_unhashed};

/// Gets every file into the cache. The entries come in the order of `downloads`; a hash named twice is fetched once.
pub fn fetch(
    cache: &Cache,
    downloads: &[Download],
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Vec<CacheEntry>> {
    fetch_and(cache, downloads, options, progress, &|_| ())
}

/// The same. `arrived` is told of each file that the network brought, by whichever thread brought it.
pub(crate) fn fetch_and(
    cache: &Cache,
    downloads: &[Download],
    options: &FetchOptions,
    progress: &dyn Progress,
    arrived: &(dyn Fn(&Download) + Sync),
) -> Result<Vec<CacheEntry>> {
    let (local, remote): (Vec<_>, Vec<_>) =
        downloads.iter().partition(|download| matches!(download.place, Place::Local(_)));
    local.iter().try_for_each(|download| copy_local(cache, download, &options.directories))?;
    let mut lacking = lacking(cache, &remote)?;
    for directory in &options.directories {
        let mut taken = Vec::new();
        for download in &lacking {
            taken.push(copy_from(cache, directory, download)?);
        }
        let mut taken = taken.into_iter();
        lacking.retain(|_| taken.next() != Some(true));
    }
    if options.offline && !lacking.is_empty() {
        return Err(Error::Offline {
            missing: lacking.iter().map(|download| download.filename.clone()).collect(),
        });
    }
    if !lacking.is_empty() {
        fetch_remote(cache, lacking, options, progress, arrived)?;
    }
    downloads
        .iter()
        .map(|download| {
            let gone = || Error::Offline { missing: vec![download.filename.clone()] };
            cache.get(download.sha256)?.ok_or_else(gone)
        })
        .collect()
}

/// What the cache has not, each hash once.
fn lacking<'a>(cache: &Cache, downloads: &[&'a Download]) -> Result<Vec<&'a Download>> {
    let mut lacking: Vec<&Download> = Vec::new();
    for &download in downloads {
        let known = lacking.iter().any(|other| other.sha256 == download.sha256);
        if !known && cache.get(download.sha256)?.is_none() {
            lacking.push(download);
        }
    }
    Ok(lacking)
}

/// Takes the file out of a directory, where it is there and the right one.
fn copy_from(cache: &Cache, directory: &Path, download: &Download) -> Result<bool> {
    let path = directory.join(&download.filename);
    if !path.is_file() || hash_file(&path)?.0 != download.sha256 {
        return Ok(false);
    }
    cache.put(&path).map(|_| true)
}

/// Takes a local file, from where the lock says that it is or from one of `directories`. It is compared even if the cache
/// has it: what a build gives must not depend on the cache.
fn copy_local(cache: &Cache, download: &Download, directories: &[PathBuf]) -> Result<()> {
    let Place::Local(path) = &download.place else { return Ok(()) };
    let found = hash_file(path).map(|(sha256, _)| sha256);
    if found.as_ref().is_ok_and(|found| *found == download.sha256) {
        return if cache.get(download.sha256)?.is_some() { Ok(()) } else { cache.put(path).map(drop) };
    }
    for directory in directories {
        if copy_from(cache, directory, download)? {
            return Ok(());
        }
    }
    Err(wrong_hash(download, found?))
}

/// The largest first, so that none of them is left to run alone at the end.
fn fetch_remote(
    cache: &Cache,
    mut remote: Vec<&Download>,
    options: &FetchOptions,
    progress: &dyn Progress,
    arrived: &(dyn Fn(&Download) + Sync),
) -> Result<()> {
    remote.sort_by_key(|download| std::cmp::Reverse(download.size.unwrap_or(0)));
    let client = Client::new(options.patience.stall)?;
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let has_failed = || failed.lock().is_ok_and(|failed| failed.is_some());
    progress.begin("fetching", remote.iter().filter_map(|download| download.size).sum(), Unit::Bytes);
    std::thread::scope(|scope| {
        for _ in 0..options.connections.min(remote.len()) {
            scope.spawn(|| {
                while let Some(download) = remote.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let job = DownloadJob {
                        cache,
                        client: &client,
                        download,
                        options,
                        progress,
                        stop: &has_failed,
                    };
                    match job.run() {
                        Ok(()) => arrived(download),
                        Err(error) => {
                            if let Ok(mut failed) = failed.lock() {
                                failed.get_or_insert(error);
                            }
                        }
                    }
                    if has_failed() {
                        return;
                    }
                }
            });
        }
    });
    progress.end();
    match failed.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(()),
    }
}
