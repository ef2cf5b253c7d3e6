//! The cache: wheels and source distributions by their SHA-256, and the wheels that were built from sources.
//!
//! ```text
//! ROOT/sha256/ab/abcdef...          a file whose bytes hash to its name
//! ROOT/sha256/ab/abcdef....part     as much of it as came so far
//! ROOT/built/ab/abcdef....json      by what was built and for what: name and hash of the wheel
//! ROOT/bytecode/MAGIC/HEX-....pack  compiled modules of a wheel or a site (`bytecode`)
//! ROOT/audited/VERSION/ab/....json  what the audit found in a wheel, by its hash (`wheelbarrow_audit`)
//! ROOT/checked/PROGRAM/HEX.json     checks that were passed (`check::memory`)
//! ROOT/statuses/HEX/NAME.json        what an index reports of a project (`project_status::memory`)
//! ROOT/interpreters/HEX/            a standalone Python as it is bundled (`bundled`)
//! ROOT/pythons                      those that uv has fetched
//! ROOT/logs/NAME-VERSION-PYTHON.log of builds
//! ROOT/lock                         a file lock: shared, or of who prunes
//! ROOT/uv                           uv's own, where its usual place cannot be written to
//! ```
//!
//! A file is renamed into place after its hash was compared. Hashing again at every build would cost more
//! than the rest of a build, so the modification time records the comparison: it is set to a moment that
//! depends on the size. A file that was truncated or written to has another time, and is hashed again; a
//! damaged file is removed and fetched again.

mod upkeep;

use std::fs::Permissions;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use wheelbarrow_base::{Lock, Sha256, open_regular};
use wheelbarrow_http::PartialFile;

use crate::{Error, Result};

pub use upkeep::CacheAmount;

/// 1980-01-01, in seconds since 1970.
const EPOCH: u64 = 315_532_800;

/// Where standalone Pythons are, as they are bundled.
pub(crate) const INTERPRETERS: &str = "interpreters";
/// Where uv puts those that it fetches.
pub(crate) const PYTHONS: &str = "pythons";

/// A file that only those can open who may write to the cache: any other user could let them wait.
const LOCK: &str = "lock";

/// Where builds have their directories.
pub(crate) const WORK: &str = "work";

/// See the module's text. While there is one, in any process, the cache is not cleaned.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    /// What all who use the cache share. None if this user may not open the file, and so may not change anything.
    lock: Arc<Option<Lock>>,
}

/// A file of the cache, compared with its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    pub path: PathBuf,
    pub sha256: Sha256,
    /// Bytes.
    pub size: u64,
}

/// The wheel that a source gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CachedBuild {
    pub filename: String,
    pub sha256: Sha256,
}

impl Cache {
    /// At `directory`, else `$WHEELBARROW_CACHE_DIR`, `$XDG_CACHE_HOME/wheelbarrow`, `~/.cache/wheelbarrow`, or where
    /// there is no home, below the directory for temporary files.
    pub fn open(directory: Option<&Path>) -> Result<Self> {
        let root = Self::place(directory);
        if directory.is_none() && named_root().is_none() {
            make_private(&root)?;
        }
        fs::create_dir_all(&root).map_err(Error::io("make the cache", &root))?;
        tag(&root);
        let lock_file = root.join(LOCK);
        // Who is alone here removes what killed builds left: a build in progress holds the lock.
        if let Ok(alone) = Lock::file_within(&lock_file, Duration::ZERO) {
            let _ = remove_directory(&root.join(WORK));
            drop(alone);
        }
        let lock = Arc::new(Lock::shared_file(&lock_file)?);
        Ok(Self { root, lock })
    }

    /// Where the cache is, which need not be there yet: see [`Cache::open`]. Absolute, since uv runs in the project.
    pub fn place(directory: Option<&Path>) -> PathBuf {
        let place = directory.map_or_else(default_root, Path::to_path_buf);
        std::path::absolute(&place).unwrap_or(place)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, sha256: Sha256) -> PathBuf {
        let hex = sha256.to_string();
        self.root.join("sha256").join(&hex[..2]).join(hex)
    }

