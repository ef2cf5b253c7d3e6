//! Adds a signature to an artifact.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wheelbarrow_artifact::Artifact;
use wheelbarrow_base::write_atomic_with;

use crate::SignatureError;

/// Writes the artifact with this signature to `output`, with the mode that it has: whole or not at all.
pub(crate) fn attach(artifact: &Artifact, signature: &[u8], output: &Path) -> Result<(), SignatureError> {
    let mode = fs_err::metadata(artifact.path()).map_err(SignatureError::Write)?.permissions().mode() & 0o777;
    Ok(write_atomic_with(output, mode, |file| Ok(artifact.write_signed(signature, file.try_clone()?)?))?)
}
