//! Directories to work in, kept in one place for them.
//!
//! Whoever makes one holds an flock on it, so one that can be locked is the leftover of a run that died. Making and
//! looking happen under a short lock on the place, or a new one could be taken for a leftover in between.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::io::Errno;

use crate::staged::unique;
use crate::{FsError, Lock};

/// In the place, while somebody makes a directory or looks for leftovers.
const LOCK: &str = "lock";

/// An empty directory of this process alone. What is left in it goes when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: Lock,
}

impl Scratch {
    /// Makes one in `place`, a directory that holds nothing else.
    pub fn begin(place: &Path) -> Result<Self, FsError> {
        let _place = Lock::passing(&place.join(LOCK))?;
        loop {
            let path = place.join(format!("{:08x}", unique()));
            match rustix::fs::mkdir(&path, rustix::fs::Mode::from_raw_mode(0o777)) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(FsError::errno("make the directory", &path)(errno)),
            }
            let lock = Lock::directory(&path).inspect_err(|_| _ = fs::remove_dir(&path))?;
            return Ok(Self { path, _lock: lock });
        }
    }

    /// Removes what runs that died have left in `place`. What cannot be removed, another user's say, stays.
    pub fn clean(place: &Path) -> Result<(), FsError> {
        let list = || fs::read_dir(place).map_err(FsError::io("list", place));
        if list()?.next().is_none() {
            return Ok(());
        }
        let _place = match Lock::passing(&place.join(LOCK)) {
            // Who may not write here may not remove anything either.
            Err(FsError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                return Ok(());
            }
            Err(FsError::Io { source, .. }) if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
                return Ok(());
            }
            lock => lock?,
        };
        for entry in list()? {
            let path = entry.map_err(FsError::io("list", place))?.path();
            if let Ok(Some(_lock)) = Lock::try_directory(&path) {
                let _ = fs::remove_dir_all(&path);
            }
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_and_the_work_of_the_living_stays() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("00000001/deep")).unwrap();
        let living = Scratch::begin(place.path()).unwrap();
        Scratch::clean(place.path()).unwrap();
        let names: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names, [living.path().to_path_buf()]);
        drop(living);
        assert!(fs::read_dir(place.path()).unwrap().next().is_none());
    }
}
