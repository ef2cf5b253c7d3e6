//! A partially downloaded file.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::FlockOperation;

use crate::HttpError;

/// A file on its way, locked against other processes.
#[derive(Debug)]
pub struct PartialFile {
    pub file: fs::File,
    path: PathBuf,
}

impl PartialFile {
    /// What is there already stays. Waits while another process fetches the same file.
    pub fn open(path: PathBuf) -> Result<Self, HttpError> {
        loop {
            let file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(HttpError::io("write", &path))?;
            rustix::fs::flock(&file, FlockOperation::LockExclusive)
                .map_err(|errno| HttpError::io("lock", &path)(errno.into()))?;
            // Whoever had the lock may have renamed the file; then the name is free, or another's.
            let locked = file.metadata().map_err(HttpError::io("read", &path))?.ino();
            if path.metadata().is_ok_and(|metadata| metadata.ino() == locked) {
                return Ok(Self { file, path });
            }
        }
    }

    /// Bytes that are there.
    pub fn len(&self) -> Result<u64, HttpError> {
        Ok(self.file.metadata().map_err(HttpError::io("read", &self.path))?.len())
    }

    pub fn is_empty(&self) -> Result<bool, HttpError> {
        Ok(self.len()? == 0)
    }

    /// Throws away what is there.
    pub fn restart(&self) -> Result<(), HttpError> {
        self.file.set_len(0).map_err(HttpError::io("write", &self.path))
    }

    /// Removes it; it was not needed after all.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}