    /// The file with that hash, if it is there and whole. A damaged one is removed.
    pub fn get(&self, sha256: Sha256) -> Result<Option<CacheEntry>> {
        let path = self.path(sha256);
        let Ok(metadata) = path.metadata() else { return Ok(None) };
        let size = metadata.len();
        if metadata.modified().ok() != Some(mark(size)) {
            let (found, _) = hash_file(&path)?;
            if found != sha256 {
                fs::remove_file(&path).map_err(Error::io("remove the damaged", &path))?;
                return Ok(None);
            }
            set_mark(&path, size)?;
        }
        Ok(Some(CacheEntry { path, sha256, size }))
    }

    /// Copies a regular file into the cache.
    pub fn put(&self, file: &Path) -> Result<CacheEntry> {
        self.put_open(open_regular(file).map_err(Error::io("copy", file))?, file)
    }

    /// [`Cache::put`] of an open file. `file` is its name in errors.
    pub(crate) fn put_open(&self, mut original: std::fs::File, file: &Path) -> Result<CacheEntry> {
        let directory = self.root.join("sha256");
        fs::create_dir_all(&directory).map_err(Error::io("make", &directory))?;
        let copy = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&directory)
            .map_err(Error::io("write in", &directory))?;
        io::copy(&mut original, &mut copy.as_file()).map_err(Error::io("copy", file))?;
        let (sha256, size) = hash_file(copy.path())?;
        let path = self.path(sha256);
        make_parent(&path)?;
        set_mark(copy.path(), size)?;
        copy.persist(&path).map_err(|error| Error::io("write", &path)(error.error))?;
        Ok(CacheEntry { path, sha256, size })
    }

    /// Begins or resumes a download. Waits while another process fetches the same file.
    pub fn partial(&self, sha256: Sha256) -> Result<PartialFile> {
        let path = self.path(sha256).with_extension("part");
        make_parent(&path)?;
        Ok(PartialFile::open(path)?)
    }

    /// Makes a download an entry. `found` is the hash of its bytes, which the caller computed; if it is not the hash that
    /// the download was begun with, the file is removed and `found` is given back as the error.
    pub fn finish(
        &self,
        partial: PartialFile,
        found: Sha256,
    ) -> Result<std::result::Result<CacheEntry, Sha256>> {
        let path = self.path(found);
        if partial.path() != path.with_extension("part") {
            partial.discard();
            return Ok(Err(found));
        }
        let size = partial.len()?;
        set_mark(partial.path(), size)?;
        // Only this user could open it before. Now it may be read by those who may read the directory.
        let directory = path.parent().unwrap_or(&path).metadata().map_err(Error::io("read", &path))?;
        let mode = Permissions::from_mode(directory.mode() & 0o666);
        fs::set_permissions(partial.path(), mode).map_err(Error::io("change", partial.path()))?;
        fs::rename(partial.path(), &path).map_err(Error::io("rename", partial.path()))?;
        Ok(Ok(CacheEntry { path, sha256: found, size }))
    }

    /// What was built under `key` before, if the wheel is still there.
    pub fn built(&self, key: Sha256) -> Result<Option<(CachedBuild, CacheEntry)>> {
        let Ok(text) = fs::read(self.built_path(key)) else { return Ok(None) };
        let Ok(built) = serde_json::from_slice::<CachedBuild>(&text) else { return Ok(None) };
        Ok(self.get(built.sha256)?.map(|entry| (built, entry)))
    }

    pub fn set_built(&self, key: Sha256, built: &CachedBuild) -> Result<()> {
        let path = self.built_path(key);
        make_parent(&path)?;
        let text = serde_json::to_vec(built).unwrap_or_default();
        Ok(wheelbarrow_base::write_atomic(&path, &text, 0o666)?)
    }

    fn built_path(&self, key: Sha256) -> PathBuf {
        let hex = key.to_string();
        self.root.join("built").join(&hex[..2]).join(format!("{hex}.json"))
    }

    /// A directory for building in, removed when dropped.
    pub fn workspace(&self) -> Result<tempfile::TempDir> {
        let directory = self.root.join(WORK);
        fs::create_dir_all(&directory).map_err(Error::io("make", &directory))?;
        tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(&directory)
            .map_err(Error::io("write in", &directory))
    }

    /// Keeps a build's log and gives its path.
    pub fn keep_log(&self, name: &str, log: &[u8]) -> Result<PathBuf> {
        let path = self.root.join("logs").join(format!("{name}.log"));
        make_parent(&path)?;
        fs::write(&path, log).map_err(Error::io("write", &path))?;
        Ok(path)
    }
}

