//! The directory of a zip: end record, central directory, and the local headers it points to.

use super::entry::{Entry, Method};
use super::error::ZipError;
use super::time::DosTime;
use wheelbarrow_wheel::order;

const END: u32 = 0x0605_4b50;
const END_LENGTH: usize = 22;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const ZIP64_LOCATOR_LENGTH: usize = 20;
const ZIP64_END: u32 = 0x0606_4b50;
const ZIP64_END_LENGTH: usize = 56;
const CENTRAL: u32 = 0x0201_4b50;
const CENTRAL_LENGTH: usize = 46;
const LOCAL: u32 = 0x0403_4b50;
const LOCAL_LENGTH: usize = 30;

const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_UTF8: u16 = 1 << 11;
/// Encryption, patches, strong encryption, masked headers (4.4.4).
const FLAGS_REFUSED: u16 = 1 | 1 << 5 | 1 << 6 | 1 << 13;

/// Deflate's best: 258 bytes out of two bits, a little over 1032 to 1.
const MOST_INFLATION: u64 = 1033;

/// Where the central directory is.
struct End {
    count: u64,
    size: u64,
    offset: u64,
    /// What every offset must be moved by: bytes put in front of the zip that its offsets do not count.
    shift: u64,
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, ZipError> {
    let end = find_end(bytes)?;
    let start = index(end.offset + end.shift)?;
    let directory = slice(bytes, start, index(end.size)?, "the central directory")?;
    let mut entries = Vec::with_capacity(index(end.count.min(end.size / CENTRAL_LENGTH as u64))?);
    let mut spans = Vec::with_capacity(entries.capacity());
    let mut rest = directory;
    while !rest.is_empty() {
        let central = CentralHeader::read(&mut rest)?;
        let (entry, span) = central.locate(bytes, start, end.shift)?;
        spans.push((span, entries.len()));
        entries.push(entry);
    }
    if entries.len() as u64 != end.count {
        return Err(damaged(format!("it names {} members and has {}", end.count, entries.len())));
    }
    refuse_overlaps(&mut spans, &entries)?;
    Ok(entries)
}

/// Section 4.3.16, and 4.3.14 and 4.3.15 where there is a zip64 end.
fn find_end(bytes: &[u8]) -> Result<End, ZipError> {
    let first = bytes.len().saturating_sub(END_LENGTH + usize::from(u16::MAX));
    let last = bytes.len().checked_sub(END_LENGTH).ok_or(ZipError::NoEnd)?;
    let is_whole =
        |position: usize| position + END_LENGTH + usize::from(u16_at(bytes, position + 20)) == bytes.len();
    let position = (first..=last).rev().find(|&position| u32_at(bytes, position) == END);
    let position = position.filter(|&position| is_whole(position)).ok_or(ZipError::NoEnd)?;
    // Readers differ in which of them they take.
    if bytes[position + 4..].windows(4).any(|bytes| u32_at(bytes, 0) == END)
        || (first..position).any(|position| u32_at(bytes, position) == END && is_whole(position))
    {
        return Err(damaged("it has several ends of central directory".to_owned()));
    }
    if u32_at(bytes, position + 4) != 0 || u16_at(bytes, position + 8) != u16_at(bytes, position + 10) {
        return Err(several_disks());
    }
    let mut end = End {
        count: u64::from(u16_at(bytes, position + 10)),
        size: u64::from(u32_at(bytes, position + 12)),
        offset: u64::from(u32_at(bytes, position + 16)),
        shift: 0,
    };
    let behind = match find_zip64_end(bytes, position)? {
        Some((zip64, at)) => {
            // Readers differ in which of the two they believe.
            let agrees = |old: u64, new, none: u64| old == new || old == none;
            if !agrees(end.count, zip64.count, u64::from(u16::MAX))
                || !agrees(end.size, zip64.size, u64::from(u32::MAX))
                || !agrees(end.offset, zip64.offset, u64::from(u32::MAX))
            {
                return Err(damaged("its two ends of central directory disagree".to_owned()));
            }
            end = zip64;
            at
        }
        None => position,
    };
    let counted = end.offset.checked_add(end.size).ok_or_else(|| damaged("its sizes overflow".to_owned()))?;
    end.shift = (behind as u64)
        .checked_sub(counted)
        .ok_or_else(|| ZipError::Outside { what: "the central directory".to_owned() })?;
    Ok(end)
}

fn find_zip64_end(bytes: &[u8], position: usize) -> Result<Option<(End, usize)>, ZipError> {
    let Some(locator) = position.checked_sub(ZIP64_LOCATOR_LENGTH) else { return Ok(None) };
    if u32_at(bytes, locator) != ZIP64_LOCATOR {
        return Ok(None);
    }
    // The record is right in front of its locator unless it has an extensible part, which nobody writes.
    let at = locator
        .checked_sub(ZIP64_END_LENGTH)
        .filter(|&at| u32_at(bytes, at) == ZIP64_END && u64_at(bytes, at + 4) == ZIP64_END_LENGTH as u64 - 12)
        .ok_or_else(|| damaged("its zip64 end is not at its locator".to_owned()))?;
    let end = End {
        count: u64_at(bytes, at + 32),
        size: u64_at(bytes, at + 40),
        offset: u64_at(bytes, at + 48),
        shift: 0,
    };
    // The disks of the record, its count on this disk, the locator's disk, and the number of all.
    if u64_at(bytes, at + 16) != 0
        || u64_at(bytes, at + 24) != end.count
        || u32_at(bytes, locator + 4) != 0
        || u32_at(bytes, locator + 16) > 1
    {
        return Err(several_disks());
    }
    if end.offset.checked_add(end.size) != Some(u64_at(bytes, locator + 8)) {
        return Err(damaged("its zip64 end is not at the offset of the locator".to_owned()));
    }
    Ok(Some((end, at)))
}

/// A file header of the central directory, section 4.3.12.
struct CentralHeader<'a> {
    flags: u16,
    method: u16,
    crc32: u32,
    compressed: u64,
    size: u64,
    raw_name: &'a [u8],
    name: String,
    mode: u32,
    time: DosTime,
    header: u64,
}

