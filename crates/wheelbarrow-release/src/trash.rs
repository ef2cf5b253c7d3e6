//! Releases that are no longer: out of `releases/` by one rename, then removed file by file.
//!
//! Whatever kills the removal leaves a part of a release in `.wheelbarrow/trash/`, where nothing looks for one.

use std::io::ErrorKind;
use std::path::Path;

use fs_err as fs;
use rustix::io::Errno;

use crate::journal::Event;
use crate::release::RELEASE_PATH;
use crate::work::Work;
use crate::{ReleaseError, ReleaseId, switch};

/// Takes a release out of `releases/`.
pub(crate) fn throw(work: &Work<'_>, id: &ReleaseId) -> Result<(), ReleaseError> {
    let (from, to) = (work.root.release(id), work.root.trash().join(id.to_string()));
    match rustix::fs::rename(&from, &to) {
        // overlayfs does not rename directories of a lower layer, of a container image say.
        Err(Errno::XDEV) => remove_in_place(&from, &to),
        result => result.map_err(ReleaseError::errno("move to the trash", &from)),
    }
}

/// Without its record it is no release any more; the next command removes what is left of it. An empty directory stands
/// for it in the trash.
fn remove_in_place(from: &Path, to: &Path) -> Result<(), ReleaseError> {
    fs::create_dir_all(to).map_err(ReleaseError::io("make the directory", to))?;
    let record = from.join(RELEASE_PATH);
    match fs::remove_file(&record) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(ReleaseError::io("remove", &record)(error));
        }
        _ => switch::sync(record.parent().unwrap_or(from))?,
    }
    fs::remove_dir_all(from).map_err(ReleaseError::io("remove", from))
}

/// Syncs what [`throw`] has done: after a power cut a release must not be back of which a part was removed.
fn sync(work: &Work<'_>) -> Result<(), ReleaseError> {
    switch::sync(&work.root.trash())?;
    switch::sync(&work.root.releases())
}

/// Removes what is in the trash, and the marks of what was removed. The journal is told last: on a full disk there must
/// be room first.
pub(crate) fn empty(work: &Work<'_>) -> Result<(), ReleaseError> {
    let trash = work.root.trash();
    let mut is_synced = false;
    for entry in fs::read_dir(&trash).map_err(ReleaseError::io("list", &trash))? {
        let entry = entry.map_err(ReleaseError::io("list", &trash))?;
        let path = entry.path();
        // What was not yet moved to its place.
        if entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
            fs::remove_file(&path).map_err(ReleaseError::io("remove", &path))?;
            continue;
        }
        if !std::mem::replace(&mut is_synced, true) {
            sync(work)?;
        }
        fs::remove_dir_all(&path).map_err(ReleaseError::io("remove", &path))?;
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(id) = name.and_then(|name| name.parse::<ReleaseId>().ok()) {
            crate::marks::clear(work.root, &id)?;
            work.record(Event::Removed { id })?;
        }
    }
    Ok(())
}
