//! Marks of releases: an empty file named after the release, in `.wheelbarrow/pins/` or `.wheelbarrow/bad/`.

use std::io::ErrorKind;

use fs_err as fs;

use crate::root::Mark;
use crate::{ReleaseError, ReleaseId, Root};

pub(crate) fn set(root: &Root, id: &ReleaseId, mark: Mark) -> Result<(), ReleaseError> {
    let path = root.mark_directory(mark).join(id.to_string());
    // What a later version has written into one stays.
    let made = fs::OpenOptions::new().create(true).append(true).open(&path);
    made.map(drop).map_err(ReleaseError::io("write", &path))
}

pub(crate) fn unset(root: &Root, id: &ReleaseId, mark: Mark) -> Result<(), ReleaseError> {
    let path = root.mark_directory(mark).join(id.to_string());
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(ReleaseError::io("remove", &path)(error)),
        _ => Ok(()),
    }
}

/// Of a release that was removed.
pub(crate) fn clear(root: &Root, id: &ReleaseId) -> Result<(), ReleaseError> {
    unset(root, id, Mark::Pinned)?;
    unset(root, id, Mark::Bad)
}
