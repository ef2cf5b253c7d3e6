//! Work below a trusted directory, in directories where another user may write, such as those that a release
//! gives to the site's user.
//!
//! The target of a path through such a directory can change at any moment. So every operation begins at an
//! open directory, follows no symbolic link, and continues with the files that it has opened:
//!
//! * openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS; before Linux 5.6 each part is opened in turn;
//! * no file system that another user has mounted is entered: a user who mounts one by FUSE can let a request wait
//!   without end, and the process with it; a directory [on one mount](Directory::on_one_mount) enters none at all;
//! * only regular files are read; the kind is checked after opening, without waiting for a pipe;
//! * files are created with O_EXCL; owners and modes are changed through descriptors.
//!
//! `trusted` finds the directory where such a path begins, `remove` removes trees without crossing a mount point.

mod crossing;
mod remove;
#[cfg(test)]
mod tests;
mod trusted;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;

use crossing::{Crossing, is_of_another, mount_of};
pub use remove::{Patience, remove_tree};
pub use trusted::{
    Exposure, Place, exposure, exposure_of, found, is_missing, make_directories, place, real, socket,
};

use crate::regular::{LARGEST_TEXT, read_limited};
use crate::unique::unique;

/// An open directory. Paths in its functions are relative, no part is followed if it is a link, and a file system that
/// another user has mounted there is an error of the kind `InvalidData`: it is asked nothing.
#[derive(Debug)]
pub struct Directory {
    descriptor: OwnedFd,
    crossing: Crossing,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl From<OwnedFd> for Directory {
    fn from(descriptor: OwnedFd) -> Self {
        Self { descriptor, crossing: Crossing::Trusted }
    }
}

impl Directory {
    /// Opens a directory by a path of which another user may control only the last part. That must not be a link, nor what
    /// another user has mounted.
    pub fn open(path: &Path) -> io::Result<Self> {
        match (path.parent(), path.file_name()) {
            (Some(above), Some(name)) => {
                let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
                Self::at(above, OFlags::PATH)?.sub(name)
            }
            _ => Self::open_following(path),
        }
    }

    /// Opens a directory by a path that is trusted from end to end: links are followed.
    pub fn open_following(path: &Path) -> io::Result<Self> {
        Self::at(path, OFlags::RDONLY)
    }

    fn at(path: &Path, flags: OFlags) -> io::Result<Self> {
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?.into())
    }

    /// The same directory, in which a mount point is an error of the kind `ResourceBusy`; so is one below the
    /// directories that it opens.
    #[must_use]
    pub fn on_one_mount(self) -> Self {
        Self { crossing: Crossing::None, ..self }
    }

