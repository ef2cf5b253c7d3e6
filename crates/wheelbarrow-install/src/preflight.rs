//! Checks before anything is written.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{Access, FileType, Stat, StatVfsMountFlags};
use wheelbarrow_base::beneath::{self, Directory};
use wheelbarrow_base::{LARGEST_ENVIRONMENT, read_limited};

use crate::layout::{ENVIRONMENT, RECEIPT_PATH, RELEASE_PATH};
use crate::plan::Plan;
use crate::verify::{KnownFiles, data};
use crate::{Existing, InstallError};

/// What is at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundDestination {
    Nothing,
    EmptyDirectory,
    /// To be exchanged: it holds an install, or only environment.json.
    Directory,
}

/// Refuses a destination that may not be written.
pub(crate) fn inspect(
    destination: &Path,
    artifact: &Path,
    existing: Existing,
) -> Result<FoundDestination, InstallError> {
    refuse_mount(destination)?;
    let parent = parent(destination);
    if !parent.is_dir() {
        return Err(no_directory(parent));
    }
    let found = inspect_directory(destination, artifact, existing)?;
    may_write(parent, destination)?;
    Ok(found)
}

/// All that [`inspect`] would refuse.
pub(crate) fn destination_errors(
    destination: &Path,
    artifact: &Path,
    existing: Existing,
) -> Vec<InstallError> {
    if let Err(error) = refuse_mount(destination) {
        return vec![error];
    }
    let mut errors = Vec::new();
    let parent = parent(destination);
    let standing = standing(parent);
    if standing == parent {
        errors.extend(inspect_directory(destination, artifact, existing).err());
    } else {
        errors.push(no_directory(parent));
    }
    errors.extend(may_write(standing, destination).err());
    errors
}

/// Refuses what nobody may ask for: a way through a file system that another user has mounted, or through a link of theirs.
pub fn refuse_mount(destination: &Path) -> Result<(), InstallError> {
    match beneath::found(destination) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(InstallError::io("look at", destination)(error))
        }
        _ => Ok(()),
    }
}

/// Whether the file system lets no program run.
pub(crate) fn is_noexec(destination: &Path) -> bool {
    let disk = rustix::fs::statvfs(standing_above(destination));
    disk.is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// The nearest directory that is there, above the destination.
pub(crate) fn standing_above(destination: &Path) -> &Path {
    standing(parent(destination))
}

fn parent(destination: &Path) -> &Path {
    destination.parent().unwrap_or(Path::new("/"))
}

fn no_directory(parent: &Path) -> InstallError {
    let path = parent.to_path_buf();
    let is_file = fs::symlink_metadata(parent)
        .map_or_else(|error| error.kind() == io::ErrorKind::NotADirectory, |metadata| metadata.is_file());
    if is_file { InstallError::FileAsParent { path } } else { InstallError::MissingParent { path } }
}

/// The nearest directory that is there. No file system that another user has mounted is asked.
fn standing(directory: &Path) -> &Path {
    let is_directory = |path: &&Path| {
        beneath::found(path)
            .is_ok_and(|(_, stat)| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    };
    directory.ancestors().find(is_directory).unwrap_or(Path::new("/"))
}

fn may_write(parent: &Path, destination: &Path) -> Result<(), InstallError> {
    rustix::fs::access(parent, Access::WRITE_OK | Access::EXEC_OK).map_err(|_| InstallError::NoRight {
        parent: parent.to_path_buf(),
        destination: destination.to_path_buf(),
    })?;
    Ok(wheelbarrow_base::check_links(parent)?)
}

fn inspect_directory(
    destination: &Path,
    artifact: &Path,
    existing: Existing,
) -> Result<FoundDestination, InstallError> {
    let metadata = match fs::symlink_metadata(destination) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FoundDestination::Nothing),
        Err(error) => return Err(InstallError::io("look at", destination)(error)),
    };
    let path = || destination.to_path_buf();
    if metadata.is_symlink() {
        return Err(InstallError::NotDirectory { path: path(), what: "a symbolic link" });
    }
    if !metadata.is_dir() {
        return Err(InstallError::NotDirectory { path: path(), what: "a file, not a directory" });
    }
    refuse_unsettled(destination)?;
    // Whoever writes in there may have put a link anywhere.
    let open = Directory::open(destination).map_err(InstallError::io("open", destination))?;
    let receipt = destination.join(RECEIPT_PATH);
    let is_install = match open.stat_at(RECEIPT_PATH) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(InstallError::io("look at", &receipt)(error));
        }
        // A release of a site root is replaced by the next one.
        found => found.is_ok() && open.stat_at(RELEASE_PATH).is_err(),
    };
    let (entries, _) = open.first_entries(2).map_err(InstallError::io("list", destination))?;
    let empty = entries.is_empty();
    let only_environment = entries.iter().all(|(name, _)| name == ENVIRONMENT);
    let found = match (empty, existing) {
        (true, _) => FoundDestination::EmptyDirectory,
        (false, _) if only_environment => FoundDestination::Directory,
        (false, _) if let Some(inside) = inside(destination, artifact) => {
            return Err(InstallError::Around { path: path(), inside });
        }
        (false, Existing::Replace | Existing::ReplaceData) if is_install => FoundDestination::Directory,
        (false, Existing::Replace | Existing::ReplaceData) => {
            return Err(InstallError::Foreign { path: path() });
        }
        (false, Existing::Refuse) => return Err(InstallError::Occupied { path: path() }),
    };
    refuse_mounts(destination)?;
    let environment = destination.join(ENVIRONMENT);
    let is_large = |found: Stat| {
        FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
            && found.st_size.try_into().unwrap_or(0) > LARGEST_ENVIRONMENT
    };
    if open.stat_at(ENVIRONMENT).is_ok_and(is_large) {
        return Err(InstallError::LargeEnvironment { path: environment });
    }
    if is_install && existing == Existing::Replace {
        let data = data(destination, &KnownFiles::default())?;
        if !data.is_empty() {
            return Err(InstallError::HoldsData { path: path(), data });
        }
    }
    Ok(found)
}

