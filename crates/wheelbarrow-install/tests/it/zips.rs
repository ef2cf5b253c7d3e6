//! Zips as no honest tool writes them: every field of every member can be set to something else than the truth.

use std::io::Write;

/// A member, true until a field is changed.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub name: String,
    /// What its bytes are, compressed by `method` if that is 8.
    pub contents: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    /// The whole Unix mode.
    pub mode: u32,
    /// Another CRC-32 than that of the contents.
    pub crc32: Option<u32>,
    /// Another uncompressed size.
    pub size: Option<u32>,
    /// The place that the directory names, where no local header is written: there is one already.
    pub place: Option<u32>,
    /// Another name in the local header.
    pub local_name: Option<String>,
}

impl Member {
    pub(crate) fn new(name: &str, contents: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            contents: contents.into(),
            method: 8,
            flags: 0,
            mode: 0o100_644,
            crc32: None,
            size: None,
            place: None,
            local_name: None,
        }
    }

    /// With the flag that its name is UTF-8.
    pub(crate) fn utf8(self) -> Self {
        Self { flags: self.flags | 1 << 11, ..self }
    }

    /// The local header and what follows it.
    pub(crate) fn local(&self) -> Vec<u8> {
        let compressed = self.compressed();
        let name = self.local_name.as_ref().unwrap_or(&self.name);
        [b"PK\x03\x04", &self.common(&compressed, name)[..], name.as_bytes(), &compressed].concat()
    }

    fn compressed(&self) -> Vec<u8> {
        if self.method == 8 { deflate(&self.contents) } else { self.contents.clone() }
    }

    /// From the version needed to the length of the extra field, as both headers have it.
    fn common(&self, compressed: &[u8], name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for value in [20, self.flags, self.method, 0, 1 << 5 | 1] {
            out.extend(u16::to_le_bytes(value));
        }
        let length = |length: usize| u32::try_from(length).unwrap();
        out.extend(self.crc32.unwrap_or_else(|| libdeflater::crc32(&self.contents)).to_le_bytes());
        out.extend(length(compressed.len()).to_le_bytes());
        out.extend(self.size.unwrap_or_else(|| length(self.contents.len())).to_le_bytes());
        out.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        out.extend([0, 0]);
        out
    }
}

/// The zip of these members, in this order.
pub(crate) fn zip(members: &[Member]) -> Vec<u8> {
    zip_behind(b"", members)
}

/// The same behind a line, as artifacts are.
pub(crate) fn zip_behind(line: &[u8], members: &[Member]) -> Vec<u8> {
    let mut out = line.to_vec();
    let mut directory = Vec::new();
    for member in members {
        let place = member.place.unwrap_or_else(|| u32::try_from(out.len()).unwrap());
        if member.place.is_none() {
            out.extend(member.local());
        }
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(member.common(&member.compressed(), &member.name));
        directory.extend([0; 6]);
        directory.extend((member.mode << 16).to_le_bytes());
        directory.extend(place.to_le_bytes());
        directory.extend(member.name.as_bytes());
    }
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    let start = u32::try_from(out.len()).unwrap();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count);
    out.extend(count);
    out.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// Where the central directory of a zip without a comment begins.
pub(crate) fn directory_of(zip: &[u8]) -> usize {
    let field = zip.len() - 6;
    u32::from_le_bytes(zip[field..field + 4].try_into().unwrap()) as usize
}

fn deflate(contents: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(9));
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}
