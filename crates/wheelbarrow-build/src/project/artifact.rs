//! Recognises artifacts of Wheelbarrow by their contents, whatever their names.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use fs_err as fs;
use wheelbarrow_artifact::manifest::MANIFEST_PATH;

/// Bytes at the end of a zip without a comment, and what they begin with (APPNOTE 4.3.16).
const END: usize = 22;
const END_SIGNATURE: &[u8] = b"PK\x05\x06";

/// The manifest and its signature come last in the central directory: two headers of 46 bytes, and their names.
const LAST_HEADERS: u64 = 256;

/// Whether `path`, a file that begins with `head`, is an artifact: a line for the kernel, and a zip whose last members are
/// the manifest and perhaps its signature (docs/reference/format.md).
pub(super) fn is_artifact(path: &Path, head: &[u8]) -> bool {
    head.starts_with(b"#!") && last_headers(path).is_ok_and(|headers| has_manifest(&headers))
}

/// Whether `path` is a zip without a comment, an artifact among them.
pub(crate) fn is_zip(path: &Path) -> bool {
    let end = |bytes: Vec<u8>| bytes.len() >= END && bytes[bytes.len() - END..].starts_with(END_SIGNATURE);
    last_headers(path).is_ok_and(end)
}

/// The same of a file that was not opened yet.
pub(super) fn is_artifact_file(path: &Path) -> bool {
    let mut head = [0; 2];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && is_artifact(path, &head)
}

fn last_headers(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LAST_HEADERS + END as u64)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn has_manifest(bytes: &[u8]) -> bool {
    let Some(at) = bytes.len().checked_sub(END) else { return false };
    let (headers, end) = bytes.split_at(at);
    let manifest = MANIFEST_PATH.as_bytes();
    end.starts_with(END_SIGNATURE) && headers.windows(manifest.len()).any(|window| window == manifest)
}
