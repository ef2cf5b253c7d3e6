//! Disk space that is reserved for a rollback: `ROOT/.wheelbarrow/reserve/`.
//!
//! On a full disk a rollback still writes a link, a mark, lines of the journal and the logs of its commands.
//! Some files with blocks and inodes of their own are removed before, and made again when there is space.

use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use fs_err as fs;
use rustix::fs::FallocateFlags;

use crate::Root;

const FILES: u64 = 8;
/// Bytes of each file.
const SIZE: u64 = 64 << 10;
/// With fewer inodes free than this a disk is full.
const INODES: u64 = 64;

/// Makes what is missing of the reserve, as far as there is room: no operation fails for it.
pub(crate) fn keep(root: &Root) {
    if is_full(root) || fs::create_dir_all(root.reserve()).is_err() {
        return;
    }
    for path in paths(root) {
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.len() == SIZE) {
            continue;
        }
        let made =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let filled =
            made.and_then(|file| Ok(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SIZE)?));
        if filled.is_err() {
            let _ = fs::remove_file(&path);
            return;
        }
    }
}

/// Gives the room away.
pub(crate) fn give(root: &Root) {
    paths(root).for_each(|path| _ = fs::remove_file(path));
}

/// Gives the room away, if there is no other.
pub(crate) fn give_if_full(root: &Root) {
    if is_full(root) {
        give(root);
    }
}

fn is_full(root: &Root) -> bool {
    let Ok(disk) = rustix::fs::statvfs(root.path()) else { return false };
    // A file system without a table of inodes has none.
    disk.f_bavail * disk.f_frsize < 2 * FILES * SIZE || (disk.f_files > 0 && disk.f_favail < INODES)
}

fn paths(root: &Root) -> impl Iterator<Item = PathBuf> {
    let directory = root.reserve();
    (1..=FILES).map(move |number| directory.join(number.to_string()))
}
