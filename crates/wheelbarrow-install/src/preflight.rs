//! Looking before anything is written.

use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use fs_err as fs;
use rustix::fs::Access;

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
    let parent = destination.parent().unwrap_or(Path::new("/"));
    if !parent.is_dir() {
        return Err(InstallError::MissingParent { path: parent.to_path_buf() });
    }
    let found = look_inside(destination, existing)?;
    rustix::fs::access(parent, Access::WRITE_OK | Access::EXEC_OK).map_err(|_| InstallError::NoRight {
        parent: parent.to_path_buf(),
        destination: destination.to_path_buf(),
    })?;
    Ok(found)
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
    match (empty, existing) {
        (true, _) => Ok(Found::EmptyDirectory),
        (false, _) if only_environment => Ok(Found::Directory),
        (false, Existing::Replace) if is_install => Ok(Found::Directory),
        (false, Existing::Replace) => Err(InstallError::Foreign { path: path() }),
        (false, Existing::Refuse) => Err(InstallError::Occupied { path: path() }),
    }
}

/// Compares what the plan writes with what the file system has left.
pub(crate) fn check_space(destination: &Path, plan: &Plan<'_>) -> Result<(), InstallError> {
    let parent = destination.parent().unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(parent)
        .map_err(|errno| InstallError::io("look at the file system of", parent)(errno.into()))?;
    let (needed, available) =
        (plan.bytes_on_disk(disk.f_bsize.max(1)), disk.f_bavail.saturating_mul(disk.f_frsize));
    if needed > available {
        return Err(InstallError::NoSpace { path: parent.to_path_buf(), needed, available });
    }
    // Some file systems (btrfs) make inodes as they go, and say that they have none.
    let (needed, available) = (plan.inodes(), disk.f_favail);
    if disk.f_files > 0 && needed > available {
        return Err(InstallError::NoInodes { path: parent.to_path_buf(), needed, available });
    }
    Ok(())
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
