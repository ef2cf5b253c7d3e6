//! The one form that an artifact has: `docs/reference/format.md`, "The file".
//!
//! Readers of zips differ in what they make of comments, zip64 records, bytes in front, between and behind, and of headers that
//! disagree. So that all of them see the same members, an artifact is byte for byte what the writer makes of its members.

use super::entry::Entry;
use super::error::ZipError;
use super::headers::{self, Header};

/// No kernel reads more of a first line than 256 bytes.
const LONGEST_LINE: usize = 4096;

/// Refuses all but the one form; gives the first line, without its end.
pub(super) fn check<'a>(bytes: &'a [u8], entries: &[Entry]) -> Result<&'a str, ZipError> {
    let line = first_line(bytes)?;
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

fn first_line(bytes: &[u8]) -> Result<&str, ZipError> {
    let begin = &bytes[..bytes.len().min(LONGEST_LINE)];
    let line = begin.iter().position(|byte| *byte == b'\n').map(|end| &begin[..end]);
    line.and_then(|line| std::str::from_utf8(line).ok()).filter(|line| line.starts_with("#!")).ok_or_else(
        || ZipError::Form { what: "it does not begin with a line like #!/usr/bin/env python3".to_owned() },
    )
}

fn header(entry: &Entry) -> Header<'_> {
    let Entry { name, method, crc32, size, time, .. } = entry;
    let compressed = entry.data.len() as u64;
    Header { path: name, method: *method, crc32: *crc32, compressed, size: *size, time: *time }
}
