//! Directories that appear atomically: made beside their destination, then renamed into place.
//!
//! A staged directory is `.BASENAME.wheelbarrow-XXXXXXXX` beside the destination. Its maker holds an flock on
//! it, so a directory that can be locked is the leftover of a killed run, and [`Staged::begin`] removes it.
//! Making and checking happen under a short file lock, a file that exists only meanwhile; otherwise a new
//! directory could be mistaken for a leftover.
//!
//! A user who may open a directory can hold an flock on it. So only its maker may open a staged directory
//! until it is renamed into place.

mod left;
mod names;

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Mode, RenameFlags};
use rustix::io::Errno;

use crate::beneath::{Directory, Patience, remove_tree};
use crate::unfinished::Unfinished;
use crate::unique::{OLD, prefix, unique};
use crate::{FsError, Lock};

pub use left::{is_settled, put_right};
pub(crate) use names::REMOVAL;
use names::{NEXT, is_directory, lock_of, name_in, name_of, open_parent};

/// The mode of a staged directory until it is renamed into place.
const HIDDEN: u32 = 0o700;

/// A staged directory. If it is dropped before [`Staged::commit`], it is removed.
///
/// A user who may write in the parent directory may replace it at any time: all work uses open directories.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    destination: PathBuf,
    parent: Directory,
    directory: Directory,
    /// The mode that it gets when it is renamed into place.
    mode: u32,
    owner: Option<(u32, u32)>,
    _unfinished: Unfinished,
    _lock: Lock,
    committed: bool,
}

/// What may exist at the destination when the staged directory is renamed into place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Absent or an empty directory.
    New,
    /// Any directory: it is replaced in one step, then removed.
    Replace,
}

impl Staged {
    /// Cleans up after killed runs, and makes an empty directory beside `destination`, an absolute path.
    pub fn begin(destination: &Path) -> Result<Self, FsError> {
        let no_parent = || FsError::NoParent { path: destination.to_path_buf() };
        let parent_path = destination.parent().ok_or_else(no_parent)?;
        let prefix = prefix(destination.file_name().ok_or_else(no_parent)?);
        if !parent_path.is_dir() {
            return Err(FsError::MissingParent { path: parent_path.to_path_buf() });
        }
        let parent = open_parent(parent_path)?;
        let _short = Lock::passing(&parent, &lock_of(destination))?;
        left::recover(&parent, destination, &prefix)?;
        loop {
            let mut name = prefix.clone();
            name.push(format!("{:08x}", unique()));
            let path = parent_path.join(&name);
            match rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(HIDDEN)) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(FsError::errno("make the directory", &path)(errno)),
            }
            let opened = open_made(&parent, &name).map_err(FsError::io("open the directory", &path));
            let (directory, lock, unfinished) = opened
                .and_then(|directory| {
                    let lock = Lock::of_directory(&directory, &path)?;
                    let listed = Unfinished::list(parent.as_fd(), &name);
                    Ok((directory, lock, listed.map_err(FsError::io("open the directory", parent_path))?))
                })
                .inspect_err(|_| _ = rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR))?;
            let destination = destination.to_path_buf();
            let mut staged = Self {
                path,
                destination,
                parent,
                directory,
                mode: HIDDEN,
                owner: None,
                _unfinished: unfinished,
                _lock: lock,
                committed: false,
            };
            staged.mode = mode_of_new(&staged.directory)
                .map_err(FsError::errno("make a directory in", &staged.path))?;
            return Ok(staged);
        }
    }

    /// The open directory to write in.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Its path, unless another user has moved it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the owner, group and mode that it gets when it is renamed into place, instead of its maker's.
    pub fn give(&mut self, user: u32, group: u32, mode: u32) {
        self.owner = Some((user, group));
        self.mode = mode;
    }

    /// Syncs the files to disk and renames the directory into place.
    pub fn commit(mut self, commit: Commit) -> Result<(), FsError> {
        rustix::fs::syncfs(&self.directory).map_err(FsError::errno("sync", &self.path))?;
        // Held over both steps of an exchange: what stands between them looks like the leftover of a run that died.
        let short = Lock::passing(&self.parent, &lock_of(&self.destination))?;
        self.refuse_exchanged()?;
        self.give_away()?;
        let standing = self.parent.find(name_in(&self.destination));
        match (commit, standing.map_err(FsError::io("look at", &self.destination))?) {
            (Commit::Replace, Some(stat)) if is_directory(&stat) => self.exchange()?,
            _ => self.rename()?,
        }
        self.committed = true;
        match rustix::fs::fsync(&self.parent) {
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
        self.remove();
        Ok(())
    }

    /// Applies the requested owner and mode.
    fn give_away(&self) -> Result<(), FsError> {
        let (user, group) = self.owner.unzip();
        let given = self.directory.give(user, group).and_then(|()| self.directory.set_mode(self.mode));
        given.map_err(FsError::io("set the owner and the mode of", &self.path))
    }

    /// A user who may write in the parent directory may have replaced it.
    fn refuse_exchanged(&self) -> Result<(), FsError> {
        let looked =
            self.parent.stat_at(name_in(&self.path)).and_then(|now| Ok((now, self.directory.stat()?)));
        match looked.map_err(FsError::io("look at", &self.path))? {
            (now, own) if (now.st_dev, now.st_ino) == (own.st_dev, own.st_ino) => Ok(()),
            _ => Err(FsError::Exchanged { path: self.path.clone() }),
        }
    }

    /// Removes nothing across a mount point. What cannot be removed, such as another user's files, stays: the
    /// next run tries again.
    fn remove(&self) {
        let name = name_in(&self.path);
        // If this process dies meanwhile, nobody else has a lock on the rest.
        let _ = self.parent.sub(name).and_then(|found| found.set_mode(HIDDEN));
        let _ = remove_tree(&self.parent, name, &self.path, &Patience::of(REMOVAL));
    }

    /// rename(2) replaces an empty directory, and nothing else.
    fn rename(&self) -> Result<(), FsError> {
        let (from, to) = (name_in(&self.path), name_in(&self.destination));
        match rustix::fs::renameat(&self.parent, from, &self.parent, to) {
            Ok(()) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(FsError::Occupied { path: self.destination.clone() }),
            Err(Errno::NOTDIR) => {
                Err(FsError::NotDirectory { path: self.destination.clone(), what: "a file or a link" })
            }
            Err(errno) => Err(FsError::errno("rename a directory to", &self.destination)(errno)),
        }
    }

    fn exchange(&mut self) -> Result<(), FsError> {
        let (from, to) = (name_in(&self.path), name_in(&self.destination));
        match rustix::fs::renameat_with(&self.parent, from, &self.parent, to, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            // The last where a seccomp filter does not know the call.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => self.exchange_in_two_steps(),
            // overlayfs does not rename directories of a lower layer, of a container image say.
            Err(Errno::XDEV) => self.replace_by_removal(),
            Err(errno) => Err(FsError::errno("exchange the directory", &self.destination)(errno)),
        }
    }

    /// For file systems that cannot exchange two directories. Between the two steps the destination does not
    /// exist; [`left::recover`] repairs a run that was killed there.
    fn exchange_in_two_steps(&mut self) -> Result<(), FsError> {
        let name = name_in(&self.destination);
        let old = name_of(name, OLD);
        let failed = FsError::io("rename", &self.destination);
        self.parent.rename(name, &self.parent, &old).map_err(failed)?;
        if let Err(error) = self.rename() {
            let _ = self.parent.rename(&old, &self.parent, name);
            return Err(error);
        }
        self.path = self.destination.with_file_name(old);
        Ok(())
    }

    /// For directories that cannot be renamed. After the first rename the new directory must get into place:
    /// [`left::finish`] completes a killed run, so everything that could prevent that is checked before.
    fn replace_by_removal(&mut self) -> Result<(), FsError> {
        check_removable(&self.destination)?;
        let (name, failed) = (name_in(&self.destination), FsError::io("rename", &self.path));
        let next = name_of(name, NEXT);
        // While it waits it must belong to this user, or it would not count.
        let own = self.directory.give(Some(rustix::process::geteuid().as_raw()), None);
        own.and_then(|()| self.parent.rename(name_in(&self.path), &self.parent, &next)).map_err(failed)?;
        self.committed = true;
        _ = rustix::fs::fsync(&self.parent);
        remove_tree(&self.parent, name, &self.destination, &Patience::of(REMOVAL))?;
        self.give_away()?;
        let failed = FsError::io("rename to", &self.destination);
        self.parent.rename(&next, &self.parent, name).map_err(failed)
    }
}

