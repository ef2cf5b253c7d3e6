//! The directory of a destination, and the names in it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, Stat};

use crate::FsError;
use crate::beneath::{Directory, place};
use crate::unique::prefix;

/// The time limit of a removal: a large tree on a slow disk takes minutes.
pub(crate) const REMOVAL: Duration = Duration::from_secs(600);

/// The suffix of a complete directory that is about to replace the destination, whatever is left of the old
/// one.
pub(super) const NEXT: &str = "next";

/// Opens the directory of a destination. Root follows no link on the way that another user may have made.
pub(super) fn open_parent(path: &Path) -> Result<Directory, FsError> {
    let below = path.strip_prefix("/").ok().filter(|below| !below.as_os_str().is_empty());
    let opened = match below.filter(|_| rustix::process::geteuid().is_root()) {
        Some(below) => place(Path::new("/"), below).and_then(|found| found.directory.sub(&found.name)),
        None => Directory::open_following(path),
    };
    // Whoever may write in it could mount a file system on what is looked for there.
    opened.map_err(FsError::io("open the directory", path))
}

/// The path of a file lock that is held briefly.
pub(super) fn lock_of(destination: &Path) -> PathBuf {
    destination.with_file_name(name_of(name_in(destination), "lock"))
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

pub(super) fn name_in(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

pub(super) fn name_of(basename: &OsStr, suffix: &str) -> OsString {
    let mut name = prefix(basename);
    name.push(suffix);
    name
}
