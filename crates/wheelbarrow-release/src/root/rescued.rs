//! `ROOT/shared/rescued/ID`: copies of files that a site has written into a release.
//!
//! The site's user may replace files in the release during the copy. So every file is opened below the open
//! release, without following a link, and only regular files are copied. Only root or the deploying user can
//! enter the directory of the copies; owners and modes are those of the originals, so that moved files serve
//! the site as before.
//!
//! A copy is complete or absent: it is made under another name, synced and renamed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, Mode, SeekFrom, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::process::getuid;
use serde::Serialize;
use wheelbarrow_artifact::release::RESCUED_IN_SHARED;
use wheelbarrow_base::beneath::{self, Directory, Patience, remove_tree};

use crate::root::locked_root::LockedRoot;
use crate::root::{current, trash};
use crate::{ReleaseError, ReleaseId, Root};

/// Nobody else enters the directory with the copies.
const PRIVATE: u32 = 0o700;

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CopiedData {
    pub files: usize,
    pub bytes: u64,
    /// Links: they hold nothing, and are not followed.
    pub links: Vec<String>,
    /// What could not be copied, with the reason.
    pub failed: Vec<NotCopied>,
}

/// A file, or a directory, that could not be copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotCopied {
    pub path: String,
    pub reason: String,
}

/// Where the copies of a release are.
pub(crate) fn path(root: &Root, id: &ReleaseId) -> PathBuf {
    above(root).join(id.to_string())
}

fn above(root: &Root) -> PathBuf {
    root.shared().join(RESCUED_IN_SHARED)
}

/// Copies these files of a release, paths below it. One that ends in a slash could not be listed.
pub(crate) fn copy(
    locked: &LockedRoot<'_>,
    id: &ReleaseId,
    files: &[PathBuf],
) -> Result<CopiedData, ReleaseError> {
    let (root, path) = (locked.root, path(locked.root, id));
    let rescued = open_or_make(root)?;
    let name = id.to_string();
    if rescued.stat_at(&name).is_ok() {
        return Err(ReleaseError::RescuedAlready { path });
    }
    let new = unfinished(&name);
    remove(root, &rescued, &new, trash::REMOVAL)?;
    let copied = (|| {
        let (to, _) =
            rescued.make(OsStr::new(&new), PRIVATE).map_err(ReleaseError::io("make the directory", &path))?;
        let from = open_release(root, id)?;
        let copied = copy_all(locked, &from, &to, files, &path)?;
        rustix::fs::syncfs(&to).map_err(ReleaseError::errno("sync", &path))?;
        rescued
            .rename_new(OsStr::new(&new), &rescued, OsStr::new(&name))
            .map_err(ReleaseError::io("rename to", &path))?;
        current::sync(&above(root))?;
        Ok(copied)
    })();
    if copied.is_err() {
        let _ = remove(root, &rescued, &new, trash::AT_FIRST);
    }
    copied
}

/// Removes what a killed run has left.
pub(crate) fn forget_unfinished(locked: &LockedRoot<'_>) {
    // Most roots have no such directory, and what is not root's is left alone.
    let Ok(rescued) = Directory::open(&above(locked.root)) else { return };
    if exposure(&rescued, &above(locked.root)).is_err() {
        return;
    }
    for (name, _) in rescued.entries().unwrap_or_default() {
        let name = name.to_string_lossy();
        let id = name.strip_prefix('.').and_then(|name| name.strip_suffix(".new"));
        if id.is_some_and(|id| id.parse::<ReleaseId>().is_ok())
            && let Err(error) = remove(locked.root, &rescued, &name, trash::AT_FIRST)
        {
            trash::note(locked, &error);
        }
    }
}

/// A release, without what the site's user may have mounted in it.
pub(crate) fn open_release(root: &Root, id: &ReleaseId) -> Result<Directory, ReleaseError> {
    let path = root.release(id);
    Ok(Directory::open(&path).map_err(ReleaseError::io("open", &path))?.on_one_mount())
}

