//! Putting a signature into an artifact.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wheelbarrow_artifact::{Artifact, ArtifactError, SIGNATURE_PATH};
use wheelbarrow_fs::write_atomic_with;

use crate::SignatureError;

/// Writes the artifact with this signature, and none but this, to `output`, with the mode that it has: whole or not at all.
pub(crate) fn attach(artifact: &Artifact, signature: &[u8], output: &Path) -> Result<(), SignatureError> {
    let mode = fs_err::metadata(artifact.path()).map_err(SignatureError::Write)?.permissions().mode() & 0o777;
    let mut refused = None;
    let written = write_atomic_with(output, mode, |file| {
        artifact.archive().write_with(SIGNATURE_PATH, signature, file).unwrap_or_else(|source| {
            refused = Some(source);
            Err(std::io::ErrorKind::InvalidData.into())
        })
    });
    match refused {
        Some(source) => Err(ArtifactError::Zip { path: artifact.path().to_path_buf(), source }.into()),
        None => Ok(written?),
    }
}
