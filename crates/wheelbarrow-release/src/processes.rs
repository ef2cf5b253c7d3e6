//! Which releases processes use: by working directory, program, root directory, mapped files and arguments.
//!
//! What another user's process uses is only seen by root; where it is not seen, nothing is known of it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;

use fs_err as fs;

use crate::{ReleaseError, ReleaseId, Root};

/// The releases that are in use, and by which processes.
pub(crate) fn using(root: &Root) -> Result<BTreeMap<ReleaseId, BTreeSet<u32>>, ReleaseError> {
    let releases = root.releases();
    let real = fs::canonicalize(&releases).map_err(ReleaseError::io("find", &releases))?;
    let mut prefixes = vec![prefix(&real)];
    if real != releases {
        prefixes.push(prefix(&releases));
    }
    let mut using: BTreeMap<ReleaseId, BTreeSet<u32>> = BTreeMap::new();
    let Ok(processes) = fs::read_dir("/proc") else { return Ok(using) };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        for id in prefixes.iter().flat_map(|prefix| named(&said(&process.path()), prefix)) {
            using.entry(id).or_default().insert(pid);
        }
    }
    Ok(using)
}

fn prefix(releases: &std::path::Path) -> Vec<u8> {
    [releases.as_os_str().as_bytes(), b"/"].concat()
}

/// All that a process says of its files, as far as it may be read, and as far as it is still there.
fn said(process: &std::path::Path) -> Vec<u8> {
    let mut said = Vec::new();
    for link in ["cwd", "exe", "root"] {
        if let Ok(target) = fs::read_link(process.join(link)) {
            said.extend_from_slice(target.as_os_str().as_bytes());
            said.push(b'\n');
        }
    }
    for file in ["maps", "cmdline"] {
        said.extend(fs::read(process.join(file)).unwrap_or_default());
        said.push(b'\n');
    }
    said
}

/// The ids that follow `prefix` anywhere in `text`.
fn named(text: &[u8], prefix: &[u8]) -> BTreeSet<ReleaseId> {
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some(place) = rest.windows(prefix.len()).position(|window| window == prefix) {
        rest = &rest[place + prefix.len()..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let end = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        found.extend(std::str::from_utf8(&rest[..end]).ok().and_then(|id| id.parse::<ReleaseId>().ok()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn ids_are_found_where_they_stand() {
        let text =
            b"/r/releases/12-1a2b3c4d/venv/x.so\n/r/releases/12-1a2b3c4d (deleted)\0/r/releases/7-00000000";
        let found: Vec<_> = named(text, b"/r/releases/").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["7-00000000", "12-1a2b3c4d"]);
        assert!(named(b"/r/releases/.12-1a2b3c4d.wheelbarrow-x", b"/r/releases/").is_empty());
    }
}