/// What is below a directory that an exchange would take away from under it. A shell in the directory itself is told to
/// enter it again.
fn inside(destination: &Path, artifact: &Path) -> Option<&'static str> {
    let destination = fs::canonicalize(parent(destination)).ok()?.join(destination.file_name()?);
    let is_below = |path: io::Result<PathBuf>| {
        path.is_ok_and(|path| path != destination && path.starts_with(&destination))
    };
    if is_below(std::env::current_dir()) {
        return Some("the working directory");
    }
    is_below(fs::canonicalize(artifact)).then_some("the artifact")
}

/// The new install gets the owner of the directory that is there, and its environment.json.
fn refuse_unsettled(destination: &Path) -> Result<(), InstallError> {
    let failed = |errno: rustix::io::Errno| InstallError::io("look at", destination)(errno.into());
    let above = rustix::fs::stat(parent(destination)).map_err(failed)?;
    let found = rustix::fs::lstat(destination).map_err(failed)?;
    match wheelbarrow_base::is_settled(&above, &found) {
        true => Ok(()),
        false => Err(InstallError::Unsettled { path: destination.to_path_buf(), user: found.st_uid }),
    }
}

/// A mount point cannot be renamed, and what is mounted inside must not be removed with what is around it.
fn refuse_mounts(destination: &Path) -> Result<(), InstallError> {
    let Some(path) = wheelbarrow_base::mounts_in(destination).into_iter().next() else { return Ok(()) };
    let is_itself = fs::canonicalize(destination).is_ok_and(|real| real == path);
    Err(if is_itself { InstallError::MountPoint { path } } else { InstallError::MountInside { path } })
}

/// Compares what the plan writes with what the file system has left.
pub(crate) fn check_space(destination: &Path, plan: &Plan<'_>) -> Result<(), InstallError> {
    space_errors(destination, plan).into_iter().next().map_or(Ok(()), Err)
}

/// Both that may be too few: bytes and inodes.
pub(crate) fn space_errors(destination: &Path, plan: &Plan<'_>) -> Vec<InstallError> {
    let parent = standing(parent(destination));
    let disk = match rustix::fs::statvfs(parent) {
        Ok(disk) => disk,
        Err(errno) => return vec![InstallError::io("look at the file system of", parent)(errno.into())],
    };
    let path = || parent.to_path_buf();
    let mut errors = Vec::new();
    let (needed, available) =
        (plan.bytes_on_disk(disk.f_bsize.max(1)), disk.f_bavail.saturating_mul(disk.f_frsize));
    if needed > available {
        errors.push(InstallError::NoSpace { path: path(), needed, available });
    }
    // Some file systems (btrfs) make inodes as they go, and say that they have none.
    let (needed, available) = (plan.inodes(), disk.f_favail);
    if disk.f_files > 0 && needed > available {
        errors.push(InstallError::NoInodes { path: path(), needed, available });
    }
    errors
}

