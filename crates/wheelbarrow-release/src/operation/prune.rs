//! `prune`, `pin`, `unpin`, `remove`: the commands that keep or remove releases.

use std::time::Instant;

use wheelbarrow_base::progress::Silent;

use crate::operation::recovery;
use crate::root::Mark;
use crate::root::data::{self, SiteData};
use crate::root::journal::JournalEvent;
use crate::root::locked_root::milliseconds;
use crate::root::operator::Operator;
use crate::root::retention::{Pruned, collect_store, plan, remove};
use crate::root::settings::Settings;
use crate::root::{compatible, marker_files, trash};
use crate::serving::proof;
use crate::serving::proof::ReleasesInUse;
use crate::{ReleaseError, ReleaseId, Root};

/// What a prune is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct PruneOptions {
    /// The number of good releases that stay, else what the settings say.
    pub keep: Option<usize>,
    pub written: SiteData,
}

/// Removes the releases that may go.
pub fn prune(root: &Root, options: &PruneOptions, operator: &Operator<'_>) -> Result<Pruned, ReleaseError> {
    let locked = recovery::begin(root, "prune", operator)?;
    let begun = Instant::now();
    let keep = settled(root, options.keep)?;
    let pruned = remove(&locked, keep, options.written)?;
    let milliseconds = milliseconds(begun.elapsed());
    // It is done, and the journal of a full disk is no reason to say otherwise.
    let _ = locked.record(JournalEvent::Pruned { removed: pruned.removed.len(), milliseconds });
    Ok(pruned)
}

/// Says what [`prune`] would do.
pub fn plan_prune(root: &Root, options: &PruneOptions) -> Result<Pruned, ReleaseError> {
    compatible::check(root)?;
    plan(root, settled(root, options.keep)?, options.written, &Silent)
}

/// Never removed, whatever is asked for, until it is unpinned.
pub fn pin(root: &Root, id: &ReleaseId, operator: &Operator<'_>) -> Result<(), ReleaseError> {
    let locked = recovery::begin(root, "pin", operator)?;
    root.complete(id)?;
    marker_files::set(root, id, Mark::Pinned)?;
    locked.record(JournalEvent::Pinned { id: id.clone() })
}

pub fn unpin(root: &Root, id: &ReleaseId, operator: &Operator<'_>) -> Result<(), ReleaseError> {
    let locked = recovery::begin(root, "unpin", operator)?;
    root.complete(id)?;
    marker_files::unset(root, id, Mark::Pinned)?;
    locked.record(JournalEvent::Unpinned { id: id.clone() })
}

/// Removes one release, which nobody needs: not live, not pinned, not used by a process.
pub fn remove_release(
    root: &Root,
    id: &ReleaseId,
    written: SiteData,
    operator: &Operator<'_>,
) -> Result<(), ReleaseError> {
    let locked = recovery::begin(root, "remove", operator)?;
    plan_remove_release(root, id, written)?;
    trash::throw(&locked, id)?;
    trash::empty(&locked, trash::REMOVAL)?;
    collect_store(&locked)
}

/// Says whether [`remove_release`] would do it.
pub fn plan_remove_release(root: &Root, id: &ReleaseId, written: SiteData) -> Result<(), ReleaseError> {
    compatible::check(root)?;
    let needed = |why| Err(ReleaseError::Needed { id: id.clone(), why });
    match root.complete(id) {
        // Nothing needs it.
        Ok(_) | Err(ReleaseError::Incomplete { .. }) => {}
        Err(error) => return Err(error),
    }
    match () {
        () if root.live()?.as_ref() == Some(id) => needed("it is live"),
        () if root.is_marked(id, Mark::Pinned)? => needed("it is pinned"),
        () if !is_unused(root, id)? => needed("a process uses it, or was not checked in time"),
        () if trash::refuse_mounted(root, id).is_err() => trash::refuse_mounted(root, id),
        () if written == SiteData::Kept => data::refuse(root, id),
        () => Ok(()),
    }
}

fn is_unused(root: &Root, id: &ReleaseId) -> Result<bool, ReleaseError> {
    Ok(match proof::in_use(root, &|| wheelbarrow_base::stopped_by().is_some())? {
        ReleasesInUse::These(ids) => !ids.contains(id),
        ReleasesInUse::Any => false,
    })
}

fn settled(root: &Root, keep: Option<usize>) -> Result<usize, ReleaseError> {
    if let Some(keep) = keep {
        return Ok(keep.max(1));
    }
    let live = root.live()?.map(|live| root.complete_or_none(&live)).transpose()?.flatten();
    match live {
        Some(live) => Ok(Settings::of(root, &live, &Default::default())?.keep),
        None => Ok(Settings::of_root(root)?.keep),
    }
}
