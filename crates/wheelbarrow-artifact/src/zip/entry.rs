//! A member's entry in the central directory.

use std::ops::Range;

use super::error::ZipError;
use super::time::DosTime;
use crate::manifest::MemberKind;

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

    /// Refuses contents with another CRC-32, which is `found`.
    pub(crate) fn check_crc32(&self, found: u32) -> Result<(), ZipError> {
        if found == self.crc32 {
            return Ok(());
        }
        Err(ZipError::Crc { name: self.name.clone(), expected: self.crc32, found })
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
