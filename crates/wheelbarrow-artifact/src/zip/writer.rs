//! Writes a zip in one pass over its contents; the same contents give the same bytes.
//!
//! Members up to [`IN_MEMORY`] bytes are compressed in memory. The local headers of larger members are filled
//! in when their size is known. Stored files get their places before they are read, so they are copied and
//! hashed on all cores. There is no zip64: Python's zipimport reads it only from 3.13 on, and Python imports
//! from an artifact.

use std::borrow::Cow;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use sha2::Digest;

use super::crc::crc32;
use super::entry::{Entry, Method};
use super::error::WriteError;
use super::headers::{self, Header, LOCAL_HEADER};
use super::stored::{CopiedFile, PlacedFile, StoredFile, copy_all};
use super::time::DosTime;
use crate::manifest::{Member, MemberKind, Sha256};

/// Larger members stream.
const IN_MEMORY: u64 = 8 << 20;
#[cfg(feature = "deflate")]
const COMPRESSION_LEVEL: i32 = 6;
const CHUNK: usize = 1 << 20;

/// A zip that is being written to a file, from its current end on.
pub struct ZipWriter {
    file: BufWriter<std::fs::File>,
    position: u64,
    time: DosTime,
    directory: Vec<u8>,
    count: usize,
    members: Vec<Member>,
    #[cfg(feature = "deflate")]
    compressor: libdeflater::Compressor,
}

/// Contents that were deflated before, and what a zip and a manifest say of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deflated {
    pub bytes: Cow<'static, [u8]>,
    /// Bytes, inflated.
    pub size: u64,
    /// Of the contents, as all that follows.
    pub crc32: u32,
    pub sha256: Sha256,
}

impl ZipWriter {
    /// Writes to `file` from its start: first `shebang`, without its line end, then the zip.
    pub fn new(file: std::fs::File, shebang: &str, time: DosTime) -> Result<Self, WriteError> {
        let mut writer = Self::without_shebang(file, time);
        writer.put(shebang.as_bytes())?;
        writer.put(b"\n")?;
        Ok(writer)
    }

    /// Writes a plain zip to `file` from its start.
    pub fn without_shebang(file: std::fs::File, time: DosTime) -> Self {
        Self {
            file: BufWriter::with_capacity(CHUNK, file),
            position: 0,
            time,
            directory: Vec::new(),
            count: 0,
            members: Vec::new(),
            #[cfg(feature = "deflate")]
            compressor: libdeflater::Compressor::new(
                libdeflater::CompressionLvl::new(COMPRESSION_LEVEL).unwrap_or_default(),
            ),
        }
    }

    /// What was written so far.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Adds contents that are in memory, deflated if that makes them smaller.
    pub fn add(&mut self, path: &str, kind: MemberKind, contents: &[u8]) -> Result<(), WriteError> {
        let deflated = if kind == MemberKind::Link { None } else { self.deflate(contents) };
        let (method, raw) = match &deflated {
            Some(deflated) => (Method::Deflated, deflated.as_slice()),
            None => (Method::Stored, contents),
        };
        let header = Header {
            path,
            method,
            crc32: crc32(contents),
            compressed: raw.len() as u64,
            size: contents.len() as u64,
            time: self.time,
        };
        self.begin(&header)?;
        self.put(raw)?;
        self.finish_member(&header, kind, Sha256::of(contents))
    }

    /// None if that makes them no smaller.
    #[cfg(feature = "deflate")]
    fn deflate(&mut self, contents: &[u8]) -> Option<Vec<u8>> {
        let mut deflated = vec![0; self.compressor.deflate_compress_bound(contents.len())];
        let length = self.compressor.deflate_compress(contents, &mut deflated).ok()?;
        deflated.truncate(length);
        (length < contents.len()).then_some(deflated)
    }

