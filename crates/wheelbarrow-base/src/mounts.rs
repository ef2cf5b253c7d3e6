//! File systems that are mounted at or below a path, from proc_pid_mountinfo(5).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::io::Errno;

use crate::FsError;
use crate::unique::unique;

/// The mount points at `path` and below, sorted; empty if /proc cannot be read. They include bind mounts of
/// directories and files.
pub fn mounts_in(path: &Path) -> Vec<PathBuf> {
    let Ok(real) = fs::canonicalize(path) else { return Vec::new() };
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut found = BTreeSet::new();
    found.extend(points(&text).filter(|point| point.starts_with(&real)));
    found.into_iter().collect()
}

/// The type of the file system of `path`, such as `ext4`; none if /proc cannot be read.
pub fn file_system_of(path: &Path) -> Option<String> {
    let real = fs::canonicalize(path).ok()?;
    let text = fs::read("/proc/self/mountinfo").ok()?;
    let lines =
        text.split(|byte| *byte == b'\n').filter(|line| points(line).any(|point| real.starts_with(point)));
    // A later one covers an earlier one.
    let line = String::from_utf8_lossy(
        lines.max_by_key(|line| points(line).map(|point| point.as_os_str().len()).max())?,
    );
    Some(line.split_once(" - ")?.1.split(' ').next()?.to_owned())
}

/// File systems that are known to have symbolic links. Others are tested by making a link.
const LINKING: [&str; 13] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "tmpfs", "ramfs", "overlay", "nfs",
    "nfs4",
];

/// Whether symbolic links can be made in `directory`.
pub fn check_links(directory: &Path) -> Result<(), FsError> {
    let kind = file_system_of(directory);
    if kind.as_ref().is_some_and(|kind| LINKING.contains(&kind.as_str())) {
        return Ok(());
    }
    let path = directory.join(format!(".wheelbarrow-{:08x}", unique()));
    match rustix::fs::symlink("link", &path) {
        Ok(()) => rustix::fs::unlink(&path).map_err(FsError::errno("remove", &path)),
        // What is full is reported as such.
        Err(Errno::NOSPC | Errno::DQUOT) => Ok(()),
        Err(errno) => Err(FsError::NoLinks {
            path: directory.to_path_buf(),
            file_system: kind.unwrap_or_else(|| "unknown".to_owned()),
            source: errno.into(),
        }),
    }
}

/// The fifth field of each line.
fn points(text: &[u8]) -> impl Iterator<Item = PathBuf> {
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
}

/// `\040` is a space, and so on.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let code = (*first == b'\\').then(|| behind.get(..3)).flatten();
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &behind[3..];
            }
            None => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read() {
        let text = b"36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw\nbroken\n";
        let found: Vec<PathBuf> = points(text).collect();
        assert_eq!(found, [Path::new("/mnt/a b")]);
        assert_eq!(unescape(b"a\\134b\\0"), b"a\\b\\0");
        assert!(mounts_in(Path::new("/proc")).contains(&PathBuf::from("/proc")));
        assert!(mounts_in(Path::new("/nowhere")).is_empty());
        assert_eq!(file_system_of(Path::new("/proc/self/fd")).as_deref(), Some("proc"));
        assert_eq!(file_system_of(Path::new("/nowhere")), None);
    }
}