impl<'a> CentralHeader<'a> {
    fn read(rest: &mut &'a [u8]) -> Result<Self, ZipError> {
        let bytes = *rest;
        if bytes.len() < CENTRAL_LENGTH || u32_at(bytes, 0) != CENTRAL {
            return Err(damaged("the central directory holds something else than members".to_owned()));
        }
        let lengths = [28, 30, 32].map(|at| usize::from(u16_at(bytes, at)));
        let raw_name = slice(bytes, CENTRAL_LENGTH, lengths[0], "a member's name")?;
        let extra = slice(bytes, CENTRAL_LENGTH + lengths[0], lengths[1], "a member's extra field")?;
        slice(bytes, CENTRAL_LENGTH + lengths[0] + lengths[1], lengths[2], "a member's comment")?;
        *rest = &bytes[CENTRAL_LENGTH + lengths.iter().sum::<usize>()..];
        let flags = u16_at(bytes, 8);
        // The upper byte of "version made by": 3 is Unix, 19 is OS X; others have no Unix mode (4.4.2).
        let unix = matches!(bytes[5], 3 | 19);
        let mut central = Self {
            flags,
            method: u16_at(bytes, 10),
            crc32: u32_at(bytes, 16),
            compressed: u64::from(u32_at(bytes, 20)),
            size: u64::from(u32_at(bytes, 24)),
            raw_name,
            name: decode_name(raw_name, flags & FLAG_UTF8 != 0)?,
            mode: if unix { u32_at(bytes, 38) >> 16 } else { 0 },
            time: DosTime { date: u16_at(bytes, 14), time: u16_at(bytes, 12) },
            header: u64::from(u32_at(bytes, 42)),
        };
        central.read_zip64(extra)?;
        Ok(central)
    }

    /// Section 4.5.3: only the values that do not fit stand in the extra field, in this order.
    fn read_zip64(&mut self, mut extra: &[u8]) -> Result<(), ZipError> {
        let mut wanted: Vec<&mut u64> = [&mut self.size, &mut self.compressed, &mut self.header]
            .into_iter()
            .filter(|value| **value == u64::from(u32::MAX))
            .collect();
        while extra.len() >= 4 && !wanted.is_empty() {
            let length = usize::from(u16_at(extra, 2));
            let body = slice(extra, 4, length, "an extra field")?;
            if u16_at(extra, 0) == 1 {
                for (place, value) in wanted.drain(..).zip(body.chunks_exact(8)) {
                    *place = u64_at(value, 0);
                }
            }
            extra = &extra[4 + length..];
        }
        Ok(())
    }

