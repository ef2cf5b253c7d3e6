//! Inflates members and checks their CRC-32.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::crc::crc32;
use super::deflate::Decompressor;
use super::entry::{Entry, Method};
use super::error::ZipError;

/// Members up to so many bytes are inflated in one go, by libdeflate into a buffer that each thread keeps. It bounds the
/// memory of each thread.
pub const BUFFERED_LIMIT: u64 = 8 << 20;

/// Members up to so many bytes still are, into a buffer of their own, while there are [`LARGE_BUFFERS`]. All others
/// stream through zlib-rs, which is slower and needs no more than a window.
const LARGE_LIMIT: u64 = 32 << 20;

/// How many members over [`BUFFERED_LIMIT`] are in memory at once, whatever the number of threads.
const LARGE_BUFFERS: usize = 2;

static LARGE_BUFFERS_LEFT: AtomicUsize = AtomicUsize::new(LARGE_BUFFERS);

const CHUNK: usize = 256 << 10;

/// Reusable buffers of one thread.
pub struct Inflater {
    decompressor: Decompressor,
    buffer: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflater {
    pub fn new() -> Self {
        Self { decompressor: Decompressor::new(), buffer: Vec::new() }
    }

    /// Hands the contents of `entry`, whose compressed bytes are `raw`, to `sink`: all at once up to
    /// [`BUFFERED_LIMIT`], else perhaps in pieces. When this fails, what the sink got must be thrown away.
    pub fn read(&mut self, entry: &Entry, raw: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), ZipError> {
        self.read_releasing(entry, raw, sink, &|_| ())
    }

    /// The same, and tells `done` of parts of `raw` that are not needed any more, where a member is so large that its
    /// pages should not stay mapped until its end.
    pub fn read_releasing(
        &mut self,
        entry: &Entry,
        raw: &[u8],
        sink: &mut dyn FnMut(&[u8]),
        done: &dyn Fn(&[u8]),
    ) -> Result<(), ZipError> {
        let found = match entry.method {
            Method::Stored => store(raw, sink, done),
            Method::Deflated if entry.size <= BUFFERED_LIMIT => {
                let mut buffer = std::mem::take(&mut self.buffer);
                let found = self.inflate(entry, raw, &mut buffer, sink);
                self.buffer = buffer;
                found?
            }
            Method::Deflated if entry.size <= LARGE_LIMIT && take_large_buffer() => {
                let found = self.inflate(entry, raw, &mut Vec::new(), sink);
                LARGE_BUFFERS_LEFT.fetch_add(1, Ordering::Relaxed);
                found?
            }
            Method::Deflated => stream(entry, raw, sink, done)?,
        };
        entry.check_crc32(found)
    }

    fn inflate(
        &mut self,
        entry: &Entry,
        raw: &[u8],
        buffer: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<u32, ZipError> {
        let wrong = || ZipError::Inflate { name: entry.name.clone(), size: entry.size };
        let size = usize::try_from(entry.size).map_err(|_| wrong())?;
        if buffer.len() < size {
            // The old one goes first, and the kernel has zeros without writing them.
            *buffer = Vec::new();
            *buffer = vec![0; size];
        }
        let contents = &mut buffer[..size];
        // Bytes behind the end of what is inflated are nobody's: some readers would take them for the next member.
        if self.decompressor.inflate(raw, contents) != Some((raw.len(), size)) {
            return Err(wrong());
        }
        sink(contents);
        Ok(crc32(contents))
    }
}

fn take_large_buffer() -> bool {
    LARGE_BUFFERS_LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

fn store(raw: &[u8], sink: &mut dyn FnMut(&[u8]), done: &dyn Fn(&[u8])) -> u32 {
    let mut hasher = flate2::Crc::new();
    for chunk in raw.chunks(BUFFERED_LIMIT as usize) {
        hasher.update(chunk);
        sink(chunk);
        if raw.len() > chunk.len() {
            done(chunk);
        }
    }
    if raw.is_empty() {
        sink(raw);
    }
    hasher.sum()
}

fn stream(
    entry: &Entry,
    raw: &[u8],
    sink: &mut dyn FnMut(&[u8]),
    done: &dyn Fn(&[u8]),
) -> Result<u32, ZipError> {
    let wrong = || ZipError::Inflate { name: entry.name.clone(), size: entry.size };
    let mut inflate = flate2::Decompress::new(false);
    let mut hasher = flate2::Crc::new();
    let mut buffer = vec![0; CHUNK];
    let mut released = 0;
    loop {
        let (consumed, produced) = (inflate.total_in(), inflate.total_out());
        let at = usize::try_from(consumed).map_err(|_| wrong())?;
        let rest = &raw[at..];
        if at - released >= BUFFERED_LIMIT as usize {
            done(&raw[released..at]);
            released = at;
        }
        let status =
            inflate.decompress(rest, &mut buffer, flate2::FlushDecompress::None).map_err(|_| wrong())?;
        let fresh = inflate.total_out() - produced;
        let chunk = &buffer[..usize::try_from(fresh).map_err(|_| wrong())?];
        if inflate.total_out() > entry.size {
            return Err(wrong());
        }
        hasher.update(chunk);
        sink(chunk);
        match status {
            flate2::Status::StreamEnd => break,
            _ if fresh == 0 && inflate.total_in() == consumed => return Err(wrong()),
            _ => {}
        }
    }
    let is_whole = inflate.total_out() == entry.size && inflate.total_in() == raw.len() as u64;
    if is_whole { Ok(hasher.sum()) } else { Err(wrong()) }
}
