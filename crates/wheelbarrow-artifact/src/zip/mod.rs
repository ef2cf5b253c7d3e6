//! Strict reading of zip files in memory.
//!
//! An artifact and each wheel in it are zips. Both are mapped, never read into buffers. Everything that two
//! readers could understand differently is refused: members that overlap or appear twice, local headers that
//! disagree with the central directory, encryption, unknown methods, sizes that deflate cannot reach. In
//! wheels, everything that common tools write is accepted: zip64, data descriptors, text before and comments
//! after the zip. An artifact has exactly one form (`exact`).
//!
//! The specification is PKWARE's APPNOTE 6.3; section numbers below are its own.

mod crc;
mod deflate;
mod directory;
mod entry;
mod error;
mod exact;
mod headers;
mod inflate;
mod stored;
mod time;
mod writer;

use wheelbarrow_wheel::order;

pub use crc::crc32;
pub use entry::{Entry, Method};
pub use error::{WriteError, ZipError};
pub use inflate::{BUFFERED_LIMIT, Inflater};
pub use stored::StoredFile;
pub use time::DosTime;
pub use writer::{Deflated, ZipWriter};

/// A zip in memory, its directory read and checked.
pub struct Archive<B> {
    bytes: B,
    entries: Vec<Entry>,
    /// Places in `entries`, by the names there.
    by_name: Vec<usize>,
}

impl<B: AsRef<[u8]>> Archive<B> {
    /// Reads and checks the directory. Contents are checked when they are read.
    pub fn parse(bytes: B) -> Result<Self, ZipError> {
        let entries = directory::read(bytes.as_ref())?;
        let mut by_name: Vec<usize> = (0..entries.len()).collect();
        order::sort_by(&mut by_name, |&one, &other| entries[one].name.cmp(&entries[other].name));
        match by_name.windows(2).find(|pair| entries[pair[0]].name == entries[pair[1]].name) {
            Some(pair) => Err(ZipError::Duplicate { name: entries[pair[0]].name.clone() }),
            None => Ok(Self { bytes, entries, by_name }),
        }
    }

    /// The lines in front of the zip, nearly always one, without the last end. Refused is all that is not in the one form that artifacts have, byte for
    /// byte, so that every reader of zips sees the same members.
    pub fn head(&self) -> Result<&str, ZipError> {
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
