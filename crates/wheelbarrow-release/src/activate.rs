//! `activate` and `rollback`: making live what is there already.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use wheelbarrow_artifact::release::ReleaseSettings;

use crate::activation::Activation;
use crate::history::{Story, stories};
use crate::journal::{Event, Operation};
use crate::prepare::{Prepare, check_and_prepare};
use crate::release::CompleteRelease;
use crate::root::Mark;
use crate::settings::Settings;
use crate::work::{Operator, Work, milliseconds};
use crate::{ReleaseError, ReleaseId, Root, recovery};

/// What an activation or a rollback did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Activated {
    pub root: PathBuf,
    pub id: ReleaseId,
    /// What was live before.
    pub previous: Option<ReleaseId>,
    pub milliseconds: u64,
}

/// What a rollback is asked for.
#[derive(Clone, Debug, Default)]
pub struct RollbackOptions {
    /// Else the nearest ancestor that is complete and not bad.
    pub to: Option<ReleaseId>,
    /// Even over migrations that cannot be taken back.
    pub force: bool,
    /// What flags say.
    pub settings: ReleaseSettings,
}

/// Makes any complete release live. One that never was live is checked and prepared first, as a deploy does it.
pub fn activate(
    root: &Root,
    id: &ReleaseId,
    flags: &ReleaseSettings,
    prepare: Prepare,
    operator: &Operator<'_>,
) -> Result<Activated, ReleaseError> {
    let work = recovery::begin(root, "activate", operator)?;
    let release = root.complete(id)?;
    let was_live = stories(&root.journal().read()?).iter().any(|story| story.id == *id && story.switched);
    let prepare = (!was_live && root.live()?.as_ref() != Some(id)).then_some(prepare);
    make_live(&work, Operation::Activate, release, flags, prepare)
}

/// Goes back to an ancestor of what is live, and marks what it leaves as bad.
pub fn rollback(
    root: &Root,
    options: &RollbackOptions,
    operator: &Operator<'_>,
) -> Result<Activated, ReleaseError> {
    let work = recovery::begin(root, "rollback", operator)?;
    let target = rollback_target(root, options)?;
    let environment = target.record.environment_sha256;
    // What is left may be the very thing that is broken.
    let left = root.live()?.and_then(|live| root.complete(&live).ok());
    let activated = make_live(&work, Operation::Rollback, target, &options.settings, None)?;
    if left.is_some_and(|left| left.record.environment_sha256 != environment) {
        operator.progress.note(
            "its environment came back with it; the next deploy takes that of shared/environment.json, which \
             `wheelbarrow env diff` compares",
        );
    }
    Ok(activated)
}

/// Says where [`rollback`] would go.
pub fn plan_rollback(root: &Root, options: &RollbackOptions) -> Result<Activated, ReleaseError> {
    let id = rollback_target(root, options)?.record.id;
    Ok(Activated { root: root.path().to_path_buf(), id, previous: root.live()?, milliseconds: 0 })
}

fn rollback_target(root: &Root, options: &RollbackOptions) -> Result<CompleteRelease, ReleaseError> {
    let live = root.live()?.ok_or_else(|| ReleaseError::NothingLive { root: root.path().to_path_buf() })?;
    let stories = stories(&root.journal().read()?);
    let target = match &options.to {
        Some(id) if *id == live => {
            return Err(ReleaseError::NoAncestor { from: live, reason: "it is live already" });
        }
        Some(id) => root.complete(id)?,
        None => nearest_ancestor(root, &stories, &live)?,
    };
    let migrations = irreversible_since(&stories, target.id());
    if !migrations.is_empty() && !options.force {
        return Err(ReleaseError::Irreversible { target: target.record.id, migrations });
    }
    Ok(target)
}

/// Parents are in the journal, which has them of releases that are gone too, and in the releases' own records.
fn nearest_ancestor(
    root: &Root,
    stories: &[Story],
    live: &ReleaseId,
) -> Result<CompleteRelease, ReleaseError> {
    let made = stories.iter().filter(|story| story.operation.makes_a_release());
    let mut parents: BTreeMap<ReleaseId, Option<ReleaseId>> =
        made.map(|story| (story.id.clone(), story.live.clone())).collect();
    for found in root.found()? {
        if let Some(release) = found.complete {
            parents.insert(release.record.id, release.record.parent);
        }
    }
    let mut seen = BTreeSet::from([live.clone()]);
    let mut next = parents.get(live).cloned().flatten();
    while let Some(id) = next.filter(|id| seen.insert(id.clone())) {
        if !root.is_marked(&id, Mark::Bad)?
            && let Some(release) = root.complete_or_none(&id)?
        {
            return Ok(release);
        }
        next = parents.get(&id).cloned().flatten();
    }
    let reason = if seen.len() > 1 { "its ancestors are gone or marked as bad" } else { "it is the first" };
    Err(ReleaseError::NoAncestor { from: live.clone(), reason })
}

/// Migrations that were applied after the target was last made live, and that Django cannot take back.
fn irreversible_since(stories: &[Story], target: &ReleaseId) -> Vec<String> {
    let last = stories.iter().rposition(|story| story.id == *target && story.switched);
    stories[last.map_or(0, |last| last + 1)..]
        .iter()
        .flat_map(|story| story.irreversible.iter().cloned())
        .collect()
}

fn make_live(
    work: &Work<'_>,
    operation: Operation,
    release: CompleteRelease,
    flags: &ReleaseSettings,
    prepare: Option<Prepare>,
) -> Result<Activated, ReleaseError> {
    let begun = Instant::now();
    let root = work.root;
    let previous = root.live()?;
    let settings = Settings::of(root, &release, flags)?;
    let id = release.id().clone();
    work.record(Event::Begun { operation, id: id.clone(), live: previous.clone() })?;
    let activation = Activation { work, operation, release, settings, previous: previous.clone(), begun };
    if let Some(prepare) = prepare
        && let Err(fault) = check_and_prepare(work, &activation.release, &activation.settings, prepare)
    {
        return Err(activation.take_back(fault).err().unwrap_or(ReleaseError::Cancelled));
    }
    activation.run()?;
    let milliseconds = milliseconds(begun.elapsed());
    Ok(Activated { root: root.path().to_path_buf(), id, previous, milliseconds })
}
