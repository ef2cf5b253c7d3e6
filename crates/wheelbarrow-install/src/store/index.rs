//! The index of an entry: its files, so that an install can be planned without opening the wheel, and the
//! files can be compared with the index. `docs/reference/store.md` is the specification.
//!
//! ```text
//! wheelbarrow-index 1 CRC32\0     of all that follows
//! HEADER\0                        JSON, see [`Header`]
//! /DIRECTORY\0                    below `files/`; then the files in it:
//! KIND SIZE SHA256 NAME\0         f, x or s; bytes; 64 digits; until the next directory
//! RECORD                          rows of the files in site-packages, as an install writes them; those of bytecode
//!                                 with those of the wheel
//! ```
//!
//! All parts but the last end with NUL, which no name can contain. Parents come before their entries.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::format::PROGRAM;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::zip::crc32;
use wheelbarrow_base::json;

use super::paths::FORMAT;

const SIGNATURE: &str = "wheelbarrow-index";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// The modification time of every file, in seconds since 1970.
    pub time: u32,
    pub kind: Kind,
    /// Bytes of RECORD.
    pub record: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub(crate) enum Kind {
    Wheel {
        /// File name of the wheel that it was made from.
        wheel: String,
        dist_info: String,
        /// The text of entry_points.txt, where the wheel has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry_points: Option<String>,
    },
    Bytecode {
        /// As in file names: `cpython-312`.
        cache_tag: String,
        /// Eight hexadecimal digits.
        magic: String,
    },
}

/// A file of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Plain,
    Executable,
    /// Executable, and begins with `#!python`: an install writes its own, with another first line.
    Script,
}

/// Why an index cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UnusableIndex {
    /// The entry cannot be trusted any more, and goes.
    Altered(String),
    /// A later version of Wheelbarrow made the entry, which stays.
    Newer(String),
}

/// An entry with its index.
pub(crate) struct Entry {
    pub sha256: Sha256,
    /// Below the store.
    pub path: String,
    pub index: Index,
}

pub(crate) struct Index {
    pub header: Header,
    bytes: Vec<u8>,
    /// Parents first.
    pub directories: Vec<IndexDirectory>,
    files: Vec<IndexFile>,
    record: Range<usize>,
}

pub(crate) struct IndexDirectory {
    path: Range<usize>,
    files: Range<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct IndexFile {
    name: Range<usize>,
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256,
}

/// What an index is made of: paths below `files/`.
pub(crate) type NewFiles = BTreeMap<String, (FileKind, u64, Sha256)>;

impl FileKind {
    fn letter(self) -> char {
        match self {
            Self::Plain => 'f',
            Self::Executable => 'x',
            Self::Script => 's',
        }
    }

    fn of(letter: &str) -> Option<Self> {
        [Self::Plain, Self::Executable, Self::Script]
            .into_iter()
            .find(|kind| letter.strip_prefix(kind.letter()) == Some(""))
    }
}

pub(crate) fn write(header: &Header, files: &NewFiles, record: &str) -> serde_json::Result<Vec<u8>> {
    let mut directories: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, (kind, size, sha256)) in files {
        let (mut directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let line = format!("{} {size} {sha256} {name}\0", kind.letter());
        directories.entry(directory).or_default().push(line);
        while let Some((parent, _)) = directory.rsplit_once('/') {
            directories.entry(parent).or_default();
            directory = parent;
        }
    }
    let mut body = serde_json::to_vec(header)?;
    body.push(0);
    for (directory, lines) in directories {
        body.extend_from_slice(format!("/{directory}\0").as_bytes());
        body.extend(lines.iter().flat_map(|line| line.as_bytes()));
    }
    body.extend_from_slice(record.as_bytes());
    let mut index = format!("{SIGNATURE} {FORMAT} {:08x}\0", crc32(&body)).into_bytes();
    index.append(&mut body);
    Ok(index)
}

impl Index {
    /// What is wrong with `bytes`, where something is.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, UnusableIndex> {
        let text = std::str::from_utf8(&bytes).map_err(|_| altered("its index is not UTF-8"))?;
        let cut_off = || altered("its index is cut off");
        let (signature, body) = text.split_once('\0').ok_or_else(cut_off)?;
        check_signature(signature, body)?;
        let (header, records) = body.split_once('\0').ok_or_else(cut_off)?;
        // Nobody altered it, so what is not known here was known to who wrote it.
        let header: Header = json::from_slice(header.as_bytes()).map_err(|error| {
            UnusableIndex::Newer(format!("has an index that {PROGRAM} does not support ({error})"))
        })?;
        let mut start = text.len() - records.len();
        let record = records.len().checked_sub(header.record).ok_or_else(cut_off)?;
        let (records, _) = records.split_at_checked(record).ok_or_else(cut_off)?;
        let record = start + record..text.len();
        let mut directories: Vec<IndexDirectory> = Vec::new();
        let mut files = Vec::new();
        for record in records.split_terminator('\0') {
            let range = |part: &str| start + record.len() - part.len()..start + record.len();
            if let Some(path) = record.strip_prefix('/') {
                let here = files.len();
                directories.push(IndexDirectory { path: range(path), files: here..here });
            } else {
                let (file, name) = parse_file(record).ok_or_else(|| {
                    UnusableIndex::Newer(format!(
                        "has an index with a record that {PROGRAM} does not support"
                    ))
                })?;
                let directory =
                    directories.last_mut().ok_or_else(|| altered("its index begins with a file"))?;
                files.push(IndexFile { name: range(name), ..file });
                directory.files.end = files.len();
            }
            start += record.len() + 1;
        }
        Ok(Self { header, directories, files, record, bytes })
    }