/// Copies environment.json of an existing destination, with its owner and mode. Whoever else writes in the destination
/// may exchange it at any time: it is looked at once it is open, and a link is kept as a link. What is known of the
/// destination, whose owner and mode the staged directory gets at the end.
pub(crate) fn keep_environment(
    found: &FoundDestination,
    destination: &Path,
    staged: &Directory,
) -> Result<Option<Stat>, InstallError> {
    if *found == FoundDestination::Nothing {
        return Ok(None);
    }
    let look = || InstallError::io("look at", destination);
    let directory = Directory::open(destination).map_err(look())?;
    let kept = Some(directory.stat().map_err(look())?);
    let (name, path) = (OsStr::new(ENVIRONMENT), destination.join(ENVIRONMENT));
    match directory.stat_at(name) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            let linked = directory.read_link(name).and_then(|target| staged.symlink(target, name));
            // A link of root's would be followed where one of its owner's is not.
            let given = linked.and_then(|()| staged.give_link(name, stat.st_uid, stat.st_gid));
            return given.map(|()| kept).map_err(InstallError::io("link", &path));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(kept),
        Err(error) => return Err(InstallError::io("look at", &path)(error)),
    }
    let copied = directory.file(name).and_then(|from| {
        let metadata = from.metadata()?;
        // Made for nobody else before it has its contents: they are secrets.
        let mut to = staged.create(name, 0o600)?;
        io::Write::write_all(&mut to, &read_limited(&from, LARGEST_ENVIRONMENT)?)?;
        beneath::give(to.as_fd(), Some(metadata.uid()), Some(metadata.gid()))?;
        to.set_permissions(std::fs::Permissions::from_mode(metadata.mode() & 0o7777))
    });
    copied.map(|()| kept).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => InstallError::LargeEnvironment { path },
        _ => InstallError::io("copy", &path)(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_read_once_it_is_open() {
        let place = tempfile::tempdir().unwrap();
        let (destination, staged) = (place.path().join("site"), place.path().join("staged"));
        fs::create_dir(&destination).unwrap();
        fs::create_dir(&staged).unwrap();
        fs::set_permissions(&destination, PermissionsExt::from_mode(0o711)).unwrap();
        let open = Directory::open(&staged).unwrap();
        let keep = || keep_environment(&FoundDestination::Directory, &destination, &open);
        let (from, to) = (destination.join(ENVIRONMENT), staged.join(ENVIRONMENT));
        rustix::fs::mknodat(rustix::fs::CWD, &from, FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(keep().is_err(), "a pipe is not waited for");
        fs::remove_file(&from).unwrap();
        fs_err::os::unix::fs::symlink("/nowhere", &from).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(&from, Some(65533), Some(65532)).unwrap();
        }
        let owner = |path: &Path| fs::symlink_metadata(path).map(|link| (link.uid(), link.gid())).unwrap();
        keep().unwrap();
        assert_eq!(fs::read_link(&to).unwrap(), Path::new("/nowhere"));
        assert_eq!(owner(&to), owner(&from), "a link of another user's does not become root's");
        fs::remove_file(&to).unwrap();
        fs::remove_file(&from).unwrap();
        fs::write(&from, "").unwrap();
        fs::OpenOptions::new().write(true).open(&from).unwrap().set_len(1 << 40).unwrap();
        let refused = keep().unwrap_err();
        assert!(matches!(refused, InstallError::LargeEnvironment { .. }), "{refused}");
        assert!(fs::metadata(&to).unwrap().len() <= LARGEST_ENVIRONMENT);
        fs::remove_file(&to).unwrap();
        fs::write(&from, "{}").unwrap();
        fs::set_permissions(&from, PermissionsExt::from_mode(0o604)).unwrap();
        let before = fs::metadata(&staged).unwrap().mode();
        let kept = keep().unwrap();
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, 0o604);
        assert_eq!(fs::metadata(&staged).unwrap().mode(), before);
        assert_eq!(kept.unwrap().st_mode & 0o777, 0o711);
    }
}
