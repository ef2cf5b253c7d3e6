//! What is below a directory, compared.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Everything below a directory, and itself: kind, mode, owner, contents.
pub(super) type Snapshot = BTreeMap<String, (u32, u32, u32, Vec<u8>)>;

pub(super) fn snapshot(root: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    let mut paths = vec![root.to_path_buf()];
    while let Some(path) = paths.pop() {
        let metadata = fs_err::symlink_metadata(&path).unwrap();
        let mut contents = Vec::new();
        if metadata.is_dir() {
            paths.extend(fs_err::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if metadata.is_symlink() {
            contents = fs_err::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
        } else {
            contents = fs_err::read(&path).unwrap();
            if path.extension().is_some_and(|extension| extension == "pyc") && contents.len() > 12 {
                contents[8..12].fill(0); // the time of the install
            }
        }
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        found.insert(name, (metadata.mode(), metadata.uid(), metadata.gid(), contents));
    }
    found
}

/// What the first difference is.
pub(super) fn compare(now: &Snapshot, expected: &Snapshot) -> Result<(), String> {
    let paths: BTreeSet<&String> = now.keys().chain(expected.keys()).collect();
    let different = paths.into_iter().find(|path| now.get(*path) != expected.get(*path));
    let Some(path) = different else { return Ok(()) };
    let show = |snapshot: &Snapshot| {
        snapshot.get(path).map_or("absent".to_owned(), |(mode, uid, gid, contents)| {
            format!("{mode:o} {uid}:{gid} {} bytes", contents.len())
        })
    };
    Err(format!("{path:?} is {}, not {}", show(now), show(expected)))
}
