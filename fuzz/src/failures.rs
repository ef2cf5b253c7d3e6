//! Inputs that failed.

use std::path::{Path, PathBuf};

use fs_err as fs;

/// Writes an input that failed; where it is.
pub(crate) fn keep(name: &str, data: &[u8]) -> String {
    let hash = wheelbarrow_artifact::manifest::Sha256::of(data).to_string();
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let path = target.join("fuzz-failures").join(format!("{name}-{}", &hash[..12]));
    let written = path.parent().map(fs::create_dir_all).and_then(|_| fs::write(&path, data).ok());
    if written.is_some() { path.display().to_string() } else { format!("{data:?}") }
}
