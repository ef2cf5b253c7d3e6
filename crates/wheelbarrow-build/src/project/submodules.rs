//! Submodules of git that are not checked out: a clone without `--recurse-submodules` has empty directories there.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::above;

/// Their directories, below `root`.
pub(super) fn not_checked_out(root: &Path) -> Vec<PathBuf> {
    let Some(top) = above::checkout(root) else { return Vec::new() };
    let text = fs::read_to_string(top.join(".gitmodules")).unwrap_or_default();
    let paths =
        text.lines().filter_map(|line| line.trim().strip_prefix("path")?.trim_start().strip_prefix('='));
    let below = paths.filter_map(|path| {
        let path = top.join(path.trim().trim_matches('"'));
        path.strip_prefix(root).map(Path::to_path_buf).ok().filter(|_| is_empty_directory(&path))
    });
    below.collect()
}

fn is_empty_directory(path: &Path) -> bool {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    is_directory && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}
