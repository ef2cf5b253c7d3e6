//! `activate` and `rollback`: make an existing release live.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::release::{ReleaseSettings, Server};
use wheelbarrow_base::progress::Progress;
use wheelbarrow_wheel::order::Inserted;

use crate::check::django_query;
use crate::operation::{engine, plan, recovery};
use crate::report::changes::Changes;
use crate::root::Mark;
use crate::root::history::{JournaledOperation, journaled_operations};
use crate::root::journal::{Operation, Phase};
use crate::root::locked_root::{LockedRoot, milliseconds};
use crate::root::operator::Operator;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::serving::{services, unit_user};
use crate::stage::not_shared;
use crate::steps::check::{self, CheckLog, CheckTime};
use crate::steps::prepare::Prepare;
use crate::steps::{Job, StepResults, Steps};
use crate::{ReleaseError, ReleaseId, Root};

/// What an activation or a rollback did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Activated {
    pub root: PathBuf,
    pub id: ReleaseId,
    /// What was live before.
    pub previous: Option<ReleaseId>,
    pub milliseconds: u64,
    /// Empty of a plan.
    pub changes: Changes,
    /// What runs, if that is another release: `current` leads to this one, and no server was told or could be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unproved: Option<String>,
}

/// What a rollback is asked for.
#[derive(Clone, Debug, Default)]
pub struct RollbackOptions {
    /// Else the nearest ancestor that is complete and not bad.
    pub to: Option<ReleaseId>,
    /// Only what this deploy of a fleet has switched, as a deploy that fails is taken back: to what was live before it,
    /// whatever migrations were applied. Where it has switched nothing, nothing is done.
    pub of: Option<String>,
    /// Even over migrations that cannot be taken back.
    pub force: bool,
}

/// Makes any complete release live. One that never was live is checked and prepared first, as a deploy does it.
pub fn activate(
    root: &Root,
    id: &ReleaseId,
    prepare: Prepare,
    operator: &Operator<'_>,
) -> Result<Activated, ReleaseError> {
    let locked = recovery::begin(root, "activate", operator)?;
    let (release, left) = (root.complete(id)?, left(root)?);
    let environment = release.record.environment_sha256;
    let activated = activate_in(&locked, release, &Default::default(), prepare)?;
    note_environment(left, environment, operator);
    Ok(activated)
}

/// The release that is left. It may be the very thing that is broken.
fn left(root: &Root) -> Result<Option<CompleteRelease>, ReleaseError> {
    Ok(root.live()?.and_then(|live| root.complete(&live).ok()))
}

/// Notes that variables went back too.
fn note_environment(left: Option<CompleteRelease>, environment: Option<Sha256>, operator: &Operator<'_>) {
    if left.is_some_and(|left| left.record.environment_sha256 != environment) {
        operator.progress.note(
            "its environment was restored with it; the next deploy uses shared/environment.json: `wheelbarrow env diff` compares them",
        );
    }
}

/// The same, by whoever has the lock.
pub(crate) fn activate_in(
    locked: &LockedRoot<'_>,
    release: CompleteRelease,
    flags: &ReleaseSettings,
    prepare: Prepare,
) -> Result<Activated, ReleaseError> {
    let (settings, steps) = plan_activation(locked.root, &release, flags, prepare)?;
    make_live(locked, Operation::Activate, release, &settings, steps)
}

/// Goes back to an ancestor of what is live, and marks what it leaves as bad.
pub fn rollback(
    root: &Root,
    options: &RollbackOptions,
    operator: &Operator<'_>,
) -> Result<Activated, ReleaseError> {
    let begun = Instant::now();
    let locked = recovery::begin(root, "rollback", operator)?;
    let target =
        rollback_target(root, options, |live| django_query::applied(&locked, live), operator.progress)?;
    let Some(target) = target else { return stays(root, begun, operator) };
    let environment = target.record.environment_sha256;
    let applied = applied_since(&journaled_operations(&root.journal().read()?), target.id());
    if !applied.is_empty() {
        let (id, names) = (target.id(), check::few(&applied));
        let note = format!("the database keeps migrations that were applied since {id} was live: {names}");
        operator.progress.note(&note);
    }
    let left = left(root)?;
    let (settings, steps) = plan_return(root, Operation::Rollback, &target, &Default::default())?;
    let activated = make_live(&locked, Operation::Rollback, target, &settings, steps)?;
    note_environment(left, environment, operator);
    Ok(activated)
}