fn unfinished(name: &str) -> String {
    format!(".{name}.new")
}

fn remove(root: &Root, rescued: &Directory, name: &str, limit: Duration) -> Result<(), ReleaseError> {
    Ok(remove_tree(rescued, OsStr::new(name), &above(root).join(name), &Patience::of(limit))?)
}

/// Opens `shared/rescued`, in which and above which nobody else may write.
fn open_or_make(root: &Root) -> Result<Directory, ReleaseError> {
    let (shared, path) = (root.shared(), above(root));
    let open = Directory::open_following(&shared).map_err(ReleaseError::io("open", &shared))?;
    exposure(&open, &shared)?;
    let made = open.make(OsStr::new(RESCUED_IN_SHARED), PRIVATE);
    let (rescued, _) = made.map_err(ReleaseError::io("make the directory", &path))?;
    exposure(&rescued, &path)?;
    Ok(rescued)
}

fn exposure(directory: &Directory, path: &Path) -> Result<(), ReleaseError> {
    let exposed = beneath::exposure(directory.as_fd(), path).map_err(ReleaseError::io("look at", path))?;
    match exposed {
        Some(exposed) => {
            Err(ReleaseError::Untrusted { path: path.to_path_buf(), reason: exposed.to_string() })
        }
        None => Ok(()),
    }
}

fn copy_all(
    locked: &LockedRoot<'_>,
    from: &Directory,
    to: &Directory,
    files: &[PathBuf],
    shown: &Path,
) -> Result<CopiedData, ReleaseError> {
    let mut copied = CopiedData::default();
    let mut names = BTreeMap::new();
    for path in files {
        if locked.operator.progress.is_cancelled() {
            return Err(ReleaseError::Cancelled);
        }
        let name = path.to_string_lossy().into_owned();
        match copy_file(from, to, path, &mut names) {
            Ok(Some(bytes)) => {
                copied.files += 1;
                copied.bytes += bytes;
            }
            Ok(None) => copied.links.push(name),
            Err(error) => {
                let error = ReleaseError::io("copy to", &shown.join(path))(error);
                if error.is_full() {
                    return Err(error);
                }
                let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                copied.failed.push(NotCopied { path: name, reason });
            }
        }
    }
    Ok(copied)
}

pub(crate) fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

/// How many bytes the file has; none of a link, which is not copied. A file with several names is copied once: `names` has the
/// device and inode of such a file, and the path of its copy, if that is text.
fn copy_file(
    from: &Directory,
    to: &Directory,
    path: &Path,
    names: &mut BTreeMap<String, String>,
) -> io::Result<Option<u64>> {
    let (Some(name), false) = (path.file_name(), path.as_os_str().as_encoded_bytes().ends_with(b"/")) else {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the directory cannot be listed, its path is too long, or there are too many files",
        ));
    };
    // Whatever comes to stand at its path meanwhile, this is the directory that has the file.
    let above = from.sub(path.parent().unwrap_or(Path::new("")))?;
    if is_link(&above.stat_at(name)?) {
        return Ok(None);
    }
    let source = above.file(name)?;
    let (stat, above) = (rustix::fs::fstat(&source)?, above.stat()?);
    let (mut from, all, mut to) = (from.sub("")?, to, to.sub("")?);
    if stat.st_nlink > 1 && is_anothers(&stat, &above) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it has a second name, and belongs to another user than its directory: who owns that may not read it",
        ));
    }
    for part in path.parent().into_iter().flat_map(Path::components) {
        let part = part.as_os_str();
        from = from.sub(part)?;
        let (made, is_new) = to.make(part, PRIVATE)?;
        if is_new {
            let stat = from.stat()?;
            give(made.as_fd(), &stat)?;
            // Who copies must be able to go on in it.
            made.set_mode(stat.st_mode & 0o777 | PRIVATE)?;
        }
        to = made;
    }
    let inode = format!("{}:{}", stat.st_dev, stat.st_ino);
    if let Some(first) = names.get(&inode).and_then(|first| all.file(first).ok()) {
        to.link(&first, name)?;
        return Ok(Some(0));
    }
    let target = to.create(name, 0o600)?;
    copy_data(&source, &target, stat.st_size.unsigned_abs())?;
    give(target.as_fd(), &stat)?;
    // No program runs as somebody else because of where it was copied to.
    rustix::fs::fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    let written = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    rustix::fs::futimens(&target, &Timestamps { last_access: written, last_modification: written })?;
    // Only exact paths are remembered. A path that is not UTF-8 would become the path of another file here.
    if stat.st_nlink > 1
        && let Some(path) = path.to_str()
    {
        names.insert(inode, path.to_owned());
    }
    Ok(Some(stat.st_size.unsigned_abs()))
}