    /// The rows of what is in site-packages.
    pub(crate) fn record(&self) -> &str {
        self.text(&self.record)
    }

    /// Below `files/`.
    pub(crate) fn path(&self, directory: &IndexDirectory) -> &str {
        self.text(&directory.path)
    }

    pub(crate) fn name(&self, file: &IndexFile) -> &str {
        self.text(&file.name)
    }

    pub(crate) fn files(&self, directory: &IndexDirectory) -> &[IndexFile] {
        &self.files[directory.files.clone()]
    }

    pub(crate) fn count(&self) -> usize {
        self.files.len()
    }

    /// Bytes of all files.
    pub(crate) fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Every file with its path below `files/`.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (PathBuf, &IndexFile)> {
        self.directories.iter().flat_map(move |directory| {
            let path = std::path::Path::new(self.path(directory));
            self.files(directory).iter().map(move |file| (path.join(self.name(file)), file))
        })
    }

    fn text(&self, range: &Range<usize>) -> &str {
        // The whole was UTF-8, and ranges begin and end at ASCII.
        std::str::from_utf8(&self.bytes[range.clone()]).unwrap_or_default()
    }
}

fn altered(what: &str) -> UnusableIndex {
    UnusableIndex::Altered(what.to_owned())
}

/// Another format may have another sum, so its number is looked at first. One that no format has yet is altered.
fn check_signature(signature: &str, body: &str) -> Result<(), UnusableIndex> {
    let mut parts = signature.split(' ');
    let format = match (parts.next(), parts.next().map(str::parse::<u32>)) {
        (Some(SIGNATURE), Some(Ok(format))) => format,
        _ => return Err(altered("its index was altered")),
    };
    if format > FORMAT {
        return Err(UnusableIndex::Newer(format!("has an index of format {format}")));
    }
    match signature == format!("{SIGNATURE} {FORMAT} {:08x}", crc32(body.as_bytes())) {
        true => Ok(()),
        false => Err(altered("its index was altered")),
    }
}

fn parse_file(record: &str) -> Option<(IndexFile, &str)> {
    let mut parts = record.splitn(4, ' ');
    let kind = FileKind::of(parts.next()?)?;
    let size = parts.next()?.parse().ok()?;
    let sha256 = Sha256::from_hex(parts.next()?)?;
    let name = parts.next()?;
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return None;
    }
    Some((IndexFile { name: 0..0, kind, size, sha256 }, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Header, NewFiles) {
        let kind = Kind::Wheel { wheel: "a-1.whl".to_owned(), dist_info: "a".to_owned(), entry_points: None };
        let file = (FileKind::Plain, 3, Sha256::of(b"abc"));
        let paths = ["site-packages/a.py", "site-packages/a/b/c with space.py", "scripts/x"];
        (Header { time: 7, kind, record: 4 }, paths.into_iter().map(|path| (path.to_owned(), file)).collect())
    }

    #[test]
    fn gives_back_what_went_in_with_every_directory() {
        let (header, files) = example();
        let index = Index::parse(write(&header, &files, "a,,\n").unwrap()).unwrap();
        assert_eq!(index.header, header);
        assert_eq!(index.record(), "a,,\n");
        let directories: Vec<_> = index.directories.iter().map(|directory| index.path(directory)).collect();
        assert_eq!(directories, ["scripts", "site-packages", "site-packages/a", "site-packages/a/b"]);
        let found: NewFiles = index
            .paths()
            .map(|(path, file)| (path.to_str().unwrap().to_owned(), (file.kind, file.size, file.sha256)))
            .collect();
        assert_eq!(found, files);
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let (header, files) = example();
        let whole = write(&header, &files, "a,,\n").unwrap();
        for place in 0..whole.len() {
            let mut altered = whole.clone();
            altered[place] ^= 1;
            assert!(Index::parse(altered).is_err(), "{place}");
            assert!(Index::parse(whole[..place].to_vec()).is_err(), "{place}");
        }
    }
}
