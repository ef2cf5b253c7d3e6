//! Directories that appear whole: made beside their destination, renamed into place.
//!
//! A staged directory is `.BASENAME.wheelbarrow-XXXXXXXX` beside the destination. Whoever makes it holds an flock on
//! it, so one that can be locked is the leftover of a run that died, and [`Staged::begin`] removes it. Making and
//! looking happen under a short lock, a file that is there only meanwhile, or a new one could be taken for a leftover in between.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use fs_err as fs;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::lock::open_directory;
use crate::{FsError, Lock};

/// What the name of a directory ends in that waits while another takes its place in two steps.
const OLD: &str = "old";

/// The same of a whole directory that takes the place of the destination, whatever is left of that.
const NEXT: &str = "next";

/// A directory in the making. Dropped before [`Staged::commit`], it is removed.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    destination: PathBuf,
    parent: PathBuf,
    _lock: Lock,
    committed: bool,
}

/// What the destination may be when the staged directory takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Absent or an empty directory.
    New,
    /// Any directory: it is exchanged in one step, then removed.
    Replace,
}

impl Staged {
    /// Cleans up after runs that died, and makes an empty directory beside `destination`, an absolute path.
    pub fn begin(destination: &Path) -> Result<Self, FsError> {
        let no_parent = || FsError::NoParent { path: destination.to_path_buf() };
        let parent = destination.parent().ok_or_else(no_parent)?.to_path_buf();
        let prefix = prefix(destination.file_name().ok_or_else(no_parent)?);
        if !parent.is_dir() {
            return Err(FsError::MissingParent { path: parent });
        }
        let _short = Lock::passing(&lock_of(destination))?;
        recover(&parent, destination, &prefix)?;
        loop {
            let mut name = prefix.clone();
            name.push(format!("{:08x}", unique()));
            let path = parent.join(name);
            match rustix::fs::mkdir(&path, rustix::fs::Mode::from_raw_mode(0o777)) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(FsError::errno("make the directory", &path)(errno)),
            }
            let lock = Lock::directory(&path).inspect_err(|_| _ = fs::remove_dir(&path))?;
            let destination = destination.to_path_buf();
            return Ok(Self { path, destination, parent, _lock: lock, committed: false });
        }
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs what was written to disk and puts it in place by one rename.
    pub fn commit(mut self, commit: Commit) -> Result<(), FsError> {
        self.sync()?;
        // Held over both steps of an exchange: what stands between them looks like the leftover of a run that died.
        let short = Lock::passing(&lock_of(&self.destination))?;
        let parent = open_directory(&self.parent)?;
        match (commit, fs::symlink_metadata(&self.destination)) {
            (Commit::Replace, Ok(metadata)) if metadata.is_dir() => self.exchange()?,
            _ => self.rename()?,
        }
        self.committed = true;
        match rustix::fs::fsync(&parent) {
            // Some file systems cannot sync a directory.
            Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP) => {}
            // The old directory stays until the next run: after a power cut it may be the destination again.
            Err(errno) => {
                return Err(FsError::Unsynced { path: self.destination.clone(), source: errno.into() });
            }
        }
        drop(short);
        // After an exchange the old directory stands here. It is not needed for the new one to be whole: what cannot be
        // removed now is removed by the next run.
        let _ = fs::remove_dir_all(&self.path);
        Ok(())
    }

    fn sync(&self) -> Result<(), FsError> {
        let directory = fs::File::open(&self.path).map_err(FsError::io("open", &self.path))?;
        rustix::fs::syncfs(&directory).map_err(FsError::errno("sync", &self.path))
    }

    /// rename(2) takes the place of an empty directory and of nothing else.
    fn rename(&self) -> Result<(), FsError> {
        match rustix::fs::rename(&self.path, &self.destination) {
            Ok(()) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(FsError::Occupied { path: self.destination.clone() }),
            Err(Errno::NOTDIR) => {
                Err(FsError::NotDirectory { path: self.destination.clone(), what: "a file or a link" })
            }
            Err(errno) => Err(FsError::errno("rename a directory to", &self.destination)(errno)),
        }
    }

    fn exchange(&mut self) -> Result<(), FsError> {
        match rustix::fs::renameat_with(CWD, &self.path, CWD, &self.destination, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            // The last where a seccomp filter does not know the call.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => self.exchange_in_two_steps(),
            // overlayfs does not rename directories of a lower layer, of a container image say.
            Err(Errno::XDEV) => self.replace_by_removal(),
            Err(errno) => Err(FsError::errno("exchange the directory", &self.destination)(errno)),
        }
    }

    /// For file systems that cannot exchange. Between the steps there is no destination; a run that dies there is
    /// mended by [`recover`].
    fn exchange_in_two_steps(&mut self) -> Result<(), FsError> {
        let old = self.parent.join(name_of(self.destination.file_name().unwrap_or_default(), OLD));
        rustix::fs::rename(&self.destination, &old).map_err(FsError::errno("rename", &self.destination))?;
        if let Err(error) = self.rename() {
            let _ = rustix::fs::rename(&old, &self.destination);
            return Err(error);
        }
        self.path = old;
        Ok(())
    }
}

