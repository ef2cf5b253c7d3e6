//! Temporary working directories, kept in one place.
//!
//! Their maker holds an flock on each, so a directory that can be locked is the leftover of a killed run.
//! Making and checking happen under a short file lock on the place; otherwise a new directory could be
//! mistaken for a leftover.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use crate::beneath::{Directory, Patience, remove_tree};
use crate::staged::REMOVAL;
use crate::unfinished::Unfinished;
use crate::unique::unique;
use crate::{FsError, Lock};

/// The lock file in the place, while a directory is made or leftovers are searched for.
const LOCK: &str = "lock";

/// An empty directory that only this process uses and only this user may open. It is removed with its
/// contents when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    place: Directory,
    name: OsString,
    directory: Directory,
    _unfinished: Unfinished,
    _lock: Lock,
}

impl Scratch {
    /// Makes a directory in `place`, a directory for nothing else.
    pub fn begin(place: &Path) -> Result<Self, FsError> {
        let open = Directory::open_following(place).map_err(FsError::io("open", place))?;
        let _place = Lock::passing(&open, &place.join(LOCK))?;
        loop {
            let name = OsString::from(format!("{:08x}", unique()));
            let path = place.join(&name);
            match rustix::fs::mkdirat(&open, &name, Mode::from_raw_mode(0o700)) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(FsError::errno("make the directory", &path)(errno)),
            }
            let made = open.sub(&name).map_err(FsError::io("open the directory", &path));
            let (directory, lock, unfinished) = made
                .and_then(|directory| {
                    let lock = Lock::of_directory(&directory, &path)?;
                    let listed = Unfinished::list(open.as_fd(), &name);
                    Ok((directory, lock, listed.map_err(FsError::io("open the directory", &path))?))
                })
                .inspect_err(|_| _ = rustix::fs::unlinkat(&open, &name, AtFlags::REMOVEDIR))?;
            return Ok(Self { path, place: open, name, directory, _unfinished: unfinished, _lock: lock });
        }
    }

    /// Removes leftovers of killed runs in `place`. What cannot be removed, such as another user's files,
    /// stays.
    pub fn clean(place: &Path) -> Result<(), FsError> {
        let open = Directory::open_following(place).map_err(FsError::io("open", place))?;
        let list = || open.entries().map_err(FsError::io("list", place));
        if list()?.is_empty() {
            return Ok(());
        }
        let _place = match Lock::passing(&open, &place.join(LOCK)) {
            // Who may not write here may not remove anything either.
            Err(FsError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                return Ok(());
            }
            Err(FsError::Io { source, .. }) if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
                return Ok(());
            }
            lock => lock?,
        };
        for (name, _) in list()? {
            let path = place.join(&name);
            let Ok(found) = open.sub(&name) else { continue };
            if let Ok(Some(_lock)) = Lock::try_directory(&found, &path) {
                let _ = remove_tree(&open, &name, &path, &Patience::of(REMOVAL));
            }
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_tree(&self.place, &self.name, &self.path, &Patience::of(REMOVAL));
    }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

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