    /// Opens a directory below this one; an empty path is this one.
    pub fn sub(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() {
            return Ok(Self { descriptor: self.descriptor.try_clone()?, ..*self });
        }
        let descriptor = self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Self { descriptor, ..*self })
    }

    /// Makes the directory `name`, or opens an existing one; returns whether it was made. `mode` is less the
    /// umask.
    pub fn make(&self, name: &OsStr, mode: u32) -> io::Result<(Self, bool)> {
        let made = match rustix::fs::mkdirat(self, name, Mode::from_raw_mode(mode)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno.into()),
        };
        Ok((self.sub(name)?, made))
    }

    /// Makes a directory and the missing directories above it; opens existing ones.
    pub fn make_all(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let mut reached = self.sub("")?;
        for part in parts(path.as_ref())? {
            reached = reached.make(part, mode)?.0;
        }
        Ok(reached)
    }

    /// The `stat` of a path. Links are not followed.
    pub fn stat_at(&self, path: impl AsRef<Path>) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.open_beneath(path.as_ref(), OFlags::PATH)?)?)
    }

    /// As [`Self::stat_at`]; `None` if nothing has this name. Any other failure does not say that nothing is there.
    pub fn find(&self, path: impl AsRef<Path>) -> io::Result<Option<Stat>> {
        match self.stat_at(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            looked => looked.map(Some),
        }
    }

    /// The `stat` of the directory itself.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self)?)
    }

    /// Opens a regular file for reading. Anything else is an error, without waiting.
    pub fn file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        regular(self.open_beneath(path.as_ref(), flags)?)
    }

    /// The contents of a regular file; an error above [`LARGEST_TEXT`].
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        read_limited(self.file(path)?, LARGEST_TEXT)
    }

    /// The target of a link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<OsString> {
        let (above, name) = self.above(path.as_ref())?;
        let target = rustix::fs::readlinkat(above.as_ref().unwrap_or(self), name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// Creates a file that must not exist yet. `mode` is less the umask.
    pub fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self, name, flags, Mode::from_raw_mode(mode))?.into())
    }

    /// Opens a regular file for appending, or creates it.
    pub fn append(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY;
        loop {
            match open_beneath(self, Path::new(name), flags) {
                Ok(descriptor) => return regular(descriptor),
                Err(Errno::NOENT) => {}
                // A pipe that nobody reads.
                Err(Errno::NXIO) => return Err(not_regular()),
                Err(errno) => return Err(to_io_error(errno)),
            }
            match self.create(name, mode) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created,
            }
        }
    }

    /// Replaces `name` by a complete, synced file: it is written under a random name and renamed. `finish`
    /// gets the file before the rename, to change its owner and mode.
    pub fn replace(
        &self,
        name: &OsStr,
        contents: &[u8],
        mode: u32,
        finish: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let (beside, mut file) = self.create_beside(name, mode)?;
        let written = (|| {
            file.write_all(contents)?;
            finish(&file)?;
            file.sync_all()?;
            self.rename(&beside, self, name)
        })();
        written.inspect_err(|_| _ = self.unlink(&beside))
    }

    /// Creates a file under a random name that [`is_beside`] recognises as one for `name`.
    pub fn create_beside(&self, name: &OsStr, mode: u32) -> io::Result<(OsString, File)> {
        loop {
            // A name has at most 255 bytes.
            let mut beside = OsString::from(".");
            beside.push(OsStr::from_bytes(&name.as_bytes()[..name.len().min(220)]));
            beside.push(format!(".{:08x}", unique()));
            match self.create(&beside, mode) {
                Ok(file) => return Ok((beside, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub fn symlink(&self, target: impl AsRef<Path>, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target.as_ref(), self, name)?)
    }

    /// Links an open file as a further name in this directory, if the name does not exist. This user must be
    /// able to link the file by name.
    pub fn link(&self, file: &File, name: &OsStr) -> io::Result<()> {
        match rustix::fs::linkat(file, "", self, name, AtFlags::EMPTY_PATH) {
            Err(Errno::NOENT) => {}
            linked => return Ok(linked?),
        }
        // Without the right to search all directories (CAP_DAC_READ_SEARCH).
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(rustix::fs::linkat(CWD, open, self, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Renames `name` to `other_name` in `other`, replacing an existing file.
    pub fn rename(&self, name: &OsStr, other: &Self, other_name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(self, name, other, other_name)?)
    }

    /// Like [`Self::rename`], but an existing file is an error, if the file system can ensure that.
    pub fn rename_new(&self, name: &OsStr, other: &Self, other_name: &OsStr) -> io::Result<()> {
        match rustix::fs::renameat_with(self, name, other, other_name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.rename(name, other, other_name),
            renamed => Ok(renamed?),
        }
    }

    /// Removes anything but a directory. A missing file is not an error.
    pub fn unlink(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(self, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Names and kinds of the entries, in no order.
    pub fn entries(&self) -> io::Result<Vec<(OsString, FileType)>> {
        self.first_entries(usize::MAX).map(|(entries, _)| entries)
    }

    /// Like [`Self::entries`], at most `most` of them, and whether there are more. A user who may write in a
    /// directory decides how many entries it has.
    pub fn first_entries(&self, most: usize) -> io::Result<(Vec<(OsString, FileType)>, bool)> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(self)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if entries.len() >= most {
                return Ok((entries, true));
            }
            let kind = match entry.file_type() {
                // Some file systems leave it to the caller to look.
                FileType::Unknown => match rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(errno.into()),
                },
                kind => kind,
            };
            entries.push((OsStr::from_bytes(name.to_bytes()).to_owned(), kind));
        }
        Ok((entries, false))
    }

    /// Changes owner and group of the directory, if they differ.
    pub fn give(&self, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
        give(self.as_fd(), user, group)
    }

    /// Changes owner and group of a symbolic link in the directory, if they differ.
    pub fn give_link(&self, name: &OsStr, user: u32, group: u32) -> io::Result<()> {
        let now = self.stat_at(name)?;
        if (now.st_uid, now.st_gid) == (user, group) {
            return Ok(());
        }
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        Ok(rustix::fs::chownat(self, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(self, Mode::from_raw_mode(mode))?)
    }

    /// Opens what is at a path, which consists of names alone.
    fn open_beneath(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        parts(path)?;
        open_beneath(self, path, flags).map_err(to_io_error)
    }

    /// The directory that contains the last part of `path` (`None` if it is this one), and that part.
    fn above<'p>(&self, path: &'p Path) -> io::Result<(Option<Self>, &'p OsStr)> {
        let mut parts = parts(path)?;
        let name = parts.pop().ok_or(Errno::INVAL)?;
        let above = (!parts.is_empty()).then(|| self.sub(parts.iter().collect::<PathBuf>()));
        Ok((above.transpose()?, name))
    }
}

/// Changes owner and group of an open file or directory, if they differ.
pub fn give(open: BorrowedFd<'_>, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    let now = rustix::fs::fstat(open)?;
    let user = user.filter(|user| *user != now.st_uid).map(Uid::from_raw);
    let group = group.filter(|group| *group != now.st_gid).map(Gid::from_raw);
    if user.is_some() || group.is_some() {
        rustix::fs::fchown(open, user, group)?;
    }
    Ok(())
}

/// Whether [`Directory::create_beside`] has named a file for `name`: a leftover of a killed run.
pub fn is_beside(file: &[u8], name: &[u8]) -> bool {
    let rest = file.strip_prefix(b".").and_then(|rest| rest.strip_prefix(&name[..name.len().min(220)]));
    let random = rest.and_then(|rest| rest.strip_prefix(b"."));
    random.is_some_and(|random| random.len() == 8 && random.iter().all(u8::is_ascii_hexdigit))
}

/// Refuses a path with parts other than names.
fn parts(path: &Path) -> io::Result<Vec<&OsStr>> {
    path.components()
        .map(|part| match part {
            Component::Normal(name) => Ok(name),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "a path that leads out of its directory")),
        })
        .collect()
}

/// The opened file, if it is a regular file.
fn regular(descriptor: OwnedFd) -> io::Result<File> {
    let stat = rustix::fs::fstat(&descriptor)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(descriptor.into()),
        FileType::Directory => Err(Errno::ISDIR.into()),
        _ => Err(not_regular()),
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a regular file")
}

/// What no open(2) has: an object is remote.
const MOUNT_OF_ANOTHER: Errno = Errno::REMOTE;

/// Replaces the system's texts of some errors by clearer ones.
fn to_io_error(errno: Errno) -> io::Error {
    match errno {
        Errno::LOOP => io::Error::new(
            io::ErrorKind::InvalidData,
            "a symbolic link, or a path through one: not followed where another user may write",
        ),
        MOUNT_OF_ANOTHER => io::Error::new(
            io::ErrorKind::InvalidData,
            "a file system that another user has mounted: not entered, since its server answers as it likes, or not at all",
        ),
        Errno::XDEV => io::Error::new(io::ErrorKind::ResourceBusy, "a file system is mounted here"),
        errno => errno.into(),
    }
}

/// Opens a path of several parts, one after the other.
fn open_beneath(directory: &Directory, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    static IS_MISSING: AtomicBool = AtomicBool::new(false);
    if !IS_MISSING.load(Ordering::Relaxed) {
        match open_at_once(directory, path, flags) {
            // The second if a seccomp filter does not know the call; what else it may mean, the steps find too.
            Err(Errno::NOSYS) => IS_MISSING.store(true, Ordering::Relaxed),
            Err(Errno::PERM) => {}
            // Whose mount it is, the steps find.
            Err(Errno::XDEV) if directory.crossing == Crossing::Trusted => {}
            opened => return opened,
        }
    }
    open_by_steps(directory, path, flags)
}

fn open_at_once(directory: &Directory, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve)
}

fn open_by_steps(directory: &Directory, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let parts = parts(path).map_err(|_| Errno::INVAL)?;
    let (last, above) = parts.split_last().ok_or(Errno::NOENT)?;
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mount = mount_of(directory.as_fd());
    let open = |from: BorrowedFd<'_>, part: &OsStr, flags| {
        let opened = rustix::fs::openat(from, part, flags, Mode::empty())?;
        match mount_of(opened.as_fd()) {
            same if same == mount => Ok(opened),
            _ if directory.crossing == Crossing::None => Err(Errno::XDEV),
            Some(other) if is_of_another(&other) => Err(MOUNT_OF_ANOTHER),
            _ => Ok(opened),
        }
    };
    let mut reached: Option<OwnedFd> = None;
    for part in above {
        let from = reached.as_ref().map_or(directory.as_fd(), AsFd::as_fd);
        reached = Some(open(from, part, step)?);
    }
    let from = reached.as_ref().map_or(directory.as_fd(), AsFd::as_fd);
    // Nothing is asked of a file system by this.
    open(from, last, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC)?;
    open(from, last, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC)
}