    /// Checks the local header (4.3.7) and gives the member with the bytes that it takes, header included.
    fn locate(self, bytes: &[u8], directory: usize, shift: u64) -> Result<(Entry, (usize, usize)), ZipError> {
        let outside = || ZipError::Outside { what: format!("member {:?}", self.name) };
        if self.flags & FLAGS_REFUSED != 0 {
            return Err(ZipError::Encrypted { name: self.name });
        }
        let method = match self.method {
            0 => Method::Stored,
            8 => Method::Deflated,
            method => return Err(ZipError::Method { name: self.name, method }),
        };
        let header =
            self.header.checked_add(shift).and_then(|at| usize::try_from(at).ok()).ok_or_else(outside)?;
        let local = bytes.get(header..).filter(|rest| rest.len() >= LOCAL_LENGTH).ok_or_else(outside)?;
        let disagree = |what| ZipError::Disagree { name: self.name.clone(), what };
        if u32_at(local, 0) != LOCAL {
            return Err(disagree("where it stands"));
        }
        if u16_at(local, 8) != self.method {
            return Err(disagree("the method"));
        }
        if u16_at(local, 6) & FLAGS_REFUSED != 0 {
            return Err(disagree("encryption"));
        }
        if !self.raw_name.is_ascii() && (u16_at(local, 6) ^ self.flags) & FLAG_UTF8 != 0 {
            return Err(disagree("the encoding of the name"));
        }
        let name_length = usize::from(u16_at(local, 26));
        if local.get(LOCAL_LENGTH..LOCAL_LENGTH + name_length) != Some(self.raw_name) {
            return Err(disagree("the name"));
        }
        self.check_local_sizes(local)?;
        let start = header + LOCAL_LENGTH + name_length + usize::from(u16_at(local, 28));
        let end = usize::try_from(self.compressed).ok().and_then(|size| start.checked_add(size));
        let end = end.filter(|&end| end <= directory).ok_or_else(outside)?;
        self.check_inflation(method)?;
        let Self { name, crc32, size, mode, time, .. } = self;
        Ok((Entry { name, method, crc32, size, mode, time, data: start..end }, (header, end)))
    }

    /// With a data descriptor the local header may leave out what only the descriptor behind the data has.
    fn check_local_sizes(&self, local: &[u8]) -> Result<(), ZipError> {
        let descriptor = u16_at(local, 6) & FLAG_DESCRIPTOR != 0;
        let differs = |at, expected: u64| {
            let value = u64::from(u32_at(local, at));
            value != expected && value != u64::from(u32::MAX) && !(descriptor && value == 0)
        };
        if differs(18, self.compressed) || differs(22, self.size) {
            return Err(ZipError::Disagree { name: self.name.clone(), what: "the size" });
        }
        let crc32 = u32_at(local, 14);
        if crc32 != self.crc32 && !(descriptor && crc32 == 0) {
            return Err(ZipError::Disagree { name: self.name.clone(), what: "the CRC-32" });
        }
        Ok(())
    }

    fn check_inflation(&self, method: Method) -> Result<(), ZipError> {
        let possible = match method {
            Method::Stored => self.size == self.compressed,
            Method::Deflated => self.size / MOST_INFLATION <= self.compressed,
        };
        if possible { Ok(()) } else { Err(ZipError::Bomb { name: self.name.clone(), size: self.size }) }
    }
}

fn refuse_overlaps(spans: &mut [((usize, usize), usize)], entries: &[Entry]) -> Result<(), ZipError> {
    order::sort(spans);
    for pair in spans.windows(2) {
        let ((_, end), first) = pair[0];
        let ((start, _), second) = pair[1];
        if start < end {
            let name = |index: usize| entries[index].name.clone();
            return Err(ZipError::Overlap { first: name(first), second: name(second) });
        }
    }
    Ok(())
}

/// Appendix D: UTF-8 where the flag says so, else code page 437.
fn decode_name(raw: &[u8], utf8: bool) -> Result<String, ZipError> {
    if raw.contains(&0) {
        return Err(damaged(format!("the name {:?} has a NUL in it", String::from_utf8_lossy(raw))));
    }
    if utf8 || raw.is_ascii() {
        return String::from_utf8(raw.to_vec())
            .map_err(|_| damaged(format!("the name {:?} is not UTF-8", String::from_utf8_lossy(raw))));
    }
    Ok(raw
        .iter()
        .map(|&byte| if byte < 128 { char::from(byte) } else { CP437[usize::from(byte - 128)] })
        .collect())
}

/// The upper half of code page 437.
const CP437: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', 'É', 'æ', 'Æ', 'ô', 'ö',
    'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', 'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐',
    '¬', '½', '¼', '¡', '«', '»', '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛',
    '┐', '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧', '╨', '╤', '╥', '╙',
    '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀', 'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ',
    'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²',
    '■', '\u{a0}',
];

fn several_disks() -> ZipError {
    damaged("it is a part of a zip on several disks".to_owned())
}

fn damaged(what: String) -> ZipError {
    ZipError::Damaged { what }
}

fn index(value: u64) -> Result<usize, ZipError> {
    usize::try_from(value).map_err(|_| damaged("a size does not fit this machine".to_owned()))
}

fn slice<'a>(bytes: &'a [u8], start: usize, length: usize, what: &str) -> Result<&'a [u8], ZipError> {
    let end = start.checked_add(length);
    end.and_then(|end| bytes.get(start..end)).ok_or_else(|| ZipError::Outside { what: what.to_owned() })
}

// The callers have checked that the bytes are there.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
