//! Recovery from a killed command. Each command that changes something begins with it.
//!
//! State is derived from disk, never from recorded intent: `current` shows whether the switch was done, and a
//! release's record whether it is complete. An operation that had switched is completed (reload, probe,
//! commit) or rolled back. An operation that had not switched ends: its release is kept if it is complete,
//! else removed.

use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use fs_err as fs;
use serde::Serialize;
use wheelbarrow_base::Explain;

use crate::command::output;
use crate::command::secrets::Secrets;
use crate::environment::shared_environment;
use crate::operation::engine::{self, FailedOperation};
use crate::operation::plan;
use crate::root::current;
use crate::root::history::{JournaledOperation, journaled_operations, unfinished};
use crate::root::journal::{JournalEvent, Operation, Outcome};
use crate::root::locked_root::LockedRoot;
use crate::root::operator::Operator;
use crate::root::release::LOGS;
use crate::root::settings::Settings;
use crate::root::{compatible, data, moved_root, rescued, trash};
use crate::serving::services;
use crate::steps::switch::{serve_again, went_back};
use crate::steps::{Fault, Job, NOTHING, StepResults};
use crate::{ReleaseError, ReleaseId, Root};

/// What was put right.
#[derive(Debug, Default, Serialize)]
pub struct Recovered {
    /// The operation that had been interrupted.
    pub interrupted: Option<Operation>,
    pub id: Option<ReleaseId>,
    /// Its release is live now, and proved.
    pub committed: bool,
    /// Releases that never became complete.
    pub removed: Vec<ReleaseId>,
    /// Releases whose paths were written anew, since the root had been moved.
    pub moved: Vec<ReleaseId>,
    /// Why the release was taken back.
    #[serde(skip)]
    pub failure: Option<ReleaseError>,
}

impl Recovered {
    /// Whether there was anything to do.
    pub fn is_nothing(&self) -> bool {
        self.interrupted.is_none() && self.removed.is_empty() && self.moved.is_empty()
    }
}

/// Recovers, and does nothing else.
pub fn recover(root: &Root, operator: &Operator<'_>) -> Result<Recovered, ReleaseError> {
    let recovered = put_right(&LockedRoot::acquire(root, "recover", operator)?)?;
    if let Some(Err(error)) =
        root.live()?.and_then(|live| root.complete(&live).ok()).map(|live| moved_root::check(&live))
    {
        operator.progress.note(&format!("{error}: {}", error.hint().unwrap_or_default()));
    }
    Ok(recovered)
}

/// Writes the paths in releases anew that were made where the root was before it was moved, and recovers.
pub fn recover_moved(root: &Root, operator: &Operator<'_>) -> Result<Recovered, ReleaseError> {
    let locked = LockedRoot::acquire(root, "recover", operator)?;
    compatible::check(root)?;
    let mut moved = Vec::new();
    for release in root.found()?.into_iter().filter_map(|found| found.complete) {
        if let Some(from) = moved_root::origin(root, &release) {
            moved_root::repair(root, &release, &from)?;
            moved.push(release.id().clone());
        }
    }
    Ok(Recovered { moved, ..put_right(&locked)? })
}

/// Takes the lock for `what`, and recovers.
pub(crate) fn begin<'a>(
    root: &'a Root,
    what: &str,
    operator: &'a Operator<'a>,
) -> Result<LockedRoot<'a>, ReleaseError> {
    let locked = LockedRoot::acquire(root, what, operator)?;
    let recovered = put_right(&locked)?;
    if let (Some(operation), Some(id)) = (recovered.interrupted, &recovered.id) {
        let now = match &recovered.failure {
            None if recovered.committed => "its release is live and verified".to_owned(),
            None => "nothing was switched".to_owned(),
            Some(error @ ReleaseError::Failed { source, .. }) => format!("{error}: {source}"),
            Some(error) => error.to_string(),
        };
        operator.progress.note(&format!("{operation} of {id} was interrupted: {now}"));
    }
    Ok(locked)
}

fn put_right(locked: &LockedRoot<'_>) -> Result<Recovered, ReleaseError> {
    compatible::check(locked.root)?;
    // A copy or a backup may have left out what is empty.
    Root::create(locked.root.path())?;
    current::forget_new(locked.root)?;
    shared_environment::forget_new(locked.root)?;
    let mut recovered = Recovered { removed: sweep(locked)?, ..Recovered::default() };
    hide_left(locked)?;
    let journaled_operations = journaled_operations(&locked.root.journal().read()?);
    let Some(journaled) = unfinished(&journaled_operations).or_else(|| left_switched(&journaled_operations))
    else {
        return Ok(recovered);
    };
    if journaled.is_left_switched() && !is_still_switched(locked.root, journaled)? {
        return Ok(recovered);
    }
    recovered.interrupted = Some(journaled.operation);
    recovered.id = Some(journaled.id.clone());
    match end(locked, journaled) {
        Ok(committed) => recovered.committed = committed,
        Err(error @ ReleaseError::Failed { .. }) => recovered.failure = Some(error),
        Err(error) => return Err(error),
    }
    Ok(recovered)
}

/// The last operation, where it failed and could not be taken back.
fn left_switched(journaled_operations: &[JournaledOperation]) -> Option<&JournaledOperation> {
    journaled_operations.last().filter(|journaled| journaled.is_left_switched())
}

