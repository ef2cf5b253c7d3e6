//! Paths in messages.

use std::path::{Path, absolute};

/// Absolute: a project is most often `.`, which names nothing in a log.
pub(crate) fn shown(path: &Path) -> String {
    absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}
