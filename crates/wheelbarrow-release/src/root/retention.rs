//! Decides which releases are kept, and removes the others.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_install::store::{Access, Removal, Store, collect};
use wheelbarrow_install::{ForeignData, InstallError};
use wheelbarrow_wheel::order::Inserted;

use crate::root::ReleaseDirectory;
use crate::root::data::{self, SiteData};
use crate::root::history::{JournaledOperation, journaled_operations};
use crate::root::locked_root::LockedRoot;
use crate::root::trash;
use crate::serving::proof;
use crate::serving::proof::ReleasesInUse;
use crate::{ReleaseError, ReleaseId, Root};

/// What goes, and what stays for which reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    pub removed: Vec<ReleaseId>,
    pub kept: BTreeMap<ReleaseId, KeepReason>,
    /// Of those that are kept for them: the files that the site has written.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<ReleaseId, ForeignData>,
    /// Whether there are processes that this user may not look at; they may run from what was removed.
    pub is_partial: bool,
    /// Why it could not be done, after a deploy that went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Why a release stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepReason {
    Live,
    /// What was live before, or what the live one was made from: where a rollback goes.
    Predecessor,
    Pinned,
    /// A process runs from it, or may do so: there was no time to look at all processes.
    Used,
    /// One of the newest good ones.
    Recent,
    /// One of the newest that never were live, and may be yet.
    Staged,
    /// The newest bad one, for people to look at.
    LastBad,
    /// A file system is mounted in it.
    Mounted,
    /// The site has written files into it.
    Data,
}

pub(crate) fn remove(
    locked: &LockedRoot<'_>,
    keep: usize,
    written: SiteData,
) -> Result<Pruned, ReleaseError> {
    let mut pruned = plan(locked.root, keep, written, locked.operator.progress)?;
    for (id, why) in &pruned.kept {
        if *why == KeepReason::Mounted
            && let Err(error) = trash::refuse_mounted(locked.root, id)
        {
            trash::note(locked, &error);
        }
    }
    // One that cannot be moved keeps no other.
    pruned
        .removed
        .retain(|id| trash::throw(locked, id).inspect_err(|error| trash::note(locked, error)).is_ok());
    trash::empty(locked, trash::REMOVAL)?;
    collect_store(locked)?;
    Ok(pruned)
}

/// Removes the wheels that no release takes from the store any more; none of them where the receipt of a release is damaged,
/// which is noted.
pub(crate) fn collect_store(locked: &LockedRoot<'_>) -> Result<(), ReleaseError> {
    let root = locked.root;
    let store = match Store::open(&root.store(), Access::Exclusive) {
        Ok(store) => store,
        // Nothing was ever unpacked into it.
        Err(InstallError::NoStore { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let installs: Vec<_> = root.found()?.iter().map(|found| root.release(&found.id)).collect();
    match collect(&store, &installs, Removal::Now) {
        Err(error @ InstallError::BrokenReceipt { .. }) => {
            locked
                .operator
                .progress
                .note(&format!("the store keeps all that it has: {error}; remove that release"));
            Ok(())
        }
        collected => Ok(collected.map(drop)?),
    }
}

pub(crate) fn plan(
    root: &Root,
    keep: usize,
    written: SiteData,
    progress: &dyn Progress,
) -> Result<Pruned, ReleaseError> {
    let found = root.found()?;
    let mut kept: BTreeMap<ReleaseId, KeepReason> = BTreeMap::new();
    let mut keep_for = |id: &ReleaseId, why| _ = kept.entry(id.clone()).or_insert(why);
    let live = root.live()?;
    let journaled_operations = journaled_operations(&root.journal().read()?);
    if let Some(live) = &live {
        keep_for(live, KeepReason::Live);
        predecessors(&journaled_operations, &found, live)
            .iter()
            .for_each(|id| keep_for(id, KeepReason::Predecessor));
    }
    found.iter().filter(|found| found.is_pinned).for_each(|found| keep_for(&found.id, KeepReason::Pinned));
    match proof::in_use(root, &|| progress.is_cancelled())? {
        ReleasesInUse::These(ids) => ids.iter().for_each(|id| keep_for(id, KeepReason::Used)),
        ReleasesInUse::Any => {
            progress.note("not all processes could be checked in time, so every release counts as used");
            found.iter().for_each(|found| keep_for(&found.id, KeepReason::Used));
        }
    }
    let was_live = |id: &ReleaseId| {
        journaled_operations.iter().any(|journaled| journaled.id == *id && journaled.switched)
    };
    // What was interrupted before it was live takes no good one's place.
    let whole = found.iter().rev().filter(|found| found.complete.is_some() && !found.is_bad);
    let (good, staged): (Vec<&ReleaseDirectory>, Vec<&ReleaseDirectory>) =
        whole.partition(|found| was_live(&found.id));
    good.iter().take(keep).for_each(|found| keep_for(&found.id, KeepReason::Recent));
    staged.iter().take(keep).for_each(|found| keep_for(&found.id, KeepReason::Staged));
    if let Some(bad) = found.iter().rev().find(|found| found.is_bad) {
        keep_for(&bad.id, KeepReason::LastBad);
    }
    for found in &found {
        if !kept.contains_key(&found.id) && trash::refuse_mounted(root, &found.id).is_err() {
            kept.insert(found.id.clone(), KeepReason::Mounted);
        }
    }
    kept.retain(|id, _| found.iter().any(|found| found.id == *id));
    let mut removed: Vec<_> =
        found.into_iter().map(|found| found.id).filter(|id| !kept.contains_key(id)).collect();
    let mut data = BTreeMap::new();
    if written == SiteData::Kept {
        for id in &removed {
            data.insert(id.clone(), data::written(root, id)?);
        }
        data.retain(|_, data| !data.is_empty());
        removed.retain(|id| !data.contains_key(id));
        kept.extend(data.keys().map(|id| (id.clone(), KeepReason::Data)));
    }
    Ok(Pruned {
        removed,
        kept,
        data,
        is_partial: proof::hides_some(&proof::ProcessScope::All)?,
        problem: None,
    })
}

/// The parent of what is live, and what was live before it by the journal.
fn predecessors(
    journaled_operations: &[JournaledOperation],
    found: &[ReleaseDirectory],
    live: &ReleaseId,
) -> BTreeSet<ReleaseId> {
    let last = journaled_operations.iter().rev().find(|journaled| {
        journaled.id == *live && journaled.live.as_ref() != Some(live) && journaled.is_done()
    });
    let before = last.and_then(|journaled| journaled.live.clone());
    let record = found.iter().find(|found| found.id == *live).and_then(|found| found.complete.as_ref());
    let parent = record.and_then(|release| release.record.parent.clone());
    before.into_iter().chain(parent).inserted()
}