/// Whether `current` leads to a release that failed, though there is another to go back to.
fn is_still_switched(root: &Root, journaled: &JournaledOperation) -> Result<bool, ReleaseError> {
    let before = journaled.live.as_ref().map(|before| root.complete_or_none(before)).transpose()?.flatten();
    Ok(before.is_some()
        && journaled.live.as_ref() != Some(&journaled.id)
        && root.live()?.as_ref() == Some(&journaled.id))
}

/// Ends an operation that was interrupted; whether its release is live now.
fn end(locked: &LockedRoot<'_>, journaled: &JournaledOperation) -> Result<bool, ReleaseError> {
    let begun = Instant::now();
    let failed = || FailedOperation {
        operation: journaled.operation,
        id: &journaled.id,
        previous: journaled.live.as_ref(),
        begun,
    };
    let fault = || Fault { phase: journaled.next_phase(), cause: ReleaseError::Interrupted };
    let live = locked.root.live()?;
    if !journaled.operation.switches() {
        // Whatever is live, it had nothing to do with it.
        _ = failed().end(locked, fault(), NOTHING);
        return Ok(false);
    }
    if live.as_ref() == Some(&journaled.id) {
        let Some(release) = locked.root.complete_or_none(&journaled.id)? else {
            // Somebody took it apart by hand: nothing can be proved, and nothing is kept waiting for it.
            return Err(failed().end(locked, fault(), (Outcome::RevertFailed, None)));
        };
        let settings = Settings::of(locked.root, &release, &Default::default())?;
        let settings = if journaled.operation.makes_a_release() {
            settings
        } else {
            settings.going_back_from(Settings::of_left(locked.root, journaled.live.as_ref()).as_ref())
        };
        let previous = journaled.live.clone();
        if !journaled.switched && previous != live {
            // It was killed between the rename and the entry that tells of it.
            locked.record(JournalEvent::Switched { id: journaled.id.clone(), from: previous.clone() })?;
        }
        let mut job = Job {
            locked,
            operation: journaled.operation,
            id: journaled.id.clone(),
            settings: &settings,
            previous,
            begun,
            release: Some(release),
            done: StepResults::default(),
        };
        let steps = plan::switch(&settings, journaled.operation);
        if journaled.is_left_switched() {
            return Err(engine::undo_steps(&mut job, &steps, fault()));
        }
        return engine::resume(&mut job, steps, 1).map(|_| true);
    }
    if !journaled.switched {
        // It may have been about to switch, with some of the services stopped.
        if let Some(live) =
            live.as_ref().map(|live| locked.root.complete_or_none(live)).transpose()?.flatten()
        {
            let settings = Settings::of(locked.root, &live, &Default::default())?;
            services::start_singletons(&live, &settings, locked.operator.progress)?;
        }
        _ = failed().end(locked, fault(), NOTHING);
        return Ok(false);
    }
    // It was being taken back: the link leads to the old release again, the server may not know.
    let served = match &live {
        Some(live) => {
            let left = Settings::of_left(locked.root, Some(&journaled.id));
            locked.root.complete(live).and_then(|live| serve_again(locked, &live, left.as_ref()))
        }
        None => Ok(()),
    };
    Err(failed().end(locked, fault(), went_back(served)))
}

/// Hides the secrets in what commands have written that were killed with their wheelbarrow.
fn hide_left(locked: &LockedRoot<'_>) -> Result<(), ReleaseError> {
    for found in locked.root.found()? {
        let release = locked.root.release(&found.id);
        let logs = release.join(LOGS);
        if let Err(error) = output::end_left(&logs, || Secrets::of(&release)) {
            let text = format!("what a killed command has written stays in {}: {error}", logs.display());
            locked.operator.progress.note(&text);
        }
    }
    Ok(())
}

/// Removes what was being made or removed; the releases that never became complete.
fn sweep(locked: &LockedRoot<'_>) -> Result<Vec<ReleaseId>, ReleaseError> {
    let root = locked.root;
    let live = root.live()?;
    let mut incomplete = Vec::new();
    for found in root.found()? {
        let is_swept = found.is_incomplete() && live.as_ref() != Some(&found.id);
        // A release that once was complete may hold what its site wrote.
        if is_swept && data::written(root, &found.id)?.is_empty() {
            match trash::throw(locked, &found.id) {
                Ok(()) => incomplete.push(found.id),
                Err(error) => trash::note(locked, &error),
            }
        }
    }
    let releases = root.releases();
    for entry in fs::read_dir(&releases).map_err(ReleaseError::io("list", &releases))? {
        let name = entry.map_err(ReleaseError::io("list", &releases))?.file_name();
        if is_staging(name.as_bytes())
            && let Err(error) = trash::throw_staging(locked, &name)
        {
            trash::note(locked, &error);
        }
    }
    rescued::forget_unfinished(locked);
    trash::empty(locked, trash::AT_FIRST)?;
    Ok(incomplete)
}

/// `.ID.wheelbarrow-XXXXXXXX`, in which an install was made. Who holds the root's lock is the only one to make any.
fn is_staging(name: &[u8]) -> bool {
    let id =
        std::str::from_utf8(name).ok().and_then(|name| name.strip_prefix('.')?.split_once(".wheelbarrow-"));
    id.is_some_and(|(id, _)| id.parse::<ReleaseId>().is_ok())
}
