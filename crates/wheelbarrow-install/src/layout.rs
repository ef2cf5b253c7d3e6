//! The paths in an install: `docs/reference/format.md`, "What an install leaves".

use std::path::{Path, PathBuf};

/// The one file in a destination that is not of the artifact.
pub(crate) const ENVIRONMENT: &str = "environment.json";

/// What an install says of itself.
pub(crate) const RECEIPT_PATH: &str = ".wheelbarrow/receipt.json";
/// Only a release of a site root has it.
pub(crate) const RELEASE_PATH: &str = ".wheelbarrow/release.json";

/// Every file of the install but its bytecode, itself and the receipt, as `sha256sum` writes and checks them.
pub(crate) const SUMS_PATH: &str = ".wheelbarrow/SHA256SUMS";

/// Where the virtualenv of an install is.
pub fn virtualenv(destination: &Path) -> PathBuf {
    destination.join("venv")
}
