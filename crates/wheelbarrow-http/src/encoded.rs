//! Responses with `Content-Encoding: gzip`, although the request asked for the file's own bytes.
//!
//! Some servers compress every response; others claim it for every `.tar.gz`, because of its name, and send
//! the file unchanged. The hash distinguishes both: the bytes are kept as received, and decoded only if they
//! are not the file.

use std::io::{Read, Seek, SeekFrom, Write};

use flate2::read::MultiGzDecoder;
use sha2::Digest as _;
use ureq::http::{HeaderMap, header};
use wheelbarrow_base::Sha256;

use crate::error::HttpError;
use crate::partial::PartialFile;

/// Whether the body may be the file's bytes compressed once more.
pub(crate) fn is_gzip(headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    encoding.is_some_and(|value| matches!(value.trim().to_ascii_lowercase().as_str(), "gzip" | "x-gzip"))
}

/// Puts the decoded file in the place of what came if it has the hash `wanted`; says whether it has. `most` is in bytes, of the decoded file.
pub(crate) fn decode(partial: &mut PartialFile, wanted: Sha256, most: u64) -> Result<bool, HttpError> {
    let path = partial.path().to_path_buf();
    let failed = |error| HttpError::io("decode", &path)(error);
    let mut plain = tempfile::tempfile_in(path.parent().unwrap_or(&path)).map_err(failed)?;
    partial.file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut decoder = MultiGzDecoder::new(&mut partial.file).take(most + 1);
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // What does not decode is not the file.
        let Ok(read) = decoder.read(&mut buffer) else { return Ok(false) };
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        plain.write_all(&buffer[..read]).map_err(failed)?;
    }
    if Sha256(hasher.finalize().into()) != wanted {
        return Ok(false);
    }
    partial.restart()?;
    partial.file.seek(SeekFrom::Start(0)).map_err(failed)?;
    plain.seek(SeekFrom::Start(0)).map_err(failed)?;
    std::io::copy(&mut plain, &mut partial.file).map_err(failed)?;
    Ok(true)
}
