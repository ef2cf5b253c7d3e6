//! Files that become stored members, copied to their places on all cores.
//!
//! The largest come first, so that no core has one of them left at the end.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use sha2::Digest;
use wheelbarrow_base::start_writeback;
use wheelbarrow_wheel::order;

use super::error::WriteError;
use crate::in_parallel;
use crate::manifest::{MemberKind, Sha256};

/// What is copied at once stays in the processor's own memory between reading, hashing and writing.
const COPIED: usize = 256 << 10;

/// After so many bytes the disk gets to work. With less it is asked too often, with more it has much left at the end.
const AHEAD: u64 = 2 << 20;

/// A file that becomes a member as it is.
#[derive(Clone, Copy, Debug)]
pub struct StoredFile<'a> {
    /// Of the member.
    pub path: &'a str,
    pub kind: MemberKind,
    pub file: &'a std::path::Path,
}

/// A file and its place.
pub(super) struct PlacedFile<'a> {
    pub stored: &'a StoredFile<'a>,
    /// Bytes.
    pub size: u64,
    pub header_at: u64,
    pub data_at: u64,
}

/// What was copied.
pub(super) struct CopiedFile {
    pub crc32: u32,
    pub sha256: Sha256,
}

/// In the order of the files.
pub(super) fn copy_all(files: &[PlacedFile<'_>], out: &File) -> Result<Vec<CopiedFile>, WriteError> {
    let mut order: Vec<usize> = (0..files.len()).collect();
    order::sort_by_key(&mut order, |&index| std::cmp::Reverse(files[index].size));
    let copied = in_parallel(&order, |&index| (index, copy(&files[index], out)));
    let mut in_order: Vec<Option<CopiedFile>> = files.iter().map(|_| None).collect();
    for (index, copied) in copied {
        in_order[index] = Some(copied?);
    }
    Ok(in_order.into_iter().flatten().collect())
}

/// Writes from a position on, and has what is written go to the disk meanwhile. Whoever syncs hears of what fails there.
struct StoredData<'a> {
    out: &'a File,
    position: u64,
    /// All before this is on its way.
    begun: u64,
}

impl StoredData<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.write_all_at(bytes, self.position).map_err(WriteError::Write)?;
        self.position += bytes.len() as u64;
        if self.position - self.begun >= AHEAD { self.begin() } else { Ok(()) }
    }

    fn begin(&mut self) -> Result<(), WriteError> {
        start_writeback(self.out, self.begun..self.position).map_err(WriteError::Write)?;
        self.begun = self.position;
        Ok(())
    }
}

/// Copies all bytes of a file; those that are hashed are those that are written.
fn copy(placed: &PlacedFile<'_>, out: &File) -> Result<CopiedFile, WriteError> {
    let read_error = |source| WriteError::Read { path: placed.stored.path.to_owned(), source };
    let mut file = fs_err::File::open(placed.stored.file).map_err(read_error)?;
    let (mut sum, mut hash) = (flate2::Crc::new(), sha2::Sha256::new());
    let mut target = StoredData { out, position: placed.data_at, begun: placed.data_at };
    let end = placed.data_at + placed.size;
    let mut chunk = vec![0; COPIED];
    loop {
        let length = file.read(&mut chunk).map_err(read_error)?;
        if length == 0 {
            break;
        }
        // What follows has its place already.
        if target.position + length as u64 > end {
            return Err(read_error(io::Error::other("it grew while it was read")));
        }
        sum.update(&chunk[..length]);
        hash.update(&chunk[..length]);
        target.write(&chunk[..length])?;
    }
    if target.position != end {
        return Err(read_error(io::ErrorKind::UnexpectedEof.into()));
    }
    target.begin()?;
    Ok(CopiedFile { crc32: sum.sum(), sha256: Sha256(hash.finalize().into()) })
}

#[cfg(test)]
mod tests {
    use super::super::crc::crc32;
    use super::*;
    use crate::manifest::MemberKind;

    fn copy(file: &std::path::Path, size: u64, out: &File) -> Result<Vec<CopiedFile>, WriteError> {
        let stored = StoredFile { path: "wheels/a.whl", kind: MemberKind::File, file };
        copy_all(&[PlacedFile { stored: &stored, size, header_at: 0, data_at: 7 }], out)
    }

    /// Enough for the disk to get to work on the way.
    #[test]
    fn the_sums_are_those_of_what_was_written() {
        let (place, out) = (tempfile::tempdir().unwrap(), tempfile::tempfile().unwrap());
        let bytes: Vec<u8> = (0..AHEAD + 5).map(|at| (at % 251) as u8).collect();
        let path = place.path().join("a");
        fs_err::write(&path, &bytes).unwrap();
        let copied = copy(&path, bytes.len() as u64, &out).unwrap();
        let mut written = vec![0; bytes.len()];
        out.read_exact_at(&mut written, 7).unwrap();
        assert!(written == bytes);
        assert_eq!((copied[0].crc32, copied[0].sha256), (crc32(&bytes), Sha256::of(&bytes)));
    }

    #[test]
    fn a_file_that_grows_or_shrinks_meanwhile_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        fs_err::write(&path, b"wheel").unwrap();
        for size in [4, 6] {
            let failed = copy(&path, size, &tempfile::tempfile().unwrap());
            assert!(matches!(failed, Err(WriteError::Read { .. })), "{size}");
        }
        assert!(copy(&path, 5, &tempfile::tempfile().unwrap()).is_ok());
    }

    #[test]
    fn write_errors_are_reported() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        fs_err::write(&path, b"wheel").unwrap();
        let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(matches!(copy(&path, 5, full.file()), Err(WriteError::Write(_))));
    }
}
