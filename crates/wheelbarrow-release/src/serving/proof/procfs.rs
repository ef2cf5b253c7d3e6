//! Reading `/proc`: proc(5).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use fs_err as fs;
use wheelbarrow_wheel::order::{self, Inserted};

use crate::ReleaseError;

/// The processes of this machine that are seen from here, or whatever else has numbers in `directory`, ordered.
pub(super) fn numbers(directory: &Path) -> Result<Vec<u32>, ReleaseError> {
    let entries = fs::read_dir(directory).map_err(ReleaseError::io("list", directory))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u32> = names.collect();
    order::sort(&mut numbers);
    Ok(numbers)
}

/// Calls `scan` with what each descriptor of a process leads to, until it gives false. Whether there was time for that.
pub(super) fn each_descriptor(pid: u32, until: Instant, mut scan: impl FnMut(&Path) -> bool) -> bool {
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        if fs::read_link(descriptor.path()).is_ok_and(|path| !scan(&path)) {
            break;
        }
        if Instant::now() >= until {
            return false;
        }
    }
    true
}

/// As whom a process may act; nobody if it has ended. The owner of `/proc/PID` says nothing: a process can make it
/// root.
pub(super) fn users(pid: u32) -> BTreeSet<u32> {
    let text = read(&format!("/proc/{pid}/status"));
    // Real, effective, saved, and that for files.
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    line.split_whitespace().take(3).filter_map(|user| user.parse::<u32>().ok()).inserted()
}

/// What a file holds; nothing if it cannot be read.
pub(super) fn read(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
