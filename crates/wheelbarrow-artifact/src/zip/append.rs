//! A small member put behind all others, in a zip that stays as it is otherwise.

use std::ops::Range;

use super::directory::{self, CENTRAL_LENGTH, LOCAL_LENGTH};
use super::{Entry, ZipError};

const VERSION: [u8; 2] = 20_u16.to_le_bytes();
/// "Version made by" 2.0 on Unix (APPNOTE 4.4.2).
const MADE_BY: [u8; 2] = (3_u16 << 8 | 20).to_le_bytes();
/// `0100644`, in the upper half.
const MODE: u32 = 0o100_644 << 16;

/// What a zip with one member more is made of: this part of its bytes, and then these.
pub(super) struct Appended {
    pub(super) kept: Range<usize>,
    pub(super) tail: Vec<u8>,
}

/// Puts the member, stored, behind all others; one of that name which stands there goes. Its time is that of the member
/// before it. None of it for a zip that our own writer would not write: with bytes in front that its offsets do not count,
/// zip64, or a member of that name between others.
pub(super) fn append(
    bytes: &[u8],
    entries: &[Entry],
    name: &str,
    contents: &[u8],
) -> Result<Appended, ZipError> {
    let strange = |what: &str| ZipError::Damaged { what: what.to_owned() };
    let end = directory::find_end(bytes)?;
    let records = directory::records(bytes, &end)?;
    let too_large = || strange("it is too large for one member more without zip64");
    let directory_start = u32::try_from(end.offset).map_err(|_| too_large())? as usize;
    if end.shift != 0 {
        return Err(strange("its offsets do not count what stands in front of it"));
    }
    let mut kept = 0..directory_start;
    if let Some(entry) = entries.iter().find(|entry| entry.name == name) {
        if entry.data.end != directory_start {
            return Err(strange(&format!("{name} is not its last member")));
        }
        kept.end = entry.data.start - LOCAL_LENGTH - name.len();
        if !bytes[kept.end..].starts_with(b"PK\x03\x04") {
            return Err(strange(&format!("{name} has an extra field")));
        }
    }
    let mut others = Vec::new();
    let mut time = [0; 4];
    let mut count: u16 = 1;
    for record in records {
        if &record[CENTRAL_LENGTH..CENTRAL_LENGTH + name.len().min(record.len() - CENTRAL_LENGTH)]
            != name.as_bytes()
        {
            time.copy_from_slice(&record[12..16]);
            others.extend_from_slice(record);
            count = count.checked_add(1).ok_or_else(too_large)?;
        }
    }
    let header = {
        let size = u32::try_from(contents.len()).map_err(|_| too_large())?.to_le_bytes();
        let length = u16::try_from(name.len()).map_err(|_| too_large())?.to_le_bytes();
        let sum = crc32fast::hash(contents).to_le_bytes();
        [&VERSION[..], &[0; 4], &time, &sum, &size, &size, &length, &[0; 2]].concat()
    };
    let at = u32::try_from(kept.end).map_err(|_| too_large())?;
    let mut tail = [b"PK\x03\x04", &header[..], name.as_bytes(), contents].concat();
    let offset = u32::try_from(kept.end + tail.len()).map_err(|_| too_large())?;
    let mine = [
        b"PK\x01\x02",
        &MADE_BY[..],
        &header,
        &[0; 6],
        &MODE.to_le_bytes(),
        &at.to_le_bytes(),
        name.as_bytes(),
    ];
    others.extend_from_slice(&mine.concat());
    tail.extend_from_slice(&others);
    let size = u32::try_from(others.len()).map_err(|_| too_large())?;
    let count = count.to_le_bytes();
    tail.extend_from_slice(
        &[b"PK\x05\x06\0\0\0\0", &count[..], &count, &size.to_le_bytes(), &offset.to_le_bytes(), &[0; 2]]
            .concat(),
    );
    Ok(Appended { kept, tail })
}
