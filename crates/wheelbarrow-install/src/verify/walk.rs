//! What is in a destination, links not followed. Somebody else may write there, so every directory is opened below a descriptor.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use wheelbarrow_base::beneath::Directory;

use super::claims::Claims;
use crate::InstallError;
use crate::layout::{ENVIRONMENT, RECEIPT_PATH, SUMS_PATH};

/// Something that is no directory.
pub(super) enum FoundFile {
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

/// Bytes of a path that the kernel opens, without the zero at the end. No install has longer ones.
const LONGEST_PATH: usize = 4095;

/// Everything below `root`, the destination, by its path, but directories, what the install says of itself, environment.json, and
/// bytecode that nobody lists. A directory whose path is too long is one thing.
pub(super) fn walk(
    destination: &Path,
    root: &Directory,
    claims: &Claims,
) -> Result<HashMap<Vec<u8>, FoundFile>, InstallError> {
    let mut found = HashMap::with_capacity(claims.files.len());
    let mut directories = vec![Vec::new()];
    while let Some(above) = directories.pop() {
        let list_error = |error| InstallError::io("list", &below(destination, &above))(error);
        let Some((directory, entries)) = list(root, &above).map_err(list_error)? else { continue };
        for (name, kind) in entries {
            let path = join(&above, name.as_bytes());
            if kind == FileType::Directory && !is_too_long(&path) {
                directories.push(path);
            } else if let Some(thing) = examine(&directory, &name, kind, &path, claims)
                .map_err(|error| InstallError::io("look at", &below(destination, &path))(error))?
            {
                found.insert(path, thing);
            }
        }
    }
    Ok(found)
}

/// None of what does not count, and of what was removed since it was listed.
fn examine(
    directory: &Directory,
    name: &OsStr,
    kind: FileType,
    path: &[u8],
    claims: &Claims,
) -> io::Result<Option<FoundFile>> {
    if [ENVIRONMENT, RECEIPT_PATH, SUMS_PATH].iter().any(|own| own.as_bytes() == path) {
        return Ok(None);
    }
    let is_listed = std::str::from_utf8(path).is_ok_and(|path| claims.files.contains_key(path));
    let thing = match kind {
        FileType::Symlink => {
            directory.read_link(name).map(|target| FoundFile::Link { target: target.into_vec() })
        }
        FileType::RegularFile if is_listed => {
            directory.stat_at(name).map(|stat| FoundFile::File { size: stat.st_size.unsigned_abs() })
        }
        FileType::RegularFile if is_bytecode(path) => return Ok(None),
        FileType::RegularFile => Ok(FoundFile::File { size: 0 }),
        _ => Ok(FoundFile::Other),
    };
    match thing {
        Ok(thing) => Ok(Some(thing)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // No link any more.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Some(FoundFile::Other)),
        Err(error) => Err(error),
    }
}

/// An open directory, and what is in it: names and what they are.
type OpenListing = (Directory, Vec<(OsString, FileType)>);

/// Opens and lists the directory at a path below `root`. None of one that was removed or exchanged since its name was listed.
pub(super) fn list(root: &Directory, path: &[u8]) -> io::Result<Option<OpenListing>> {
    let directory = match root.sub(OsStr::from_bytes(path)) {
        Ok(directory) => directory,
        Err(error) => {
            let gone = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory, io::ErrorKind::InvalidData];
            return if gone.contains(&error.kind()) { Ok(None) } else { Err(error) };
        }
    };
    let entries = directory.entries()?;
    Ok(Some((directory, entries)))
}

pub(super) fn is_too_long(path: &[u8]) -> bool {
    path.len() > LONGEST_PATH
}

/// For errors.
pub(super) fn below(destination: &Path, path: &[u8]) -> PathBuf {
    destination.join(OsStr::from_bytes(path))
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

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    /// Who may write in a directory puts a link to another one in its place once its name was listed.
    #[test]
    fn a_directory_that_is_exchanged_for_a_link_is_not_listed() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("destination/static")).unwrap();
        fs::create_dir_all(place.path().join("destination/other")).unwrap();
        fs::write(place.path().join("destination/other/file"), "").unwrap();
        fs::write(place.path().join("secret"), "").unwrap();
        let root = Directory::open(&place.path().join("destination")).unwrap();
        let at = |path: &str| place.path().join("destination").join(path);
        assert_eq!(list(&root, b"other").unwrap().unwrap().1.len(), 1);
        fs::remove_dir(at("static")).unwrap();
        for target in ["other", ".."] {
            std::os::unix::fs::symlink(target, at("static")).unwrap();
            assert!(list(&root, b"static").unwrap().is_none(), "{target}");
            assert!(list(&root, b"static/deeper").unwrap().is_none(), "{target}");
            fs::remove_file(at("static")).unwrap();
        }
    }
}