/// Whether a file may have been given a name in a directory by its owner, who cannot write the file (`fs.protected_hardlinks`).
fn is_anothers(file: &Stat, directory: &Stat) -> bool {
    ![0, getuid().as_raw(), file.st_uid].contains(&directory.st_uid)
}

/// The owner and the group of the original; only root may give files away.
fn give(open: std::os::fd::BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    match getuid().is_root() {
        true => beneath::give(open, Some(stat.st_uid), Some(stat.st_gid)),
        false => Ok(()),
    }
}

/// Copies the first `size` bytes, without holes: a file may be larger than the disk and hold nothing.
fn copy_data(source: &File, target: &File, size: u64) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            // A file system that knows of no holes.
            Err(Errno::INVAL) => at,
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(source, SeekFrom::Hole(data)).unwrap_or(size).min(size);
        rustix::fs::seek(source, SeekFrom::Start(data))?;
        rustix::fs::seek(target, SeekFrom::Start(data))?;
        let mut target = target;
        if data >= size || io::copy(&mut source.take(end.saturating_sub(data)), &mut target)? == 0 {
            break;
        }
        at = end;
    }
    target.set_len(size)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use fs_err as fs;

    use super::*;

    fn place() -> (tempfile::TempDir, Directory, Directory) {
        let place = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            fs::create_dir(place.path().join(name)).unwrap();
            Directory::open(&place.path().join(name)).unwrap()
        };
        let (from, to) = (open("from"), open("to"));
        (place, from, to)
    }

    fn copy_one(from: &Directory, to: &Directory, path: &str) -> io::Result<Option<u64>> {
        copy_file(from, to, Path::new(path), &mut BTreeMap::new())
    }

    #[test]
    fn a_file_with_several_names_is_copied_once() {
        let (place, from, to) = place();
        fs::create_dir(place.path().join("from/a")).unwrap();
        fs::write(place.path().join("from/a/one"), "data").unwrap();
        fs::hard_link(place.path().join("from/a/one"), place.path().join("from/two")).unwrap();
        let mut names = BTreeMap::new();
        for (path, bytes) in [("a/one", 4), ("two", 0)] {
            assert_eq!(copy_file(&from, &to, Path::new(path), &mut names).unwrap(), Some(bytes));
        }
        let inode = |path: &str| fs::metadata(place.path().join("to").join(path)).unwrap().ino();
        assert_eq!(inode("a/one"), inode("two"));

        // As text, the first name would be that of another file.
        let [not_text, text] = [&b"b\xff"[..], "b\u{fffd}".as_bytes()].map(OsStr::from_bytes);
        for (name, data) in [(not_text, "own"), (text, "of another")] {
            fs::write(place.path().join("from").join(name), data).unwrap();
        }
        fs::hard_link(place.path().join("from").join(not_text), place.path().join("from/z")).unwrap();
        for path in [not_text, text, OsStr::new("z")] {
            copy_file(&from, &to, Path::new(path), &mut names).unwrap();
        }
        assert_eq!(fs::read(place.path().join("to/z")).unwrap(), b"own");
    }

    #[test]
    fn a_file_system_that_is_mounted_during_the_copy_is_not_entered() {
        let (place, _, to) = place();
        let (root, id) = (Root::at(place.path()), "1-1a2b3c4d".parse().unwrap());
        let data = root.release(&id).join("data");
        fs::create_dir_all(&data).unwrap();
        let Some(_mount) = wheelbarrow_testing::mounts::SilentMount::at(&data) else { return };
        let from = open_release(&root, &id).unwrap();
        let kinds = wheelbarrow_testing::mounts::in_time(move || {
            let copied = copy_one(&from, &to, "data/file").unwrap_err().kind();
            (copied, from.stat_at("data").unwrap_err().kind())
        });
        assert_eq!(kinds, (io::ErrorKind::ResourceBusy, io::ErrorKind::ResourceBusy));
    }

    #[test]
    fn a_copy_has_the_bytes_the_mode_and_the_holes() {
        let (place, from, to) = place();
        let (original, copy) = (place.path().join("from/a/b"), place.path().join("to/a/b"));
        fs::create_dir(place.path().join("from/a")).unwrap();
        let mut file = fs_err::File::create(&original).unwrap();
        file.write_all(b"begin").unwrap();
        file.seek(io::SeekFrom::Start(1 << 30)).unwrap();
        file.write_all(b"end").unwrap();
        file.set_len(1 << 40).unwrap();
        fs::set_permissions(&original, PermissionsExt::from_mode(0o4640)).unwrap();
        assert_eq!(copy_one(&from, &to, "a/b").unwrap(), Some(1 << 40));
        let copied = fs::metadata(&copy).unwrap();
        assert_eq!((copied.mode() & 0o7777, copied.len()), (0o640, 1 << 40));
        assert!(copied.blocks() < 1 << 12, "{} blocks", copied.blocks());
        assert_eq!(copied.mtime(), fs::metadata(&original).unwrap().mtime());
        let mut read = fs_err::File::open(&copy).unwrap();
        let mut part = [0; 6];
        read.read_exact(&mut part).unwrap();
        assert_eq!(&part, b"begin\0");
        read.seek(io::SeekFrom::Start(1 << 30)).unwrap();
        read.read_exact(&mut part).unwrap();
        assert_eq!(&part, b"end\0\0\0");
    }

    /// A user may name files of others in directories of their own, where the kernel does not see to it.
    #[test]
    fn a_file_of_another_user_with_a_second_name_is_not_copied() {
        if !getuid().is_root() {
            println!("skipped: only root has files of several users");
            return;
        }
        let (place, from, to) = place();
        let (directory, secret) = (place.path().join("from/a"), place.path().join("secret"));
        fs::create_dir(&directory).unwrap();
        fs::write(&secret, "root's").unwrap();
        fs::hard_link(&secret, directory.join("b")).unwrap();
        assert!(copy_one(&from, &to, "a/b").is_ok(), "linked by root");
        fs::remove_dir_all(place.path().join("to/a")).unwrap();
        std::os::unix::fs::chown(&directory, Some(65_534), Some(65_534)).unwrap();
        assert!(copy_one(&from, &to, "a/b").is_err());
        assert_eq!(fs::read_dir(place.path().join("to")).unwrap().count(), 0);
        std::os::unix::fs::chown(directory.join("b"), Some(65_534), None).unwrap();
        assert!(copy_one(&from, &to, "a/b").is_ok(), "a file of the site's user");
    }

    #[test]
    fn nothing_is_copied_through_a_link_or_out_of_a_pipe() {
        let (place, from, to) = place();
        let secret = place.path().join("secret");
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("key"), "secret").unwrap();
        let link = |target: &Path, name: &str| {
            fs_err::os::unix::fs::symlink(target, place.path().join("from").join(name)).unwrap();
        };
        link(&secret, "directory");
        link(&secret.join("key"), "file");
        let pipe = place.path().join("from/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(copy_one(&from, &to, "directory/key").is_err());
        assert!(copy_one(&from, &to, "pipe").is_err());
        assert!(copy_one(&from, &to, "closed/").is_err());
        assert_eq!(copy_one(&from, &to, "file").unwrap(), None);
        assert_eq!(fs::read_dir(place.path().join("to")).unwrap().count(), 0);
    }
}