/// Puts right what runs that died have left beside `destination`, an absolute path. [`Staged::begin`] does so too; who looks
/// at the destination before that does it first.
pub fn put_right(destination: &Path) -> Result<(), FsError> {
    let Some((parent, name)) = destination.parent().zip(destination.file_name()) else { return Ok(()) };
    let is_left = |suffix| fs::symlink_metadata(parent.join(name_of(name, suffix))).is_ok();
    if !is_left(NEXT) && !is_left(OLD) {
        return Ok(());
    }
    let _short = Lock::passing(&lock_of(destination))?;
    finish(parent, destination)
}

impl Staged {
    /// For directories that cannot be moved. From the first rename on the new directory is to be in place: a run that
    /// dies is ended by [`finish`], so everything that could keep it from ending is looked for before.
    fn replace_by_removal(&mut self) -> Result<(), FsError> {
        check_removable(&self.destination)?;
        let next = self.parent.join(name_of(self.destination.file_name().unwrap_or_default(), NEXT));
        rustix::fs::rename(&self.path, &next).map_err(FsError::errno("rename", &self.path))?;
        self.committed = true;
        _ = open_directory(&self.parent).map(rustix::fs::fsync);
        finish(&self.parent, &self.destination)
    }
}

/// Ends a replacement that was begun.
fn finish(parent: &Path, destination: &Path) -> Result<(), FsError> {
    let name = destination.file_name().unwrap_or_default();
    let (old, next) = (parent.join(name_of(name, OLD)), parent.join(name_of(name, NEXT)));
    if fs::symlink_metadata(&next).is_ok() {
        match fs::remove_dir_all(destination) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(FsError::io("remove", destination)(error));
            }
            _ => {}
        }
        rustix::fs::rename(&next, destination).map_err(FsError::errno("rename to", destination))?;
    }
    if fs::symlink_metadata(&old).is_ok() && fs::symlink_metadata(destination).is_err() {
        rustix::fs::rename(&old, destination).map_err(FsError::errno("rename back to", destination))?;
    }
    Ok(())
}

/// Whether this user may remove what is in every directory of a tree.
fn check_removable(directory: &Path) -> Result<(), FsError> {
    use rustix::fs::{Access, AtFlags, accessat};
    let access = accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
    access.map_err(FsError::errno("remove what is in", directory))?;
    for entry in fs::read_dir(directory).map_err(FsError::io("list", directory))? {
        let entry = entry.map_err(FsError::io("list", directory))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            check_removable(&entry.path())?;
        }
    }
    Ok(())
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Held for moments only.
fn lock_of(destination: &Path) -> PathBuf {
    destination.with_file_name(name_of(destination.file_name().unwrap_or_default(), "lock"))
}

/// Whether a name ends as [`Staged::begin`] and [`OLD`] end it: nobody else's files are swept.
pub(crate) fn is_made_here(suffix: &[u8]) -> bool {
    suffix == OLD.as_bytes() || (suffix.len() == 8 && suffix.iter().all(u8::is_ascii_alphanumeric))
}

