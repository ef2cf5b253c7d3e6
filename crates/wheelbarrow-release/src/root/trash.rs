//! Removal of releases: one rename out of `releases/`, then file by file.
//!
//! A killed removal leaves a part of a release in `.wheelbarrow/trash/`, where no command looks for releases.
//! Files that cannot be removed stay there too, such as another user's file or a file below a mount point:
//! each command tries again, prints a note, and continues.
//!
//! The site's user may have made a tree that takes hours to remove, or that grows meanwhile. So the time is
//! limited, and each tree has its own share.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::FileType;
use rustix::io::Errno;
use wheelbarrow_base::beneath::{Directory, Patience, remove_tree};
use wheelbarrow_base::{Explain, FsError, mounts_in};
use wheelbarrow_wheel::order;

use crate::root::current;
use crate::root::journal::JournalEvent;
use crate::root::locked_root::LockedRoot;
use crate::root::release::RELEASE_PATH;
use crate::{ReleaseError, ReleaseId, Root};

/// How long a command removes what others have left, before its own work.
pub(crate) const AT_FIRST: Duration = Duration::from_secs(20);
/// How long a command removes what is its own to remove.
pub(crate) const REMOVAL: Duration = Duration::from_secs(120);

/// Takes a release out of `releases/`. One with a file system mounted in it stays: what is in there is not of the
/// release.
pub(crate) fn throw(locked: &LockedRoot<'_>, id: &ReleaseId) -> Result<(), ReleaseError> {
    let (from, to) = (locked.root.release(id), locked.root.trash().join(id.to_string()));
    refuse_mounted(locked.root, id)?;
    match rustix::fs::rename(&from, &to) {
        // overlayfs does not rename directories of a lower layer, of a container image say.
        Err(Errno::XDEV) => remove_in_place(locked, id, &to),
        result => result.map_err(ReleaseError::errno("move to the trash", &from)),
    }
}

/// Without its record it is no release any more; the next command removes what is left of it. An empty directory stands
/// for it in the trash.
fn remove_in_place(locked: &LockedRoot<'_>, id: &ReleaseId, to: &Path) -> Result<(), ReleaseError> {
    let (from, releases) = (locked.root.release(id), locked.root.releases());
    fs::create_dir_all(to).map_err(ReleaseError::io("make the directory", to))?;
    let record = from.join(RELEASE_PATH);
    match fs::remove_file(&record) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(ReleaseError::io("remove", &record)(error));
        }
        _ => current::sync(record.parent().unwrap_or(&from))?,
    }
    let directory = Directory::open(&releases).map_err(ReleaseError::io("open", &releases))?;
    remove(locked, &directory, OsStr::new(&id.to_string()), &from, REMOVAL)
}

/// Whether a file system is mounted in the release.
pub(crate) fn refuse_mounted(root: &Root, id: &ReleaseId) -> Result<(), ReleaseError> {
    match mounts_in(&root.release(id)).into_iter().next() {
        Some(mount) => Err(ReleaseError::Mounted { id: id.clone(), mount }),
        None => Ok(()),
    }
}

/// Moves a directory of `releases/` to the trash that is no release: in it an install was made.
pub(crate) fn throw_staging(locked: &LockedRoot<'_>, name: &OsStr) -> Result<(), ReleaseError> {
    let (from, to) = (locked.root.releases().join(name), locked.root.trash().join(name));
    rustix::fs::rename(&from, &to).map_err(ReleaseError::errno("move to the trash", &from))
}

/// Syncs what [`throw`] has done: after a power cut a release must not be back of which a part was removed.
fn sync(locked: &LockedRoot<'_>) -> Result<(), ReleaseError> {
    current::sync(&locked.root.trash())?;
    current::sync(&locked.root.releases())
}

/// Removes what is in the trash, and the marks of what was removed. The journal is told last: on a full disk there must
/// be room first. What cannot be removed, or not within `limit`, is a note.
pub(crate) fn empty(locked: &LockedRoot<'_>, limit: Duration) -> Result<(), ReleaseError> {
    let path = locked.root.trash();
    let trash = Directory::open(&path).map_err(ReleaseError::io("open", &path))?;
    let until = Instant::now() + limit;
    let mut is_synced = false;
    let entries = trash.entries().map_err(ReleaseError::io("list", &path))?;
    for (left, (name, kind)) in (1..=entries.len()).rev().zip(entries) {
        let path = path.join(&name);
        if kind == FileType::Directory && !std::mem::replace(&mut is_synced, true) {
            sync(locked)?;
        }
        let share = until.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
        match remove(locked, &trash, &name, &path, share) {
            Err(ReleaseError::Cancelled) => return Err(ReleaseError::Cancelled),
            Err(error) => {
                note(locked, &error);
                continue;
            }
            Ok(()) => {}
        }
        // What is no release was not yet moved to its place.
        if let Some(id) = name.to_str().and_then(|name| name.parse::<ReleaseId>().ok()) {
            crate::root::marker_files::clear(locked.root, &id)?;
            locked.record(JournalEvent::Removed { id })?;
        }
    }
    Ok(())
}

fn remove(
    locked: &LockedRoot<'_>,
    directory: &Directory,
    name: &OsStr,
    path: &Path,
    limit: Duration,
) -> Result<(), ReleaseError> {
    let is_cancelled = || locked.operator.progress.is_cancelled();
    match remove_tree(directory, name, path, &Patience { limit, is_cancelled: &is_cancelled }) {
        Err(FsError::Unfinished { .. }) if is_cancelled() => Err(ReleaseError::Cancelled),
        removed => Ok(removed?),
    }
}

/// Says what could not be removed; the command goes on.
pub(crate) fn note(locked: &LockedRoot<'_>, error: &ReleaseError) {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    locked.operator.progress.note(&format!("{error}{cause}{hint}"));
}

/// What was left in the trash because it could not be removed, if nobody is at work.
pub(crate) fn left(root: &Root) -> Vec<PathBuf> {
    let path = root.trash();
    let entries = Directory::open(&path).and_then(|trash| trash.entries()).unwrap_or_default();
    let mut left: Vec<PathBuf> = entries.into_iter().map(|(name, _)| path.join(name)).collect();
    order::sort(&mut left);
    left
}