/// Says where [`rollback`] would go.
pub fn plan_rollback(
    root: &Root,
    options: &RollbackOptions,
    progress: &dyn Progress,
) -> Result<Activated, ReleaseError> {
    let previous = root.live()?;
    let id = match rollback_target(root, options, |release| applied(root, release, progress), progress)? {
        Some(target) => {
            let (settings, _) = plan_return(root, Operation::Rollback, &target, &Default::default())?;
            services::plan(root, &settings, &target.site()?.project.import_path)?;
            Some(target.record.id)
        }
        None => previous.clone(),
    };
    let id = id.ok_or_else(|| nothing_live(root))?;
    Ok(Activated {
        root: root.path().to_path_buf(),
        id,
        previous,
        milliseconds: 0,
        changes: Changes::default(),
        unproved: None,
    })
}

/// The migrations that the database has, asked without a log.
fn applied(root: &Root, release: &CompleteRelease, progress: &dyn Progress) -> Option<BTreeSet<String>> {
    let settings = Settings::of(root, release, &Default::default()).ok()?;
    let report =
        check::inspect(release, &settings, CheckTime::Before, CheckLog::Forgotten, None, progress).ok()??;
    report.unknown.is_none().then(|| report.applied.into_iter().inserted())
}

fn nothing_live(root: &Root) -> ReleaseError {
    ReleaseError::NothingLive { root: root.path().to_path_buf() }
}

/// What is live stays so.
fn stays(root: &Root, begun: Instant, operator: &Operator<'_>) -> Result<Activated, ReleaseError> {
    let live = root.live()?.ok_or_else(|| nothing_live(root))?;
    operator.progress.note(&format!("{live} stays live: this deploy has replaced no release"));
    let milliseconds = milliseconds(begun.elapsed());
    Ok(Activated {
        root: root.path().to_path_buf(),
        id: live.clone(),
        previous: Some(live),
        milliseconds,
        changes: Changes::default(),
        unproved: None,
    })
}

/// What was live before the deploy; none where it is not this deploy that made live what is live, or nothing was.
fn before_deploy(
    root: &Root,
    journaled_operations: &[JournaledOperation],
    deploy: &str,
    live: &ReleaseId,
) -> Result<Option<CompleteRelease>, ReleaseError> {
    let switched = |journaled: &&JournaledOperation| {
        journaled.switched && journaled.is_done() && journaled.live.as_ref() != Some(&journaled.id)
    };
    let is_of_deploy = |journaled: &&JournaledOperation| journaled.deploy.as_deref() == Some(deploy);
    let last = journaled_operations.iter().rev().find(switched);
    if last.filter(|journaled| journaled.id == *live).filter(is_of_deploy).is_none() {
        return Ok(None);
    }
    let first = journaled_operations.iter().filter(switched).find(is_of_deploy);
    let before = first.and_then(|journaled| journaled.live.as_ref()).filter(|before| *before != live);
    before.map(|before| root.complete(before)).transpose()
}

/// None to stay, which only who names a deploy is told. `applied` says which migrations the database of a release has, if that
/// can be known.
fn rollback_target(
    root: &Root,
    options: &RollbackOptions,
    applied: impl Fn(&CompleteRelease) -> Option<BTreeSet<String>>,
    progress: &dyn Progress,
) -> Result<Option<CompleteRelease>, ReleaseError> {
    let live = root.live()?.ok_or_else(|| nothing_live(root))?;
    let journaled_operations = journaled_operations(&root.journal().read()?);
    if let Some(deploy) = &options.of {
        return before_deploy(root, &journaled_operations, deploy, &live);
    }
    let target = match &options.to {
        Some(id) if *id == live => {
            return Err(ReleaseError::NoAncestor { from: live, reason: "it is live already" });
        }
        Some(id) => root.complete(id)?,
        None => nearest_ancestor(root, &journaled_operations, &live)?,
    };
    let mut migrations = irreversible_since(&journaled_operations, target.id());
    if !migrations.is_empty() && !options.force {
        // They may have failed, or somebody may have taken them back: what the database has counts.
        let live = root.complete(&live).ok();
        let applied = |release: &CompleteRelease| match progress.is_cancelled() {
            true => None,
            false => applied(release),
        };
        let asked = live.as_ref().and_then(applied).or_else(|| applied(&target));
        if progress.is_cancelled() {
            return Err(ReleaseError::Cancelled);
        }
        if let Some(applied) = asked {
            migrations.retain(|migration| applied.contains(migration));
        }
    }
    if !migrations.is_empty() && !options.force {
        return Err(ReleaseError::Irreversible { target: target.record.id, migrations });
    }
    Ok(Some(target))
}

