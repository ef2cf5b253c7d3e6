//! The lock file before a build. A failed build puts it back: the lock may be for other targets, with lower versions.

use std::path::PathBuf;

use fs_err as fs;
use wheelbarrow_base::progress::Progress;

/// Restores the lock file when dropped, unless the build has succeeded.
pub(crate) struct PreviousLock<'a> {
    path: PathBuf,
    /// None if there was no lock.
    bytes: Option<Vec<u8>>,
    progress: &'a dyn Progress,
    is_replaced: bool,
}

impl<'a> PreviousLock<'a> {
    pub(crate) fn of(path: PathBuf, progress: &'a dyn Progress) -> Self {
        let bytes = fs::read(&path).ok();
        Self { path, bytes, progress, is_replaced: false }
    }

    /// The new lock stays.
    pub(crate) fn replace(mut self) {
        self.is_replaced = true;
    }
}

impl Drop for PreviousLock<'_> {
    fn drop(&mut self) {
        if self.is_replaced || fs::read(&self.path).ok() == self.bytes {
            return;
        }
        let Some(bytes) = &self.bytes else {
            let _ = fs::remove_file(&self.path);
            return;
        };
        if wheelbarrow_base::write_atomic(&self.path, bytes, 0o666).is_ok() {
            self.progress.note(&format!("restored {}, since the build failed", self.path.display()));
        }
    }
}
