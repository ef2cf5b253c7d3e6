//! A partially downloaded file.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use wheelbarrow_base::FsError;

use crate::HttpError;

/// How long to wait for another process whose file does not grow.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two attempts.
const LOOK: Duration = Duration::from_millis(20);

/// A file on its way, locked against other processes.
#[derive(Debug)]
pub struct PartialFile {
    pub file: fs::File,
    path: PathBuf,
}

impl PartialFile {
    /// What is there already stays. Waits while another process fetches the same file: at most a minute in which it does not
    /// grow. Only this user can open the file.
    pub fn open(path: PathBuf) -> Result<Self, HttpError> {
        Self::open_within(path, PATIENCE)
    }

    fn open_within(path: PathBuf, patience: Duration) -> Result<Self, HttpError> {
        let (mut begun, mut size) = (Instant::now(), None);
        loop {
            let file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(HttpError::io("write", &path))?;
            let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            let metadata = file.metadata().map_err(HttpError::io("read", &path))?;
            match locked {
                // Whoever had the lock may have renamed the file; then the name is free, or another's.
                Ok(()) if path.metadata().is_ok_and(|named| named.ino() == metadata.ino()) => {
                    return Ok(Self { file, path });
                }
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if size != Some(metadata.len()) => {
                    (begun, size) = (Instant::now(), Some(metadata.len()));
                }
                Err(Errno::WOULDBLOCK) if begun.elapsed() < patience => std::thread::sleep(LOOK),
                Err(Errno::WOULDBLOCK) => {
                    return Err(FsError::Busy { path, seconds: patience.as_secs() }.into());
                }
                Err(errno) => return Err(HttpError::io("lock", &path)(errno.into())),
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_wait_for_another_process_ends_when_its_file_no_longer_grows() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file.part");
        let mut first = PartialFile::open(path.clone()).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        std::thread::scope(|scope| {
            let begun = Instant::now();
            let second = scope.spawn(|| PartialFile::open_within(path.clone(), Duration::from_millis(500)));
            for _ in 0..10 {
                first.file.write_all(b"more").unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
            let error = second.join().unwrap().unwrap_err();
            assert!(error.to_string().contains("is locked by another process"), "{error}");
            assert!(begun.elapsed() > Duration::from_secs(1));
        });
        drop(first);
        PartialFile::open(path).unwrap();
    }
}
