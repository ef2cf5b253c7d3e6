//! The contents of a file in the store.

use std::io::Read;
use std::path::Path;

use sha2::Digest;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::open_regular;

/// How much is read at once: it fits into the cache of a core.
const CHUNK: usize = 256 << 10;

/// The SHA-256 of a regular file.
pub(super) fn sha256_of(path: &Path) -> std::io::Result<Sha256> {
    let mut contents = open_regular(path)?;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match contents.read(&mut buffer)? {
            0 => return Ok(Sha256(hash.finalize().into())),
            read => hash.update(&buffer[..read]),
        }
    }
}
