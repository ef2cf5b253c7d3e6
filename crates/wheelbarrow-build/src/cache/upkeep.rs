//! The size of the cache, and its pruning. While a build uses the cache, nothing is removed.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::FlockOperation;
use walkdir::WalkDir;
use wheelbarrow_artifact::manifest::Sha256;

use super::{Cache, CachedBuild, INTERPRETERS, PYTHONS, WORK, remove_directory};
use crate::check::memory;
use crate::project_status::memory as statuses;
use crate::{Error, Result, bytecode};

/// The directories that are ours, below the root. Whatever else somebody keeps there stays.
const OURS: [&str; 11] = [
    "audited",
    "built",
    bytecode::DIRECTORY,
    memory::DIRECTORY,
    INTERPRETERS,
    "logs",
    PYTHONS,
    "sha256",
    statuses::DIRECTORY,
    "uv",
    WORK,
];

/// What was removed, or is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheAmount {
    pub files: usize,
    pub bytes: u64,
}

impl CacheAmount {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

impl Cache {
    /// What is in it.
    pub fn amount(&self) -> Result<CacheAmount> {
        let mut amount = CacheAmount::default();
        for (_, bytes) in self.files(&OURS)? {
            amount.add(bytes);
        }
        Ok(amount)
    }

    /// Removes what no build takes up again: downloads that broke off, what killed builds left, logs, all that is known of
    /// wheels that are gone, what other versions of this program found, and the bytecode of sites' own code, since nobody
    /// knows which code is still there.
    pub fn prune(&self) -> Result<CacheAmount> {
        self.hold_alone()?;
        let mut removed = CacheAmount::default();
        for (path, bytes) in self.files(&OURS)? {
            let below = path.strip_prefix(&self.root).unwrap_or(&path);
            let is_kept = match below.components().next().and_then(|part| part.as_os_str().to_str()) {
                Some("uv" | INTERPRETERS | PYTHONS) => true,
                Some("sha256") => is_entry(&path),
                Some("audited") => self.has(wheelbarrow_audit::wheel_of_facts(&path).map(|it| [it])),
                Some("built") => self.has(wheel_built(&path)),
                Some(bytecode::DIRECTORY) => self.has(bytecode::wheel_of_pack(&path).map(|it| [it])),
                Some(statuses::DIRECTORY) => statuses::counts(&path),
                Some(memory::DIRECTORY) => is_of_this_program(below) && self.has(memory::wheels(&path)),
                _ => false,
            };
            if !is_kept {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                removed.add(bytes);
            }
        }
        remove_directory(&self.root.join(WORK))?;
        Ok(removed)
    }

    /// Removes everything.
    pub fn clean(&self) -> Result<CacheAmount> {
        self.hold_alone()?;
        let removed = self.amount()?;
        OURS.iter().try_for_each(|name| remove_directory(&self.root.join(name)))?;
        Ok(removed)
    }

    /// Turns the lock that every user of the cache shares into one that nobody does.
    fn hold_alone(&self) -> Result<()> {
        let Some(lock) = self.lock.as_ref() else {
            return Err(Error::io("lock", &self.root)(std::io::ErrorKind::PermissionDenied.into()));
        };
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
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

    /// Whether all of these wheels are there; not where it is unknown which they are.
    fn has<W: IntoIterator<Item = Sha256>>(&self, wheels: Option<W>) -> bool {
        wheels.is_some_and(|wheels| wheels.into_iter().all(|sha256| self.path(sha256).is_file()))
    }
}

/// The wheel that a file below `built` tells of.
fn wheel_built(path: &Path) -> Option<[Sha256; 1]> {
    Some([serde_json::from_slice::<CachedBuild>(&fs::read(path).ok()?).ok()?.sha256])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytecode::{BytecodeMode, CompileRequest, compile_all};
    use crate::check::{CheckRequest, check, testing};
    use crate::gather::GatheredWheel;
    use wheelbarrow_base::progress::Silent;

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
        let built =
            |text: &str| CachedBuild { filename: "a".to_owned(), sha256: Sha256::of(text.as_bytes()) };
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
        for name in ["audited/1/aa/a.json", "bytecode/a70d0d0a/a.pack", "built/aa/a.json"] {
            write(name, "{}");
        }
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        for (name, age) in [("old", 100_000), ("new", 1000)] {
            let text = format!("{{\"asked\": {}, \"status\": null}}", now - age);
            write(&format!("statuses/aa/{name}.json"), &text);
        }
        write("interpreters/aa/python/bin/python3.12", "kept");
        write("pythons/cpython-3.12/bin/python3.12", "kept");
        assert_eq!(cache.amount().unwrap().files, 16);

        let running = Cache::open(Some(directory.path())).unwrap();
        for refused in [cache.prune(), cache.clean()] {
            assert!(matches!(refused, Err(Error::CacheInUse { .. })));
        }
        drop(running);
        assert_eq!(cache.prune().unwrap().files, 11);
        assert!(directory.path().join("statuses/aa/new.json").exists());
        assert_eq!(cache.get(entry.sha256).unwrap(), Some(entry.clone()));
        assert!(cache.built(Sha256::of(b"one")).unwrap().is_some());

        assert_eq!(cache.clean().unwrap().files, 5);
        assert_eq!(cache.amount().unwrap(), CacheAmount::default());
        assert!(directory.path().join("wheel").exists());
    }

    /// By those who write them.
    #[test]
    fn facts_of_removed_wheels_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&directory.path().join("cache"))).unwrap();
        let cached = |filename: &str, files: &[(&str, &str)]| {
            let wheel = testing::wheel(directory.path(), filename, files);
            GatheredWheel { path: cache.put(&wheel.path).unwrap().path, ..wheel }
        };
        let (pip, own) = (
            cached("pip-1-py3-none-any.whl", &[("pip.py", "")]),
            cached("a-1-py3-none-any.whl", &[("a.py", "")]),
        );
        let interpreter = crate::python::find_default().unwrap().interpreter;
        let fill = || {
            let targets = [testing::target("3.12", "cp312", vec![own.clone()], pip.clone())];
            let request = CheckRequest { cache: Some(cache.root()), ..testing::request(&targets, "s.pth") };
            check(&request, &Silent).unwrap();
            let wheels = vec![&own, &pip];
            let compilee = CompileRequest { python: "3.12", interpreter: interpreter.as_ref(), wheels };
            let project = [("s/s.py".to_owned(), Vec::new())];
            compile_all(BytecodeMode::Always, &cache, &[compilee], &project, &Silent).unwrap();
        };
        let count = |name: &str| cache.files(&[name]).unwrap().len();
        let counts = || ["sha256", "audited", "checked", "bytecode"].map(count);
        fill();
        assert_eq!(
            counts(),
            [2, 2, 1, 6],
            "two wheels, the site's own code, and what every artifact starts with"
        );
        assert_eq!(cache.prune().unwrap().files, 4);
        assert_eq!(counts(), [2, 2, 1, 2], "of the site's own code nobody knows whether it is still there");
        fs::remove_file(&own.path).unwrap();
        assert_eq!(cache.prune().unwrap().files, 3);
        assert_eq!(counts(), [1, 1, 0, 1]);
    }
}
