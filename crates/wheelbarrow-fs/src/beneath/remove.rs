//! Removes a tree by descriptors, without crossing a mount point and however deep it is.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Directory, open_at_once};
use crate::FsError;
use crate::staged::unique;

/// How many directories are open at once. What lies deeper is moved up first.
const DEPTH: usize = 64;

/// A directory that is being emptied.
struct Open {
    directory: Directory,
    name: OsString,
    /// Directories in it that are still to be removed.
    left: Vec<OsString>,
}

/// Removes `name` of `directory`, whatever it is; nothing there is no error. What cannot be removed does not keep the
/// rest: the error is the first of all. `path` is what errors call the tree.
pub fn remove_tree(directory: &Directory, name: &OsStr, path: &Path) -> Result<(), FsError> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(FsError::errno("remove", path)(errno)),
    }
    let mut removal = Removal { path, first: None };
    let mut open = Vec::new();
    removal.enter(directory, name, &mut open);
    while let Some(last) = open.last_mut() {
        match last.left.pop() {
            Some(name) if open.len() < DEPTH => {
                let above = open.len() - 1;
                removal.descend(&name, above, &mut open);
            }
            Some(name) => removal.move_up(&name, &mut open),
            None => {
                let Some(done) = open.pop() else { break };
                let above = open.last().map_or(directory, |above| &above.directory);
                if let Err(errno) = rustix::fs::unlinkat(above, &done.name, AtFlags::REMOVEDIR) {
                    let path = removal.path_of(&open, &done.name);
                    removal.note("remove", &path, errno.into());
                }
            }
        }
    }
    removal.first.map_or(Ok(()), Err)
}

struct Removal<'r> {
    path: &'r Path,
    first: Option<FsError>,
}

impl Removal<'_> {
    fn descend(&mut self, name: &OsStr, above: usize, open: &mut Vec<Open>) {
        match open[above].directory.sub("") {
            Ok(above) => self.enter(&above, name, open),
            Err(error) => self.note("open", &self.path_of(open, name), error),
        }
    }

    /// Opens a directory and removes what is no directory in it.
    fn enter(&mut self, above: &Directory, name: &OsStr, open: &mut Vec<Open>) {
        let path = self.path_of(open, name);
        let (directory, entries) = match open_here(above, name).and_then(|directory| {
            let entries = directory.entries()?;
            Ok((directory, entries))
        }) {
            Ok(opened) => opened,
            Err(error) => return self.note("remove", &path, error),
        };
        let mut left = Vec::new();
        for (name, kind) in entries {
            if kind == FileType::Directory {
                left.push(name);
            } else if let Err(error) = directory.unlink(&name) {
                self.note("remove", &path.join(&name), error);
            }
        }
        open.push(Open { directory, name: name.to_owned(), left });
    }

    /// Gives a directory that lies too deep a place at the top of the tree.
    fn move_up(&mut self, name: &OsStr, open: &mut [Open]) {
        let path = self.path_of(open, name);
        let Some((top, rest)) = open.split_first_mut() else { return };
        let Some(from) = rest.last() else { return };
        let other = OsString::from(format!(".{:08x}", unique()));
        match from.directory.rename_new(name, &top.directory, &other) {
            Ok(()) => top.left.push(other),
            Err(error) => self.note("remove", &path, error),
        }
    }

    fn path_of(&self, open: &[Open], name: &OsStr) -> PathBuf {
        let Some((_, below)) = open.split_first() else { return self.path.to_path_buf() };
        let above: PathBuf = below.iter().map(|open| open.name.as_os_str()).collect();
        self.path.join(above).join(name)
    }

    fn note(&mut self, action: &'static str, path: &Path, source: io::Error) {
        self.first.get_or_insert_with(|| FsError::Io { action, path: path.to_path_buf(), source });
    }
}

/// Opens a directory on the same mount, so that what is in it can be removed.
fn open_here(above: &Directory, name: &OsStr) -> io::Result<Directory> {
    let directory = open_on_mount(above, name)?;
    let stat = directory.stat()?;
    // Who owns a directory may empty it, whatever its mode was for.
    if stat.st_mode & 0o300 != 0o300 && stat.st_uid == rustix::process::geteuid().as_raw() {
        directory.set_mode(0o700)?;
    }
    Ok(directory)
}

fn open_on_mount(above: &Directory, name: &OsStr) -> io::Result<Directory> {
    static IS_MISSING: AtomicBool = AtomicBool::new(false);
    let mounted = || io::Error::new(io::ErrorKind::ResourceBusy, "a file system is mounted here");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    if !IS_MISSING.load(Ordering::Relaxed) {
        match open_at_once(above.as_fd(), Path::new(name), flags, ResolveFlags::NO_XDEV) {
            Ok(descriptor) => return Ok(descriptor.into()),
            Err(Errno::XDEV) => return Err(mounted()),
            Err(Errno::NOSYS) => IS_MISSING.store(true, Ordering::Relaxed),
            Err(Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = Directory::from(rustix::fs::openat(above, name, flags, Mode::empty())?);
    // A bind mount has the device of its source: the kernel's number of the mount says more, since Linux 3.15.
    if mount_of(above)? != mount_of(&directory)? {
        return Err(mounted());
    }
    Ok(directory)
}

/// The device, and the number of the mount if the kernel names it.
fn mount_of(directory: &Directory) -> io::Result<(u64, Option<String>)> {
    use std::os::fd::AsRawFd;
    let info = format!("/proc/self/fdinfo/{}", directory.as_fd().as_raw_fd());
    let info = fs_err::read_to_string(info).unwrap_or_default();
    let number = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(|id| id.trim().to_owned());
    #[allow(clippy::useless_conversion, reason = "not as wide on every architecture")]
    Ok((directory.stat()?.st_dev.into(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_mount_is_known() {
        let directory = Directory::open(Path::new("/proc")).unwrap();
        let other = Directory::open(Path::new("/")).unwrap();
        assert_ne!(mount_of(&directory).unwrap(), mount_of(&other).unwrap());
        assert!(mount_of(&directory).unwrap().1.is_some());
    }
}
