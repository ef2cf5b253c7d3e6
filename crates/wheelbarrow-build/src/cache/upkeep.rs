//! How large the cache is, and making it smaller. A build holds the cache; nothing is removed under its hands.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::FlockOperation;
use walkdir::WalkDir;

use super::{Built, Cache};
use crate::check::memory;
use crate::{Error, Result};

/// The directories that are ours, below the root. Whatever else somebody keeps there stays.
const OURS: [&str; 7] = ["audited", "built", "bytecode", memory::DIRECTORY, "logs", "sha256", "work"];

/// What was removed, or is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub files: usize,
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

impl Cache {
    /// What is in it.
    pub fn amount(&self) -> Result<Amount> {
        let mut amount = Amount::default();
        for (_, bytes) in self.files(&OURS)? {
            amount.add(bytes);
        }
        Ok(amount)
    }

    /// Removes what no build takes up again: downloads that broke off, what killed builds left, logs, notes of wheels that
    /// are gone, and what other versions of this program found.
    pub fn prune(&self) -> Result<Amount> {
        self.hold_alone()?;
        let mut removed = Amount::default();
        for (path, bytes) in self.files(&["logs", "work", "sha256", "built", memory::DIRECTORY])? {
            let below = path.strip_prefix(&self.root).unwrap_or(&path);
            let is_kept = match below.components().next().and_then(|part| part.as_os_str().to_str()) {
                Some("sha256") => is_entry(&path),
                Some("built") => self.has_wheel_of(&path),
                Some(memory::DIRECTORY) => is_of_this_program(below),
                _ => false,
            };
            if !is_kept {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                removed.add(bytes);
            }
        }
        remove_directory(&self.root.join("work"))?;
        Ok(removed)
    }

    /// Removes everything.
    pub fn clean(&self) -> Result<Amount> {
        self.hold_alone()?;
        let removed = self.amount()?;
        OURS.iter().try_for_each(|name| remove_directory(&self.root.join(name)))?;
        Ok(removed)
    }

    /// Turns the lock that every user of the cache shares into one that nobody does.
    fn hold_alone(&self) -> Result<()> {
        match rustix::fs::flock(&self.held, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::CacheInUse { path: self.root.clone() }),
            Err(errno) => Err(Error::io("lock", &self.root)(errno.into())),
        }
    }

    /// Files below these directories, with their sizes.
    fn files(&self, directories: &[&str]) -> Result<Vec<(PathBuf, u64)>> {
        let mut files = Vec::new();
        for directory in directories.iter().map(|name| self.root.join(name)).filter(|path| path.exists()) {
            for entry in WalkDir::new(&directory) {
                let entry = entry.map_err(|error| Error::io("read", &directory)(error.into()))?;
                if !entry.file_type().is_dir() {
                    let size = entry.metadata().map_or(0, |metadata| metadata.len());
                    files.push((entry.into_path(), size));
                }
            }
        }
        Ok(files)
    }

    fn has_wheel_of(&self, note: &Path) -> bool {
        let built = fs::read(note).ok().and_then(|text| serde_json::from_slice::<Built>(&text).ok());
        built.is_some_and(|built| self.path(built.sha256).is_file())
    }
}

/// A whole file is named by 64 digits; `.part` files and temporary ones are not.
fn is_entry(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `checked/PROGRAM/HEX.json`.
fn is_of_this_program(below: &Path) -> bool {
    let program = below.components().nth(1);
    memory::program().is_some_and(|own| program.is_some_and(|program| program.as_os_str() == own.as_str()))
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use wheelbarrow_artifact::manifest::Sha256;

    use super::*;

    #[test]
    fn prune_keeps_what_is_whole_and_clean_keeps_what_is_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("wheel", "wheel");
        let cache = Cache::open(Some(directory.path())).unwrap();
        let entry = cache.put(&directory.path().join("wheel")).unwrap();
        let built = |text: &str| Built { filename: "a".to_owned(), sha256: Sha256::of(text.as_bytes()) };
        cache.set_built(Sha256::of(b"one"), &built("wheel")).unwrap();
        cache.set_built(Sha256::of(b"two"), &built("gone")).unwrap();
        for name in [
            "sha256/aa/x.part",
            "sha256/.tmpx",
            "logs/a.log",
            "work/build-x/source/a.c",
            "checked/0-1-2/a.json",
        ] {
            write(name, "left");
        }
        write(&format!("checked/{}/a.json", memory::program().unwrap()), "{}");
        write("audited/1/aa/a.json", "{}");
        assert_eq!(cache.amount().unwrap().files, 10);

        let running = Cache::open(Some(directory.path())).unwrap();
        for refused in [cache.prune(), cache.clean()] {
            assert!(matches!(refused, Err(Error::CacheInUse { .. })));
        }
        drop(running);
        assert_eq!(cache.prune().unwrap().files, 6);
        assert_eq!(cache.get(entry.sha256).unwrap(), Some(entry.clone()));
        assert!(cache.built(Sha256::of(b"one")).unwrap().is_some());

        assert_eq!(cache.clean().unwrap().files, 4);
        assert_eq!(cache.amount().unwrap(), Amount::default());
        assert!(directory.path().join("wheel").exists());
    }
}
