//! What is in a destination, links not followed.

use std::collections::HashMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use fs_err as fs;

use super::claims::Claims;
use crate::InstallError;
use crate::layout::{ENVIRONMENT, RECEIPT_PATH, SUMS_PATH};

/// Something that is no directory.
pub(super) enum Found {
    /// Bytes; 0 for a file that nobody lists.
    File {
        size: u64,
    },
    Link {
        target: Vec<u8>,
    },
    /// A socket, a pipe, a device.
    Other,
}

/// Everything below `destination` by its path, but directories, what the install says of itself, environment.json, and
/// bytecode that nobody lists.
pub(super) fn walk(destination: &Path, claims: &Claims) -> Result<HashMap<Vec<u8>, Found>, InstallError> {
    let mut found = HashMap::with_capacity(claims.files.len());
    let mut directories = vec![Vec::new()];
    while let Some(directory) = directories.pop() {
        let absolute = destination.join(std::ffi::OsStr::from_bytes(&directory));
        for entry in fs::read_dir(&absolute).map_err(InstallError::io("list", &absolute))? {
            let entry = entry.map_err(InstallError::io("list", &absolute))?;
            let path = join(&directory, entry.file_name().as_bytes());
            let kind = entry.file_type().map_err(InstallError::io("look at", &absolute))?;
            if kind.is_dir() {
                directories.push(path);
                continue;
            }
            if [ENVIRONMENT, RECEIPT_PATH, SUMS_PATH].iter().any(|own| own.as_bytes() == path) {
                continue;
            }
            let listed = std::str::from_utf8(&path).is_ok_and(|path| claims.files.contains_key(path));
            let thing = if kind.is_symlink() {
                let target = fs::read_link(entry.path());
                let target = target.map_err(InstallError::io("read the link", &entry.path()))?;
                Found::Link { target: target.into_os_string().into_vec() }
            } else if !kind.is_file() {
                Found::Other
            } else if listed {
                let metadata = entry.metadata().map_err(InstallError::io("look at", &entry.path()))?;
                Found::File { size: metadata.len() }
            } else if is_bytecode(&path) {
                continue;
            } else {
                Found::File { size: 0 }
            };
            found.insert(path, thing);
        }
    }
    Ok(found)
}

pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        return name.to_vec();
    }
    [directory, b"/", name].concat()
}

/// `__pycache__/*.pyc`: unpacked by the install or made by a Python; neither is in the sums.
pub(super) fn is_bytecode(path: &[u8]) -> bool {
    let mut parts = path.rsplit(|byte| *byte == b'/');
    parts.next().is_some_and(|name| name.ends_with(b".pyc")) && parts.next() == Some(b"__pycache__")
}
