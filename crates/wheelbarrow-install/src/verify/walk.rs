//! The entries of a destination, without following links. Another user may write there, so every directory is
//! opened below a descriptor.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use wheelbarrow_base::beneath::Directory;

use super::claims::{Claims, PYTHON};
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

/// Bytes that a path takes beside its own.
pub(super) const OVERHEAD: usize = 80;

/// Bytes of a path that the kernel opens, without the zero at the end. No install has longer ones.
const LONGEST_PATH: usize = 4095;

/// Entries of a directory that are looked at, and bytes of paths that nobody lists: whoever may write in an install chooses how
/// many there are.
const ENTRIES: usize = 200_000;
const ROOM: usize = 32 << 20;

/// What is in a destination.
pub(super) struct Walk {
    pub found: HashMap<Vec<u8>, FoundFile>,
    /// Whether there is more than there is room for. What is listed is found all the same.
    pub has_more: bool,
}

/// Everything below `root`, the destination, by its path, but directories, what the install says of itself, environment.json, and
/// bytecode that nobody lists; of the directories `left_out` only what is listed. A directory whose path is too long is one thing.
pub(super) fn walk(
    destination: &Path,
    root: &Directory,
    claims: &Claims,
    left_out: &BTreeSet<PathBuf>,
) -> Result<Walk, InstallError> {
    walk_within(destination, root, claims, left_out, ROOM)
}

fn walk_within(
    destination: &Path,
    root: &Directory,
    claims: &Claims,
    left_out: &BTreeSet<PathBuf>,
    mut room: usize,
) -> Result<Walk, InstallError> {
    let mut walk = Walk { found: HashMap::with_capacity(claims.files.len()), has_more: false };
    let look_error = |path: &[u8]| InstallError::io("look at", &below(destination, path));
    let entries_of_one = ENTRIES.max(claims.files.len() * 2);
    let mut directories = vec![Vec::new()];
    while let Some(above) = directories.pop() {
        let listed = list(root, &above, entries_of_one);
        let listed = listed.map_err(InstallError::io("list", &below(destination, &above)))?;
        let Some((directory, entries, has_more)) = listed else { continue };
        walk.has_more |= has_more;
        for (name, kind) in entries {
            let path = join(&above, name.as_bytes());
            let is_directory = kind == FileType::Directory && !is_too_long(&path);
            if is_directory && left_out.contains(Path::new(OsStr::from_bytes(&path))) {
                continue;
            }
            let thing = match is_directory {
                true => None,
                false => match examine(&directory, &name, kind, &path, claims).map_err(look_error(&path))? {
                    None => continue,
                    thing => thing,
                },
            };
            if !claims.lists(&path) {
                match room.checked_sub(path.len() + OVERHEAD) {
                    Some(left) => room = left,
                    None => {
                        walk.has_more = true;
                        continue;
                    }
                }
            }
            match thing {
                Some(thing) => _ = walk.found.insert(path, thing),
                None => directories.push(path),
            }
        }
    }
    if walk.has_more || !left_out.is_empty() {
        let listed = claims.files.keys().chain(claims.links.iter().map(|(path, _)| path));
        for path in listed.map(String::as_str).chain([PYTHON]) {
            let is_left_out = || left_out.iter().any(|directory| Path::new(path).starts_with(directory));
            if (walk.has_more || is_left_out()) && !walk.found.contains_key(path.as_bytes()) {
                let thing = look(root, path, claims).map_err(look_error(path.as_bytes()))?;
                walk.found.extend(thing.map(|thing| (path.as_bytes().to_vec(), thing)));
            }
        }
    }
    Ok(walk)
}

/// What is at a path. None of what the walk would not have found there.
fn look(root: &Directory, path: &str, claims: &Claims) -> io::Result<Option<FoundFile>> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some(directory) = open_listed(root, above.as_bytes())? else { return Ok(None) };
    match directory.stat_at(name).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Ok(FileType::Directory) => Ok(None),
        Ok(kind) => examine(&directory, OsStr::new(name), kind, path.as_bytes(), claims),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(FoundFile::Other)),
        Err(error) => Err(error),
    }
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
        // No link any more, or a mount of another user.
        Err(error) if [io::ErrorKind::InvalidInput, io::ErrorKind::InvalidData].contains(&error.kind()) => {
            Ok(Some(FoundFile::Other))
        }
        Err(error) => Err(error),
    }
}

/// An open directory, what is in it, names and what they are, and whether there is more.
type OpenListing = (Directory, Vec<(OsString, FileType)>, bool);

/// Opens and lists the directory at a path below `root`, no more than `most` entries. None of one that was removed or exchanged
/// since its name was listed.
pub(super) fn list(root: &Directory, path: &[u8], most: usize) -> io::Result<Option<OpenListing>> {
    let Some(directory) = open_listed(root, path)? else { return Ok(None) };
    let (entries, has_more) = directory.first_entries(most)?;
    Ok(Some((directory, entries, has_more)))
}

fn open_listed(root: &Directory, path: &[u8]) -> io::Result<Option<Directory>> {
    match root.sub(OsStr::from_bytes(path)) {
        Ok(directory) => Ok(Some(directory)),
        Err(error) => {
            let gone = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory, io::ErrorKind::InvalidData];
            if gone.contains(&error.kind()) { Ok(None) } else { Err(error) }
        }
    }
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

    /// The site's user writes as many files as they like, into directories for that and elsewhere.
    #[test]
    fn what_nobody_lists_takes_no_more_memory_than_there_is_room_for() {
        let place = tempfile::tempdir().unwrap();
        for path in ["code/a.py", "code/z.py", "static/own.css", "venv/bin/python"] {
            fs::create_dir_all(place.path().join(path).parent().unwrap()).unwrap();
            fs::write(place.path().join(path), "").unwrap();
        }
        for number in 0..50 {
            fs::write(place.path().join(format!("static/{number}.css")), "").unwrap();
            fs::create_dir_all(place.path().join(format!("code/{number}/{number}"))).unwrap();
            fs::write(place.path().join(format!("code/{number}.txt")), "").unwrap();
        }
        let root = Directory::open(place.path()).unwrap();
        let claims = Claims::of(&["code/a.py", "code/z.py", "static/own.css", "static/gone.css"]);
        let walked = |left_out: &[&str], room| {
            let left_out = left_out.iter().map(PathBuf::from).collect();
            let walk = walk_within(place.path(), &root, &claims, &left_out, room).unwrap();
            let listed = walk.found.keys().filter(|path| claims.lists(path)).count();
            (walk.has_more, listed, walk.found.len() - listed)
        };
        assert_eq!(walked(&[], ROOM), (false, 4, 100));
        assert_eq!(walked(&["static"], ROOM), (false, 4, 50));
        for room in [0, 500, 3000] {
            let (has_more, listed, others) = walked(&["static"], room);
            assert!(has_more && listed == 4 && others * OVERHEAD <= room, "{room}: {listed} {others}");
        }
    }

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
        assert_eq!(list(&root, b"other", 9).unwrap().unwrap().1.len(), 1);
        fs::remove_dir(at("static")).unwrap();
        for target in ["other", ".."] {
            std::os::unix::fs::symlink(target, at("static")).unwrap();
            assert!(list(&root, b"static", 9).unwrap().is_none(), "{target}");
            assert!(list(&root, b"static/deeper", 9).unwrap().is_none(), "{target}");
            fs::remove_file(at("static")).unwrap();
        }
    }
}