/// Puts right what runs that died have left beside `destination`.
fn recover(parent: &Path, destination: &Path, prefix: &OsStr) -> Result<(), FsError> {
    finish(parent, destination)?;
    let entries = fs::read_dir(parent).map_err(FsError::io("list", parent))?;
    for entry in entries {
        let entry = entry.map_err(FsError::io("list", parent))?;
        let name = entry.file_name();
        let ours = name.as_bytes().strip_prefix(prefix.as_bytes()).is_some_and(is_made_here);
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if let Ok(Some(_lock)) = Lock::try_directory(&path) {
            // What cannot be removed, another user's say, does not keep anybody from installing.
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

/// `.BASENAME.wheelbarrow-`, cut so that what follows fits in a name of 255 bytes.
pub(crate) fn prefix(basename: &OsStr) -> OsString {
    let bytes = &basename.as_bytes()[..basename.len().min(220)];
    let mut prefix = OsString::from(".");
    prefix.push(OsStr::from_bytes(bytes));
    prefix.push(".wheelbarrow-");
    prefix
}

fn name_of(basename: &OsStr, suffix: &str) -> OsString {
    let mut name = prefix(basename);
    name.push(suffix);
    name
}

/// Differs between the runs that may meet in one directory, and nobody can tell it beforehand; who makes a name of it
/// tries again if there is such a name.
pub(crate) fn unique() -> u32 {
    let mut bytes = [0; 4];
    // By the system call: the standard library refers to the C library's function weakly, so a static link leaves it out.
    let read = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    if read == Ok(bytes.len()) {
        return u32::from_ne_bytes(bytes);
    }
    // Before Linux 3.17.
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    now.subsec_nanos().rotate_left(2) ^ std::process::id().rotate_left(16) ^ call
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn appears_whole_and_leaves_nothing_beside() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("site");
        let staged = Staged::begin(&destination).unwrap();
        fs::write(staged.path().join("file"), "new").unwrap();
        assert!(!destination.exists());
        staged.commit(Commit::New).unwrap();
        assert_eq!(names(place.path()), ["site"]);
        assert_eq!(names(&destination), ["file"]);
    }

    #[test]
    fn new_takes_an_empty_directory_and_no_other() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("site");
        fs::create_dir(&destination).unwrap();
        Staged::begin(&destination).unwrap().commit(Commit::New).unwrap();
        fs::write(destination.join("file"), "old").unwrap();
        let error = Staged::begin(&destination).unwrap().commit(Commit::New).unwrap_err();
        assert!(matches!(error, FsError::Occupied { .. }));
        assert_eq!(names(place.path()), ["site"]);
        assert_eq!(names(&destination), ["file"]);
    }

    #[test]
    fn replace_exchanges() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("site");
        fs::create_dir(&destination).unwrap();
        fs::write(destination.join("old"), "").unwrap();
        let staged = Staged::begin(&destination).unwrap();
        fs::write(staged.path().join("new"), "").unwrap();
        staged.commit(Commit::Replace).unwrap();
        assert_eq!(names(place.path()), ["site"]);
        assert_eq!(names(&destination), ["new"]);
    }

    #[test]
    fn removes_leftovers_but_not_the_work_of_the_living() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("site");
        fs::create_dir_all(place.path().join(".site.wheelbarrow-00000001/venv")).unwrap();
        let others = [".other.wheelbarrow-00000001", ".site.wheelbarrow-a.wheelbarrow-00000001"];
        for other in others {
            fs::create_dir(place.path().join(other)).unwrap();
        }
        let living = Staged::begin(&destination).unwrap();
        let second = Staged::begin(&destination).unwrap();
        assert!(living.path().exists() && second.path().exists());
        drop((living, second));
        assert_eq!(names(place.path()), others);
    }

    #[test]
    fn ends_a_replacement_that_died() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("site");
        for left in [true, false] {
            let next = place.path().join(".site.wheelbarrow-next");
            fs::create_dir(&next).unwrap();
            fs::write(next.join("new"), "").unwrap();
            if left {
                fs::create_dir_all(destination.join("old/deep")).unwrap();
            }
            put_right(&destination).unwrap();
            assert_eq!(names(&destination), ["new"]);
            assert_eq!(names(place.path()), ["site"]);
            fs::remove_dir_all(&destination).unwrap();
        }
        put_right(&destination).unwrap();
        put_right(&place.path().join("missing/site")).unwrap();
    }

    #[test]
    fn mends_an_exchange_that_died_between_its_two_steps() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("site");
        fs::create_dir(place.path().join(".site.wheelbarrow-old")).unwrap();
        fs::write(place.path().join(".site.wheelbarrow-old/file"), "").unwrap();
        drop(Staged::begin(&destination).unwrap());
        assert_eq!(names(&destination), ["file"]);
        assert_eq!(names(place.path()), ["site"]);
    }
}