/// The mode that a new directory gets with this umask or an inherited access control list.
fn mode_of_new(above: &Directory) -> Result<u32, Errno> {
    const NAME: &str = "mode";
    rustix::fs::mkdirat(above, NAME, Mode::from_raw_mode(0o777))?;
    let stat = rustix::fs::statat(above, NAME, AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::unlinkat(above, NAME, AtFlags::REMOVEDIR)?;
    Ok(stat.st_mode & 0o2777)
}

/// Opens the directory that this user has just made, and no other.
fn open_made(parent: &Directory, name: &OsStr) -> io::Result<Directory> {
    let made = parent.sub(name)?;
    match made.stat()?.st_uid == rustix::process::geteuid().as_raw() {
        true => Ok(made),
        false => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it was replaced at the same time")),
    }
}

/// Whether this user may remove the entries of every directory of a tree.
fn check_removable(directory: &Path) -> Result<(), FsError> {
    use rustix::fs::{Access, accessat};
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
            self.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::PermissionsExt;

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
    fn new_accepts_only_an_empty_directory() {
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

    /// A symbolic link replaces the staged directory meanwhile.
    #[test]
    fn an_exchanged_staged_directory_is_not_published() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("site");
        let staged = Staged::begin(&destination).unwrap();
        let (elsewhere, target) = (place.path().join("elsewhere"), tempfile::tempdir().unwrap());
        fs::rename(staged.path(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(target.path(), staged.path()).unwrap();
        drop(staged.directory().create(OsStr::new("file"), 0o600).unwrap());
        let error = staged.commit(Commit::New).unwrap_err();
        assert!(matches!(error, FsError::Exchanged { .. }), "{error}");
        assert_eq!(names(place.path()), ["elsewhere"]);
        assert_eq!((names(&elsewhere), names(target.path())), (vec!["file".to_owned()], vec![]));
    }

    #[test]
    fn only_its_maker_opens_it_until_it_is_in_place() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("site");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let staged = Staged::begin(&destination).unwrap();
        assert_eq!(mode(staged.path()), 0o700);
        staged.commit(Commit::New).unwrap();
        fs::create_dir(place.path().join("plain")).unwrap();
        assert_eq!(mode(&destination), mode(&place.path().join("plain")));
        let mut staged = Staged::begin(&destination).unwrap();
        staged.give(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw(), 0o711);
        assert_eq!(mode(staged.path()), 0o700);
        staged.commit(Commit::Replace).unwrap();
        assert_eq!(mode(&destination), 0o711);
    }
}
