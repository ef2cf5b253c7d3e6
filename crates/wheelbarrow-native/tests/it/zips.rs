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
    /// Another name in both headers: bytes that are no text.
    pub raw_name: Option<Vec<u8>>,
    /// Other flags in the local header.
    pub local_flags: Option<u16>,
    /// Another compressed and uncompressed size in the local header.
    pub local_sizes: Option<[u32; 2]>,
    /// Another CRC-32 in the local header.
    pub local_crc32: Option<u32>,
    /// The system that the member was made on; 3 is Unix.
    pub system: u8,
    /// What follows the compressed bytes, as a data descriptor does.
    pub behind: Vec<u8>,
    /// Other compressed bytes than those of the contents.
    pub deflated: Option<Vec<u8>>,
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
            raw_name: None,
            local_flags: None,
            local_sizes: None,
            local_crc32: None,
            system: 3,
            behind: Vec::new(),
            deflated: None,
        }
    }

    /// With the flag that its name is UTF-8.
    pub(crate) fn utf8(self) -> Self {
        Self { flags: self.flags | 1 << 11, ..self }
    }

    /// The local header and what follows it.
    pub(crate) fn local(&self) -> Vec<u8> {
        let compressed = self.compressed();
        let name = self.local_name.as_ref().map_or_else(|| self.name_bytes(), |name| name.as_bytes());
        let mut header = self.common(&compressed, name);
        let mut set = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        self.local_flags.iter().for_each(|flags| set(2, &flags.to_le_bytes()));
        self.local_crc32.iter().for_each(|crc32| set(10, &crc32.to_le_bytes()));
        if let Some([compressed, size]) = self.local_sizes {
            set(14, &compressed.to_le_bytes());
            set(18, &size.to_le_bytes());
        }
        [b"PK\x03\x04", &header[..], name, &compressed, &self.behind].concat()
    }

    fn name_bytes(&self) -> &[u8] {
        self.raw_name.as_deref().unwrap_or(self.name.as_bytes())
    }

    fn compressed(&self) -> Vec<u8> {
        match &self.deflated {
            Some(deflated) => deflated.clone(),
            None if self.method == 8 => deflate(&self.contents),
            None => self.contents.clone(),
        }
    }

    /// From the version needed to the length of the extra field, as both headers have it.
    fn common(&self, compressed: &[u8], name: &[u8]) -> Vec<u8> {
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
    zip_with(line, members, b"")
}

/// The same with a comment behind the end record.
pub(crate) fn zip_with(line: &[u8], members: &[Member], comment: &[u8]) -> Vec<u8> {
    let mut out = line.to_vec();
    let mut directory = Vec::new();
    for member in members {
        let place = member.place.unwrap_or_else(|| u32::try_from(out.len()).unwrap());
        if member.place.is_none() {
            out.extend(member.local());
        }
        directory.extend(b"PK\x01\x02\x14");
        directory.push(member.system);
        directory.extend(member.common(&member.compressed(), member.name_bytes()));
        directory.extend([0; 6]);
        directory.extend((member.mode << 16).to_le_bytes());
        directory.extend(place.to_le_bytes());
        directory.extend(member.name_bytes());
    }
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    let start = u32::try_from(out.len()).unwrap();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count);
    out.extend(count);
    out.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend(u16::try_from(comment.len()).unwrap().to_le_bytes());
    out.extend(comment);
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
