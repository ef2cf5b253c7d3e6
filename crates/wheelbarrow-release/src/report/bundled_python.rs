//! The bundled Python of a release, for output.

use std::path::PathBuf;

use serde::Serialize;
use wheelbarrow_artifact::manifest::INTERPRETER;

use crate::root::release::CompleteRelease;

/// The Python of one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundledPython {
    /// `3.12.11`
    pub version: String,
    /// Its directory: `ROOT/releases/ID/python`.
    pub path: PathBuf,
}

/// None where the release runs on a Python of the host, or its manifest cannot be read.
pub(crate) fn bundled_python(release: &CompleteRelease) -> Option<BundledPython> {
    let version = release.site().ok()?.interpreter?.version;
    Some(BundledPython { version, path: release.path().join(INTERPRETER) })
}
