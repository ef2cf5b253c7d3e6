//! Downloads one file into the cache.

use wheelbarrow_base::progress::Progress;
use wheelbarrow_http::{Client, Ended, Transfer};

use super::request::{Download, FetchOptions, wrong_hash};
use crate::cache::{Cache, CacheEntry};
use crate::lock::Place;
use crate::{Error, Result};

pub(super) struct DownloadJob<'a> {
    pub(super) cache: &'a Cache,
    pub(super) client: &'a Client,
    pub(super) download: &'a Download,
    pub(super) options: &'a FetchOptions,
    pub(super) progress: &'a dyn Progress,
    /// Whether another file failed, so that this one is not needed any more.
    pub(super) stop: &'a (dyn Fn() -> bool + Sync),
}

impl DownloadJob<'_> {
    /// Gets the file into the cache, unless it is told to stop.
    pub(super) fn run(&self) -> Result<()> {
        let Some(transfer) = self.transfer() else { return Ok(()) };
        let wanted = self.download.sha256;
        let mut partial = self.cache.partial(wanted)?;
        if self.cache.get(wanted)?.is_some() {
            partial.discard();
            return Ok(());
        }
        match transfer.run(&mut partial, wanted)? {
            Ended::Whole(found) => self.cache.finish(partial, found).map(drop),
            Ended::Wrong(found) => Err(wrong_hash(self.download, found)),
            Ended::Stopped => Ok(()),
        }
    }

    /// Gets a file whose hash is not known.
    pub(super) fn run_unhashed(&self) -> Result<CacheEntry> {
        let missing = || Error::Offline { missing: vec![self.download.filename.clone()] };
        let transfer = self.transfer().ok_or_else(missing)?;
        let mut partial = self.cache.partial(self.download.sha256)?;
        match transfer.run_unhashed(&mut partial)? {
            Ended::Whole(_) | Ended::Wrong(_) => {}
            Ended::Stopped => return Err(Error::Stopped),
        }
        let entry = self.cache.put(partial.path())?;
        partial.discard();
        Ok(entry)
    }

    fn transfer(&self) -> Option<Transfer<'_>> {
        let Place::Remote(url) = &self.download.place else { return None };
        Some(Transfer {
            client: self.client,
            url,
            size: self.download.size,
            longest: self.options.longest,
            credentials: &self.options.credentials,
            patience: &self.options.patience,
            progress: self.progress,
            stop: self.stop,
        })
    }
}
