//! Reading zip files out of memory, strictly.
//!
//! An artifact and each wheel in it are zips. Both are mapped, never read into buffers, and everything that two readers
//! could understand differently is refused: members that overlap or appear twice, local headers that disagree with the
//! central directory, encryption, unknown methods, sizes that deflate cannot reach. Of wheels all is read that ordinary
//! tools write: zip64, data descriptors, text in front and comments behind. An artifact has one form only (`exact`).
//!
//! The specification is PKWARE's APPNOTE 6.3; section numbers below are its own.

mod deflate;
mod directory;
mod exact;
mod headers;
mod inflate;
mod stored;
mod time;
mod writer;

use std::ops::Range;

use crate::manifest::MemberKind;

pub use inflate::{BUFFERED_LIMIT, Inflater};
pub use time::DosTime;
pub use writer::{Deflated, StoredFile, WriteError, ZipWriter};

/// A zip in memory, its directory read and checked.
pub struct Archive<B> {
    bytes: B,
    entries: Vec<Entry>,
    /// Places in `entries`, by the names there.
    by_name: Vec<usize>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As the central directory has it; with `/` at the end for a directory. Not yet checked to be a safe path.
    pub name: String,
    pub method: Method,
    /// CRC-32 of the uncompressed bytes.
    pub crc32: u32,
    /// Bytes, uncompressed.
    pub size: u64,
    /// The Unix mode, file type included; 0 where the zip has none.
    pub mode: u32,
    pub time: DosTime,
    /// Where the compressed bytes are.
    pub data: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Stored,
    Deflated,
}

/// Why a zip was refused.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    #[error("not a zip file, or cut off: no end of central directory")]
    NoEnd,
    #[error("the zip is cut off or damaged: {what} reaches outside the file")]
    Outside { what: String },
    #[error("it has another form than artifacts have: {what}")]
    Form { what: String },
    #[error("the zip is damaged: {what}")]
    Damaged { what: String },
    #[error("member {name:?} is encrypted, or a patch")]
    Encrypted { name: String },
    #[error(
        "member {name:?} is compressed by method {method}, which is not read (only stored and deflated are)"
    )]
    Method { name: String, method: u16 },
    #[error("member {name:?} appears twice")]
    Duplicate { name: String },
    #[error("members {first:?} and {second:?} overlap")]
    Overlap { first: String, second: String },
    #[error("member {name:?}: its local header and the central directory disagree on {what}")]
    Disagree { name: String, what: &'static str },
    #[error("member {name:?} claims {size} bytes, more than its compressed bytes can hold")]
    Bomb { name: String, size: u64 },
    #[error("member {name:?} does not inflate to the {size} bytes it claims")]
    Inflate { name: String, size: u64 },
    #[error("member {name:?} has the wrong CRC-32: {found:08x}, the directory says {expected:08x}")]
    Crc { name: String, expected: u32, found: u32 },
    #[error("member {name:?} is {size} bytes, too large for what it is")]
    TooLarge { name: String, size: u64 },
}

impl<B: AsRef<[u8]>> Archive<B> {
    /// Reads and checks the directory. Contents are checked when they are read.
    pub fn parse(bytes: B) -> Result<Self, ZipError> {
        let entries = directory::read(bytes.as_ref())?;
        let mut by_name: Vec<usize> = (0..entries.len()).collect();
        by_name.sort_by(|&one, &other| entries[one].name.cmp(&entries[other].name));
        match by_name.windows(2).find(|pair| entries[pair[0]].name == entries[pair[1]].name) {
            Some(pair) => Err(ZipError::Duplicate { name: entries[pair[0]].name.clone() }),
            None => Ok(Self { bytes, entries, by_name }),
        }
    }

    /// The first line of an artifact, without its end. Refused is all that is not in the one form that artifacts have, byte for
    /// byte, so that every reader of zips sees the same members.
    pub fn first_line(&self) -> Result<&str, ZipError> {
        exact::check(self.bytes.as_ref(), &self.entries)
    }

    /// In the order of the central directory.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn find(&self, name: &str) -> Option<&Entry> {
        let found = self.by_name.binary_search_by(|&index| self.entries[index].name.as_str().cmp(name));
        found.ok().map(|place| &self.entries[self.by_name[place]])
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// What the zip was parsed from.
    pub fn map(&self) -> &B {
        &self.bytes
    }

    /// The member's bytes as they stand in the zip, compressed or not.
    pub fn raw(&self, entry: &Entry) -> &[u8] {
        &self.bytes.as_ref()[entry.data.clone()]
    }

    /// The contents of a small member, of `limit` bytes at most.
    pub fn read(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>, ZipError> {
        if entry.size > limit {
            return Err(ZipError::TooLarge { name: entry.name.clone(), size: entry.size });
        }
        let mut contents = Vec::with_capacity(usize::try_from(entry.size).unwrap_or_default());
        Inflater::new().read(entry, self.raw(entry), &mut |bytes| contents.extend_from_slice(bytes))?;
        Ok(contents)
    }
}

impl Entry {
    pub fn is_directory(&self) -> bool {
        self.name.ends_with('/')
    }

    /// A regular file that somebody may execute, by the mode in the zip.
    pub fn is_executable(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000 && self.mode & 0o111 != 0
    }

    pub fn is_link(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }

    /// What the mode says is what the name says: no link or device, and no directory without `/` or with contents.
    pub fn is_plain(&self) -> bool {
        match self.mode & 0o170_000 {
            0 | 0o100_000 => !self.is_directory() || self.size == 0,
            0o040_000 => self.is_directory() && self.size == 0,
            _ => false,
        }
    }

    /// What it is as a member of an artifact, by the mode in the zip.
    pub fn kind(&self) -> MemberKind {
        match () {
            () if self.is_link() => MemberKind::Link,
            () if self.is_executable() => MemberKind::Executable,
            () => MemberKind::File,
        }
    }
}
