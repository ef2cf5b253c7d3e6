//! The exact form of an artifact: `docs/reference/format.md`, "The file".
//!
//! Readers of zips treat comments, zip64 records, bytes before, between and after members, and inconsistent
//! headers differently. So that all readers see the same members, an artifact has exactly the bytes that the
//! writer makes of its members.

use super::entry::Entry;
use super::error::ZipError;
use super::headers::{self, Header};

/// Bytes. No kernel reads more of a first line than 256 of them; a script for a host without Python has more lines.
const LONGEST_HEAD: usize = 4096;

/// Refuses all but the one form; gives the lines in front of the zip, without the last end.
pub(super) fn check<'a>(bytes: &'a [u8], entries: &[Entry]) -> Result<&'a str, ZipError> {
    let line = head(bytes, entries)?;
    let mut position = line.len() + 1;
    let mut behind = Vec::new();
    for entry in entries {
        let header = header(entry);
        let unlike =
            || ZipError::Form { what: format!("member {:?} does not begin at its offset", entry.name) };
        let local = header.local().map_err(|_| unlike())?;
        let data = position + local.len();
        if entry.data.start != data || bytes.get(position..data) != Some(&local) {
            return Err(unlike());
        }
        behind.extend(header.central(entry.kind(), position as u64).map_err(|_| unlike())?);
        position = entry.data.end;
    }
    let unlike = || ZipError::Form {
        what: "behind the last member there is something else than the directory of all".to_owned(),
    };
    behind.extend(headers::end(entries.len(), behind.len(), position as u64).map_err(|_| unlike())?);
    if bytes[position..] == behind { Ok(line) } else { Err(unlike()) }
}

fn head<'a>(bytes: &'a [u8], entries: &[Entry]) -> Result<&'a str, ZipError> {
    // A header that is too long for this, or elsewhere, is not found behind the head.
    let begin =
        |entry: &Entry| entry.data.start.saturating_sub(headers::LOCAL_HEADER as usize + entry.name.len());
    let first = entries.first().map_or(0, begin);
    let head = bytes.get(..first).filter(|head| head.len() <= LONGEST_HEAD);
    let head = head.and_then(|head| head.strip_suffix(b"\n"));
    head.and_then(|head| std::str::from_utf8(head).ok())
        .filter(|head| head.starts_with("#!") && !head.contains('\0'))
        .ok_or_else(|| ZipError::Form {
            what: "it does not begin with a line like #!/usr/bin/env python3".to_owned(),
        })
}

fn header(entry: &Entry) -> Header<'_> {
    let Entry { name, method, crc32, size, time, .. } = entry;
    let compressed = entry.data.len() as u64;
    Header { path: name, method: *method, crc32: *crc32, compressed, size: *size, time: *time }
}