fn default_root() -> PathBuf {
    named_root().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("wheelbarrow-{}", rustix::process::getuid().as_raw()))
    })
}

/// Makes the directory below that for temporary files, where any user can have made one of its name. A build packs and runs
/// what is in its cache.
fn make_private(root: &Path) -> Result<()> {
    let exposed = |reason: &str| Error::ExposedCache { path: root.to_path_buf(), reason: reason.to_owned() };
    match std::fs::DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("make the cache", root)(error));
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(root).map_err(Error::io("read", root))?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(exposed("it is not a directory of this user"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(exposed("other users may write to it"));
    }
    #[cfg(target_os = "linux")]
    if let Some(reason) = wheelbarrow_base::beneath::exposure_of(root).map_err(Error::io("read", root))? {
        return Err(exposed(&reason));
    }
    Ok(())
}

/// What a variable names.
fn named_root() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    variable("WHEELBARROW_CACHE_DIR")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("wheelbarrow")))
        .or_else(|| Some(variable("HOME")?.join(".cache/wheelbarrow")))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(Error::io("make", parent))
}

/// The modification time of a compared file of `size` bytes.
fn mark(size: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH + size % (1 << 28))
}

fn set_mark(path: &Path, size: u64) -> Result<()> {
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    file.into_parts().0.set_modified(mark(size)).map_err(Error::io("set the time of", path))
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Hash and size of a file, streamed.
pub(crate) fn hash_file(path: &Path) -> Result<(Sha256, u64)> {
    // A pipe or a device would have no end.
    let mut file = open_regular(path).map_err(Error::io("read", path))?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if read == 0 {
            return Ok((Sha256(hasher.finalize().into()), size));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

/// Marks a new cache as one, for programs that copy or pack directories (<https://bford.info/cachedir/>), and for git.
fn tag(root: &Path) {
    let is_empty = fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty {
        // It works without them.
        let text = "Signature: 8a477f597d28d172789f06886806bc55\n# The cache of `wheelbarrow build`.\n";
        let _ = fs::write(root.join("CACHEDIR.TAG"), text);
        let _ = fs::write(root.join(".gitignore"), "*\n");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_pipe_or_a_device_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let pipe = place.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let cache = Cache::open(Some(&place.path().join("cache"))).unwrap();
        for path in [&pipe, Path::new("/dev/zero")] {
            assert!(hash_file(path).is_err(), "{}", path.display());
            assert!(cache.put(path).is_err(), "{}", path.display());
        }
    }

    fn cache() -> (tempfile::TempDir, Cache) {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(directory.path())).unwrap();
        (directory, cache)
    }

    #[test]
    fn what_a_killed_build_left_is_removed_by_the_next() {
        let (_directory, cache) = cache();
        let left = cache.workspace().unwrap().keep();
        fs::write(left.join("source"), b"").unwrap();
        let root = cache.root().to_path_buf();
        let second = Cache::open(Some(&root)).unwrap();
        assert!(left.is_dir(), "another build may be in it");
        drop((cache, second));
        Cache::open(Some(&root)).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn no_other_user_can_open_what_a_build_locks() {
        let (directory, cache) = cache();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!(mode(&directory.path().join(LOCK)), 0o600);
        let all = fs::File::open(directory.path()).unwrap();
        rustix::fs::flock(&all, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        Cache::open(Some(directory.path())).unwrap().prune().unwrap_err();

        let sha256 = Sha256::of(b"");
        let partial = cache.partial(sha256).unwrap();
        assert_eq!(mode(partial.path()), 0o600);
        let entry = cache.finish(partial, sha256).unwrap().unwrap();
        assert_eq!(mode(&entry.path), mode(entry.path.parent().unwrap()) & 0o666);
    }

    #[test]
    fn a_cache_that_nobody_named_is_refused_if_another_user_can_write_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("wheelbarrow-1");
        let refused = || make_private(&root).unwrap_err().to_string();
        make_private(&root).unwrap();
        let mode = |mode| fs::set_permissions(&root, Permissions::from_mode(mode)).unwrap();
        assert_eq!(root.metadata().unwrap().mode() & 0o777, 0o700);
        make_private(&root).unwrap();
        for bits in [0o777, 0o1777, 0o720] {
            mode(bits);
            assert!(refused().ends_with("is not used, since other users may write to it"), "{bits:o}");
        }
        mode(0o700);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&root, Some(4321), None).unwrap();
            assert!(refused().ends_with("since it is not a directory of this user"));
        }
        fs::rename(&root, directory.path().join("theirs")).unwrap();
        fs::os::unix::fs::symlink("theirs", &root).unwrap();
        assert!(refused().ends_with("since it is not a directory of this user"));
        fs::remove_file(&root).unwrap();
        // Without the sticky bit, everybody may exchange the directory.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        assert_eq!(make_private(&root).is_err(), cfg!(target_os = "linux"));
    }

    #[test]
    fn damage_is_found_and_forgotten() {
        let (directory, cache) = cache();
        let file = directory.path().join("x.whl");
        fs::write(&file, b"wheel").unwrap();
        let entry = cache.put(&file).unwrap();
        assert_eq!(cache.get(entry.sha256).unwrap(), Some(entry.clone()));

        let touched = fs::File::options().append(true).open(&entry.path).unwrap();
        touched.into_parts().0.set_modified(SystemTime::now()).unwrap();
        assert_eq!(cache.get(entry.sha256).unwrap(), Some(entry.clone()), "a new time alone is no damage");

        fs::write(&entry.path, b"whee").unwrap();
        set_mark(&entry.path, 5).unwrap();
        assert_eq!(cache.get(entry.sha256).unwrap(), None, "truncated, whatever its time says");
        assert!(!entry.path.exists());
    }

    #[test]
    fn a_partial_file_of_another_process_is_resumed() {
        let (_directory, cache) = cache();
        let sha256 = Sha256::of(b"whole");
        let mut first = cache.partial(sha256).unwrap();
        first.file.write_all(b"whole").unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| cache.partial(sha256).unwrap().len().unwrap());
            std::thread::sleep(Duration::from_millis(50));
            cache.finish(first, sha256).unwrap().unwrap();
            assert_eq!(second.join().unwrap(), 0, "a new file, not the one that was renamed");
        });
        assert_eq!(cache.get(sha256).unwrap().unwrap().size, 5);
    }

    #[test]
    fn the_wrong_bytes_never_become_an_entry() {
        let (_directory, cache) = cache();
        let partial = cache.partial(Sha256::of(b"right")).unwrap();
        let wrong = Sha256::of(b"wrong");
        assert_eq!(cache.finish(partial, wrong).unwrap(), Err(wrong));
        assert_eq!(cache.get(Sha256::of(b"right")).unwrap(), None);
    }

    #[test]
    fn built_wheels_are_remembered() {
        let (directory, cache) = cache();
        let file = directory.path().join("x.whl");
        fs::write(&file, b"built").unwrap();
        let entry = cache.put(&file).unwrap();
        let key = Sha256::of(b"source");
        let built = CachedBuild { filename: "x.whl".to_owned(), sha256: entry.sha256 };
        cache.set_built(key, &built).unwrap();
        assert_eq!(cache.built(key).unwrap(), Some((built, entry.clone())));
        fs::remove_file(entry.path).unwrap();
        assert_eq!(cache.built(key).unwrap(), None);
    }
}
