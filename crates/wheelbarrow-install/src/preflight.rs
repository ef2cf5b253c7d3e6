//! Looking before anything is written.

use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use fs_err as fs;
use rustix::fs::{Access, StatVfsMountFlags};

use crate::plan::Plan;
use crate::receipt::RECEIPT_PATH;
use crate::{Existing, InstallError};

/// The one file in a destination that is not of the artifact.
pub(crate) const ENVIRONMENT: &str = "environment.json";

/// What is at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    EmptyDirectory,
    /// To be exchanged: it holds an install, or only environment.json.
    Directory,
}

/// Refuses a destination that may not be written.
pub(crate) fn look_at(destination: &Path, existing: Existing) -> Result<Found, InstallError> {
    let parent = parent(destination);
    if !parent.is_dir() {
        return Err(no_directory(parent));
    }
    let found = look_inside(destination, existing)?;
    may_write(parent, destination)?;
    Ok(found)
}

/// All that [`look_at`] would refuse.
pub(crate) fn destination_errors(destination: &Path, existing: Existing) -> Vec<InstallError> {
    let mut errors = Vec::new();
    let parent = parent(destination);
    let standing = standing(parent);
    if standing == parent {
        errors.extend(look_inside(destination, existing).err());
    } else {
        errors.push(no_directory(parent));
    }
    errors.extend(may_write(standing, destination).err());
    errors
}

/// Whether the file system lets no program run.
pub(crate) fn is_noexec(destination: &Path) -> bool {
    let disk = rustix::fs::statvfs(standing(parent(destination)));
    disk.is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::NOEXEC))
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

/// The nearest directory that is there.
fn standing(directory: &Path) -> &Path {
    directory.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/"))
}

fn may_write(parent: &Path, destination: &Path) -> Result<(), InstallError> {
    rustix::fs::access(parent, Access::WRITE_OK | Access::EXEC_OK).map_err(|_| InstallError::NoRight {
        parent: parent.to_path_buf(),
        destination: destination.to_path_buf(),
    })?;
    Ok(wheelbarrow_fs::check_links(parent)?)
}

fn look_inside(destination: &Path, existing: Existing) -> Result<Found, InstallError> {
    let metadata = match fs::symlink_metadata(destination) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(InstallError::io("look at", destination)(error)),
    };
    let path = || destination.to_path_buf();
    if metadata.is_symlink() {
        return Err(InstallError::NotDirectory { path: path(), what: "a symbolic link" });
    }
    if !metadata.is_dir() {
        return Err(InstallError::NotDirectory { path: path(), what: "a file, not a directory" });
    }
    let mut empty = true;
    let mut only_environment = true;
    let is_install = fs::symlink_metadata(destination.join(RECEIPT_PATH)).is_ok();
    for entry in fs::read_dir(destination).map_err(InstallError::io("list", destination))? {
        let entry = entry.map_err(InstallError::io("list", destination))?;
        empty = false;
        only_environment &= entry.file_name() == ENVIRONMENT;
    }
    let found = match (empty, existing) {
        (true, _) => Found::EmptyDirectory,
        (false, _) if only_environment => Found::Directory,
        (false, Existing::Replace) if is_install => Found::Directory,
        (false, Existing::Replace) => return Err(InstallError::Foreign { path: path() }),
        (false, Existing::Refuse) => return Err(InstallError::Occupied { path: path() }),
    };
    refuse_mounts(destination).map(|()| found)
}

/// A mount point cannot be renamed, and what is mounted inside must not be removed with what is around it.
fn refuse_mounts(destination: &Path) -> Result<(), InstallError> {
    let Some(path) = wheelbarrow_fs::mounts_in(destination).into_iter().next() else { return Ok(()) };
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

/// Gives the staged directory what an existing destination has and keeps: its owner, its mode and its environment.json.
pub(crate) fn take_over(found: &Found, destination: &Path, staged: &Path) -> Result<(), InstallError> {
    if *found == Found::Nothing {
        return Ok(());
    }
    let metadata = fs::symlink_metadata(destination).map_err(InstallError::io("look at", destination))?;
    keep_owner(&metadata, staged)?;
    fs::set_permissions(staged, metadata.permissions())
        .map_err(InstallError::io("set the mode of", staged))?;
    let (from, to) = (destination.join(ENVIRONMENT), staged.join(ENVIRONMENT));
    let metadata = match fs::symlink_metadata(&from) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(InstallError::io("look at", &from)(error)),
    };
    if metadata.is_symlink() {
        let target = fs::read_link(&from).map_err(InstallError::io("read the link", &from))?;
        return fs_err::os::unix::fs::symlink(target, &to).map_err(InstallError::io("link", &from));
    }
    let contents = fs::read(&from).map_err(InstallError::io("read", &from))?;
    // Made for nobody else before it has its contents: they are secrets.
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&to)
        .map_err(InstallError::io("copy", &from))?;
    io::Write::write_all(&mut file, &contents).map_err(InstallError::io("copy", &from))?;
    keep_owner(&metadata, &to)?;
    let mode = std::fs::Permissions::from_mode(metadata.mode() & 0o7777);
    fs::set_permissions(&to, mode).map_err(InstallError::io("copy", &from))
}

fn keep_owner(metadata: &std::fs::Metadata, path: &Path) -> Result<(), InstallError> {
    let now = fs::symlink_metadata(path).map_err(InstallError::io("look at", path))?;
    if (now.uid(), now.gid()) == (metadata.uid(), metadata.gid()) {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, Some(metadata.uid()), Some(metadata.gid()))
        .map_err(InstallError::io("keep the owner of", path))
}
