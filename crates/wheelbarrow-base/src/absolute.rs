//! Absolute paths, also from a working directory that was removed.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::FsError;

/// Absolute and without `..`, by the text alone: a link in the path stays.
///
/// Without a working directory the text is not enough. The kernel still resolves `..` from the removed
/// directory, so a path that leads out of it is found by opening its directory.
pub fn absolute(path: &Path) -> Result<PathBuf, FsError> {
    match std::path::absolute(path) {
        Ok(absolute) => Ok(normal(&absolute)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            from_removed(path).ok_or_else(|| FsError::NoWorkingDirectory { path: path.to_path_buf() })
        }
        Err(error) => Err(FsError::io("find", path)(error)),
    }
}

#[cfg(target_os = "linux")]
fn from_removed(path: &Path) -> Option<PathBuf> {
    use std::ffi::OsStr;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    use fs_err as fs;
    use rustix::fs::{Mode, OFlags};

    let path = normal(path);
    let (directory, name) = match path.file_name() {
        Some(name) => (path.parent()?, name),
        None => (path.as_path(), OsStr::new("")),
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let descriptor = rustix::fs::open(directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let place = fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).ok()?;
    // The kernel names what was removed too, and says so behind its name.
    let (named, opened) = (fs::metadata(&place).ok()?, rustix::fs::fstat(&descriptor).ok()?);
    let is_there = (named.dev(), named.ino()) == (opened.st_dev, opened.st_ino);
    is_there.then(|| if name.is_empty() { place } else { place.join(name) })
}

/// A removed directory has no path.
#[cfg(not(target_os = "linux"))]
fn from_removed(_: &Path) -> Option<PathBuf> {
    None
}

/// Removes `.` and `..`, as far as parts precede them.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => drop(normal.pop()),
            Component::ParentDir if normal.has_root() => {}
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute_as_text() {
        for (path, expected) in [("/a/../b/./c/", "/b/c"), ("/../..", "/"), ("/a/b/..", "/a")] {
            assert_eq!(absolute(Path::new(path)).unwrap(), Path::new(expected));
        }
        for (path, expected) in [("../a/../b", "../b"), ("a/../../b", "../b"), ("./.", "")] {
            assert_eq!(normal(Path::new(path)), Path::new(expected));
        }
    }
}
