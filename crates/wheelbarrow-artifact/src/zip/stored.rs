//! Files that become members as they are, copied to their places on all cores.
//!
//! The largest come first, so that no core is left with one at the end.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};

use sha2::Digest;

use super::writer::{StoredFile, WriteError};
use crate::in_parallel;
use crate::manifest::Sha256;

/// What is copied at once stays in the processor's own memory between reading, hashing and writing.
const COPIED: usize = 256 << 10;

/// After so many bytes the disk gets to work.
const SYNCED: u64 = 32 << 20;

/// A file and its place.
pub(super) struct Placed<'a> {
    pub stored: &'a StoredFile<'a>,
    /// Bytes.
    pub size: u64,
    pub header_at: u64,
    pub data_at: u64,
}

/// What was copied.
pub(super) struct Copied {
    pub crc32: u32,
    pub sha256: Sha256,
}

/// In the order of the files.
pub(super) fn copy_all(files: &[Placed<'_>], out: &File) -> Result<Vec<Copied>, WriteError> {
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(files[index].size));
    let (copied, synced) = std::thread::scope(|scope| {
        let (due, waiting) = mpsc::sync_channel(1);
        let syncing = scope.spawn(|| sync(out, waiting));
        let target = Target { out, written: AtomicU64::new(0), due };
        let copied = in_parallel(&order, |&index| (index, copy(&files[index], &target)));
        // Ends the other thread.
        drop(target);
        (copied, syncing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let mut in_order: Vec<Option<Copied>> = files.iter().map(|_| None).collect();
    for (index, copied) in copied {
        in_order[index] = Some(copied?);
    }
    synced.map_err(WriteError::Write)?;
    Ok(in_order.into_iter().flatten().collect())
}

/// The kernel tells of a write that failed once: a sync at the end would not hear of it again.
fn sync(out: &File, due: Receiver<()>) -> io::Result<()> {
    due.into_iter().try_for_each(|()| out.sync_data())
}

struct Target<'a> {
    out: &'a File,
    /// Bytes.
    written: AtomicU64,
    /// Is told when enough was written.
    due: SyncSender<()>,
}

impl Target<'_> {
    fn write(&self, bytes: &[u8], position: u64) -> Result<(), WriteError> {
        self.out.write_all_at(bytes, position).map_err(WriteError::Write)?;
        let length = bytes.len() as u64;
        let before = self.written.fetch_add(length, Ordering::Relaxed);
        if (before + length) / SYNCED > before / SYNCED {
            // One that is waiting already will do for this too.
            let _ = self.due.try_send(());
        }
        Ok(())
    }
}

/// Copies all bytes of a file; those that are hashed are those that are written.
fn copy(placed: &Placed<'_>, target: &Target<'_>) -> Result<Copied, WriteError> {
    let read_error = |source| WriteError::Read { path: placed.stored.path.to_owned(), source };
    let mut file = fs_err::File::open(placed.stored.file).map_err(read_error)?;
    let (mut sum, mut hash) = (crc32fast::Hasher::new(), sha2::Sha256::new());
    let (mut position, end) = (placed.data_at, placed.data_at + placed.size);
    let mut chunk = vec![0; COPIED];
    loop {
        let length = file.read(&mut chunk).map_err(read_error)?;
        if length == 0 {
            break;
        }
        // What follows has its place already.
        if position + length as u64 > end {
            return Err(read_error(io::Error::other("it grew while it was read")));
        }
        sum.update(&chunk[..length]);
        hash.update(&chunk[..length]);
        target.write(&chunk[..length], position)?;
        position += length as u64;
    }
    if position != end {
        return Err(read_error(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Copied { crc32: sum.finalize(), sha256: Sha256(hash.finalize().into()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::MemberKind;

    fn copy(file: &std::path::Path, size: u64, out: &File) -> Result<Vec<Copied>, WriteError> {
        let stored = StoredFile { path: "wheels/a.whl", kind: MemberKind::File, file };
        copy_all(&[Placed { stored: &stored, size, header_at: 0, data_at: 7 }], out)
    }

    /// Enough for a sync on the way.
    #[test]
    fn the_sums_are_those_of_what_was_written() {
        let (place, out) = (tempfile::tempdir().unwrap(), tempfile::tempfile().unwrap());
        let bytes: Vec<u8> = (0..SYNCED + 5).map(|at| (at % 251) as u8).collect();
        let path = place.path().join("a");
        fs_err::write(&path, &bytes).unwrap();
        let copied = copy(&path, bytes.len() as u64, &out).unwrap();
        let mut written = vec![0; bytes.len()];
        out.read_exact_at(&mut written, 7).unwrap();
        assert!(written == bytes);
        assert_eq!((copied[0].crc32, copied[0].sha256), (crc32fast::hash(&bytes), Sha256::of(&bytes)));
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
    fn what_cannot_be_written_or_synced_is_told() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        fs_err::write(&path, b"wheel").unwrap();
        let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(matches!(copy(&path, 5, full.file()), Err(WriteError::Write(_))));
        // A pipe takes bytes, and cannot be synced.
        let (_reader, writer) = std::io::pipe().unwrap();
        let (due, waiting) = mpsc::sync_channel(1);
        due.send(()).unwrap();
        drop(due);
        assert!(sync(&File::from(std::os::fd::OwnedFd::from(writer)), waiting).is_err());
    }
}
