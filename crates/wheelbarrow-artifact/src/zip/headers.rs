//! The headers of an artifact's zip, byte by byte: the writer writes them, and the reader accepts no others.
//!
//! Section numbers are those of APPNOTE 6.3.

use super::entry::Method;
use super::time::DosTime;
use crate::manifest::MemberKind;

/// "Version needed" 2.0, and "made by" the same on Unix (4.4.2, 4.4.3).
const VERSION: u16 = 20;
const MADE_BY: u16 = 3 << 8 | VERSION;
const FLAG_UTF8: u16 = 1 << 11;

/// Bytes of a local header without the name (4.3.7).
pub(super) const LOCAL_HEADER: u64 = 30;

/// More than fits into a zip without zip64.
#[derive(Debug)]
pub(super) struct TooLarge;

/// What both headers of a member say.
pub(super) struct Header<'a> {
    pub path: &'a str,
    pub method: Method,
    pub crc32: u32,
    pub compressed: u64,
    pub size: u64,
    pub time: DosTime,
}

impl Header<'_> {
    /// In front of the member (4.3.7).
    pub(super) fn local(&self) -> Result<Vec<u8>, TooLarge> {
        let mut local = b"PK\x03\x04".to_vec();
        self.common(&mut local)?;
        local.extend_from_slice(self.path.as_bytes());
        Ok(local)
    }

    /// In the central directory, for a member whose local header is at `header_at` (4.3.12).
    pub(super) fn central(&self, kind: MemberKind, header_at: u64) -> Result<Vec<u8>, TooLarge> {
        let mode: u32 = match kind {
            MemberKind::File => 0o100_644,
            MemberKind::Executable => 0o100_755,
            MemberKind::Link => 0o120_777,
        };
        let mut central = b"PK\x01\x02".to_vec();
        central.extend_from_slice(&MADE_BY.to_le_bytes());
        self.common(&mut central)?;
        central.extend_from_slice(&[0; 6]);
        central.extend_from_slice(&(mode << 16).to_le_bytes());
        central.extend_from_slice(&fitting(header_at)?);
        central.extend_from_slice(self.path.as_bytes());
        Ok(central)
    }

    /// What local and central headers share: from the version needed to the length of the extra field.
    fn common(&self, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        let flags = if self.path.is_ascii() { 0 } else { FLAG_UTF8 };
        let method: u16 = match self.method {
            Method::Stored => 0,
            Method::Deflated => 8,
        };
        for value in [VERSION, flags, method, self.time.time, self.time.date] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&self.crc32.to_le_bytes());
        out.extend_from_slice(&fitting(self.compressed)?);
        out.extend_from_slice(&fitting(self.size)?);
        let length = u16::try_from(self.path.len()).map_err(|_| TooLarge)?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        Ok(())
    }
}

/// The end of a zip whose central directory has `size` bytes and begins at `offset` (4.3.16).
pub(super) fn end(count: usize, size: usize, offset: u64) -> Result<Vec<u8>, TooLarge> {
    let count = u16::try_from(count).ok().filter(|&count| count != u16::MAX).ok_or(TooLarge)?;
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend_from_slice(&count.to_le_bytes());
    end.extend_from_slice(&count.to_le_bytes());
    end.extend_from_slice(&fitting(size as u64)?);
    end.extend_from_slice(&fitting(offset)?);
    end.extend_from_slice(&[0, 0]);
    Ok(end)
}

/// Four bytes; all of their bits set announce zip64.
fn fitting(value: u64) -> Result<[u8; 4], TooLarge> {
    u32::try_from(value).ok().filter(|&value| value != u32::MAX).map(u32::to_le_bytes).ok_or(TooLarge)
}