    #[cfg(not(feature = "deflate"))]
    fn deflate(&mut self, _contents: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// Adds contents that were deflated before.
    pub fn add_deflated(
        &mut self,
        path: &str,
        kind: MemberKind,
        contents: &Deflated,
    ) -> Result<(), WriteError> {
        let Deflated { bytes, size, crc32, sha256 } = contents;
        let compressed = bytes.len() as u64;
        let header = Header {
            path,
            method: Method::Deflated,
            crc32: *crc32,
            compressed,
            size: *size,
            time: self.time,
        };
        self.begin(&header)?;
        self.put(bytes)?;
        self.finish_member(&header, kind, *sha256)
    }

    /// Adds a member of another zip as it stands there. It is none of [`Self::members`], since nobody hashes it.
    pub fn copy(&mut self, entry: &Entry, raw: &[u8]) -> Result<(), WriteError> {
        let Entry { name, method, crc32, size, .. } = entry;
        let compressed = raw.len() as u64;
        let header =
            Header { path: name, method: *method, crc32: *crc32, compressed, size: *size, time: self.time };
        let header_at = self.position;
        self.begin(&header)?;
        self.put(raw)?;
        self.list(&header, entry.kind(), header_at)
    }

    /// Adds what a file holds, compressed by `method`; gives its SHA-256.
    pub fn add_file(
        &mut self,
        path: &str,
        kind: MemberKind,
        method: Method,
        contents: &mut fs_err::File,
    ) -> Result<Sha256, WriteError> {
        let read_error = |source| WriteError::Read { path: path.to_owned(), source };
        if method == Method::Deflated && contents.metadata().map_err(read_error)?.len() <= IN_MEMORY {
            let mut bytes = Vec::new();
            contents.read_to_end(&mut bytes).map_err(read_error)?;
            self.add(path, kind, &bytes)?;
            return Ok(Sha256::of(&bytes));
        }
        self.stream(path, kind, method, contents)
    }

    /// Adds at most `size` bytes of a file as they are: somebody else may be writing to it.
    pub fn add_limited(
        &mut self,
        path: &str,
        kind: MemberKind,
        size: u64,
        contents: impl Read,
    ) -> Result<Sha256, WriteError> {
        self.stream(path, kind, Method::Stored, &mut contents.take(size))
    }

    /// Adds files as they are, on all cores; gives their SHA-256 in the same order. What was written is on its way to the
    /// disk then, so that a sync has little left to wait for.
    pub fn add_stored(&mut self, files: &[StoredFile<'_>]) -> Result<Vec<Sha256>, WriteError> {
        let mut placed = Vec::with_capacity(files.len());
        let mut position = self.position;
        for stored in files {
            let read_error = |source| WriteError::Read { path: stored.path.to_owned(), source };
            let size = stored.file.metadata().map_err(read_error)?.len();
            let header_at = position;
            let data_at = header_at + LOCAL_HEADER + stored.path.len() as u64;
            position = data_at + size;
            placed.push(PlacedFile { stored, size, header_at, data_at });
        }
        self.file.flush().map_err(WriteError::Write)?;
        let copied = copy_all(&placed, self.file.get_ref())?;
        let mut hashes = Vec::with_capacity(files.len());
        for (PlacedFile { stored, size, header_at, .. }, CopiedFile { crc32, sha256 }) in
            placed.into_iter().zip(copied)
        {
            let header = Header {
                path: stored.path,
                method: Method::Stored,
                crc32,
                compressed: size,
                size,
                time: self.time,
            };
            let local = local(&header)?;
            self.file.get_ref().write_all_at(&local, header_at).map_err(WriteError::Write)?;
            self.finish_member_at(&header, stored.kind, sha256, header_at)?;
            hashes.push(sha256);
        }
        self.file.seek(SeekFrom::Start(position)).map_err(WriteError::Write)?;
        self.position = position;
        Ok(hashes)
    }

    fn stream(
        &mut self,
        path: &str,
        kind: MemberKind,
        method: Method,
        contents: &mut dyn Read,
    ) -> Result<Sha256, WriteError> {
        let method = if cfg!(feature = "deflate") { method } else { Method::Stored };
        let header_at = self.position;
        let mut header = Header { path, method, crc32: 0, compressed: 0, size: 0, time: self.time };
        self.begin(&header)?;
        let data_at = self.position;
        let mut sum = flate2::Crc::new();
        let mut hash = sha2::Sha256::new();
        #[cfg(feature = "deflate")]
        let mut deflate =
            flate2::Compress::new(flate2::Compression::new(COMPRESSION_LEVEL.unsigned_abs()), false);
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = contents
                .read(&mut chunk)
                .map_err(|source| WriteError::Read { path: path.to_owned(), source })?;
            let fresh = &chunk[..length];
            sum.update(fresh);
            hash.update(fresh);
            header.size += length as u64;
            match method {
                #[cfg(feature = "deflate")]
                Method::Deflated => self.put_deflated(&mut deflate, fresh)?,
                _ => self.put(fresh)?,
            }
            if length == 0 {
                break;
            }
        }
        header.crc32 = sum.sum();
        header.compressed = self.position - data_at;
        let local = local(&header)?;
        self.file.flush().map_err(WriteError::Write)?;
        self.file.get_ref().write_all_at(&local, header_at).map_err(WriteError::Write)?;
        let sha256 = Sha256(hash.finalize().into());
        self.finish_member_at(&header, kind, sha256, header_at)?;
        Ok(sha256)
    }

    /// An empty `fresh` ends the stream.
    #[cfg(feature = "deflate")]
    fn put_deflated(&mut self, deflate: &mut flate2::Compress, fresh: &[u8]) -> Result<(), WriteError> {
        let flush =
            if fresh.is_empty() { flate2::FlushCompress::Finish } else { flate2::FlushCompress::None };
        let begin = deflate.total_in();
        let mut out = Vec::with_capacity(CHUNK);
        loop {
            out.clear();
            let done = usize::try_from(deflate.total_in() - begin).unwrap_or(usize::MAX);
            let status = deflate
                .compress_vec(&fresh[done..], &mut out, flush)
                .map_err(|error| WriteError::Write(std::io::Error::other(error)))?;
            self.put(&out)?;
            let consumed = deflate.total_in() - begin == fresh.len() as u64;
            if status == flate2::Status::StreamEnd || (consumed && !fresh.is_empty()) {
                return Ok(());
            }
        }
    }

    /// Adds the central directory; gives the file, flushed and not yet synced, and its length.
    pub fn finish(mut self) -> Result<(std::fs::File, u64), WriteError> {
        let offset = self.position;
        let directory = std::mem::take(&mut self.directory);
        self.put(&directory)?;
        let end = headers::end(self.count, directory.len(), offset);
        let end = end.map_err(|_| WriteError::TooLarge { path: "the central directory".to_owned() })?;
        self.put(&end)?;
        let file = self.file.into_inner().map_err(|error| WriteError::Write(error.into_error()))?;
        Ok((file, self.position))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file.write_all(bytes).map_err(WriteError::Write)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn begin(&mut self, header: &Header<'_>) -> Result<(), WriteError> {
        let local = local(header)?;
        self.put(&local)
    }

    fn finish_member(
        &mut self,
        header: &Header<'_>,
        kind: MemberKind,
        sha256: Sha256,
    ) -> Result<(), WriteError> {
        let length = LOCAL_HEADER + header.path.len() as u64 + header.compressed;
        self.finish_member_at(header, kind, sha256, self.position - length)
    }

    fn finish_member_at(
        &mut self,
        header: &Header<'_>,
        kind: MemberKind,
        sha256: Sha256,
        header_at: u64,
    ) -> Result<(), WriteError> {
        self.list(header, kind, header_at)?;
        self.members.push(Member { path: header.path.to_owned(), size: header.size, sha256, kind });
        Ok(())
    }

    /// Adds it to the central directory.
    fn list(&mut self, header: &Header<'_>, kind: MemberKind, header_at: u64) -> Result<(), WriteError> {
        let too_large = || WriteError::TooLarge { path: header.path.to_owned() };
        if self.count >= usize::from(u16::MAX) - 1 {
            return Err(too_large());
        }
        let central = header.central(kind, header_at).map_err(|_| too_large())?;
        self.directory.extend_from_slice(&central);
        self.count += 1;
        Ok(())
    }
}

fn local(header: &Header<'_>) -> Result<Vec<u8>, WriteError> {
    header.local().map_err(|_| WriteError::TooLarge { path: header.path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_grows_is_added_up_to_a_limit() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("site.zip");
        let file = fs_err::File::create(&path).unwrap().into_parts().0;
        let mut zip = ZipWriter::new(file, "#!", DosTime::FIRST).unwrap();
        let hash = zip.add_limited("grows", MemberKind::File, 5, std::io::repeat(b'a')).unwrap();
        assert_eq!(hash, Sha256::of(b"aaaaa"));
        zip.finish().unwrap();
        let archive = super::super::Archive::parse(fs_err::read(path).unwrap()).unwrap();
        assert_eq!(archive.read(archive.find("grows").unwrap(), 100).unwrap(), b"aaaaa");
    }

    /// As one by one, whatever is around them.
    #[test]
    fn stored_files_are_where_they_would_be_one_by_one() {
        let place = tempfile::tempdir().unwrap();
        let files: Vec<_> =
            [0, 1, 256 << 10, (2 << 20) + 7].into_iter().map(|size| vec![size as u8; size]).collect();
        let names: Vec<_> = (0..files.len()).map(|index| format!("wheels/{index}.whl")).collect();
        let paths: Vec<_> = (0..files.len()).map(|index| place.path().join(index.to_string())).collect();
        paths.iter().zip(&files).for_each(|(path, bytes)| fs_err::write(path, bytes).unwrap());
        let write = |name: &str, together: bool| {
            let path = place.path().join(name);
            let file = fs_err::File::create(&path).unwrap().into_parts().0;
            let mut zip = ZipWriter::new(file, "#!", DosTime::FIRST).unwrap();
            zip.add("first", MemberKind::File, b"first").unwrap();
            let kind = MemberKind::File;
            let stored = names.iter().zip(&paths).map(|(path, file)| StoredFile { path, kind, file });
            let stored: Vec<_> = stored.collect();
            let hashes = if together {
                zip.add_stored(&stored).unwrap()
            } else {
                let one = |stored: &StoredFile<'_>| {
                    let mut file = fs_err::File::open(stored.file).unwrap();
                    zip.add_file(stored.path, kind, Method::Stored, &mut file).unwrap()
                };
                stored.iter().map(one).collect()
            };
            let expected: Vec<_> = files.iter().map(|bytes| Sha256::of(bytes)).collect();
            assert_eq!(hashes, expected);
            zip.add("last", MemberKind::File, b"last").unwrap();
            zip.finish().unwrap();
            fs_err::read(path).unwrap()
        };
        assert!(write("together.zip", true) == write("alone.zip", false));
    }
}