/// Parents are in the journal, which has them of releases that are gone too, and in the releases' own records.
fn nearest_ancestor(
    root: &Root,
    journaled_operations: &[JournaledOperation],
    live: &ReleaseId,
) -> Result<CompleteRelease, ReleaseError> {
    let made = journaled_operations.iter().filter(|journaled| journaled.operation.makes_a_release());
    let mut parents: BTreeMap<ReleaseId, Option<ReleaseId>> =
        made.map(|journaled| (journaled.id.clone(), journaled.live.clone())).inserted();
    for found in root.found()? {
        if let Some(release) = found.complete {
            parents.insert(release.record.id, release.record.parent);
        }
    }
    let mut seen = BTreeSet::new();
    seen.insert(live.clone());
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

/// Migrations that were to be applied after the target was last made live, and that Django cannot take back, each once.
fn irreversible_since(journaled_operations: &[JournaledOperation], target: &ReleaseId) -> Vec<String> {
    once(since(journaled_operations, target).iter().flat_map(|journaled| &journaled.irreversible))
}

/// Migrations that were applied after the target was last made live, each once.
fn applied_since(journaled_operations: &[JournaledOperation], target: &ReleaseId) -> Vec<String> {
    let is_prepared =
        |journaled: &&JournaledOperation| journaled.phases.iter().any(|(phase, _)| *phase == Phase::Prepare);
    once(
        since(journaled_operations, target)
            .iter()
            .filter(is_prepared)
            .flat_map(|journaled| &journaled.migrations),
    )
}

/// What was done after the target was last made live.
fn since<'s>(journaled_operations: &'s [JournaledOperation], target: &ReleaseId) -> &'s [JournaledOperation] {
    let last =
        journaled_operations.iter().rposition(|journaled| journaled.id == *target && journaled.switched);
    &journaled_operations[last.map_or(0, |last| last + 1)..]
}

fn once<'n>(names: impl Iterator<Item = &'n String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(*name)).cloned().collect()
}

/// The settings with which a release becomes live, and the steps. One that was live is only started.
pub(crate) fn plan_activation(
    root: &Root,
    release: &CompleteRelease,
    flags: &ReleaseSettings,
    prepare: Prepare,
) -> Result<(Settings, Steps<'static>), ReleaseError> {
    let id = release.id();
    let was_live = journaled_operations(&root.journal().read()?)
        .iter()
        .any(|journaled| journaled.id == *id && journaled.switched);
    if was_live || root.live()?.as_ref() == Some(id) {
        return plan_return(root, Operation::Activate, release, flags);
    }
    let settings = Settings::of(root, release, flags)?;
    unit_user::inspect_release(release, &settings)?;
    let steps = plan::activate(&settings, Operation::Activate, Some(prepare), false);
    Ok((settings, steps))
}

/// The same for a release that was live before, or is.
fn plan_return(
    root: &Root,
    operation: Operation,
    release: &CompleteRelease,
    flags: &ReleaseSettings,
) -> Result<(Settings, Steps<'static>), ReleaseError> {
    let live = root.live()?;
    let settings = Settings::of(root, release, flags)?;
    let mut settings = settings.going_back_from(Settings::of_left(root, live.as_ref()).as_ref());
    if flags.server == Some(Server::None) {
        settings.server = Server::None;
    }
    let steps = plan::activate(&settings, operation, None, live.as_ref() == Some(release.id()));
    Ok((settings, steps))
}

fn make_live(
    locked: &LockedRoot<'_>,
    operation: Operation,
    release: CompleteRelease,
    settings: &Settings,
    steps: Steps<'_>,
) -> Result<Activated, ReleaseError> {
    let (begun, root) = (Instant::now(), locked.root);
    let (id, previous) = (release.id().clone(), root.live()?);
    services::inspect(root, settings, &release.site()?.project.import_path)?;
    let left = not_shared::note(root, previous.as_ref(), &release);
    let mut job = Job {
        locked,
        operation,
        id: id.clone(),
        settings,
        previous: previous.clone(),
        begun,
        release: Some(release),
        done: StepResults::default(),
    };
    engine::begin(&job)?;
    engine::run(&mut job, steps)?;
    let written = not_shared::note_written(root, previous.as_ref(), &id);
    left.iter().chain(&written).for_each(|note| job.progress().note(note));
    let (changes, milliseconds) = (job.changes(), milliseconds(begun.elapsed()));
    let unproved = job.done.unproved;
    Ok(Activated { root: root.path().to_path_buf(), id, previous, milliseconds, changes, unproved })
}
