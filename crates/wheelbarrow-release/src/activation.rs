//! From a complete release to a live and proved one, or back to where it was: switch, reload, probe, commit.

pub(crate) mod prepare;

pub(crate) mod verification;

use std::time::Instant;

use wheelbarrow_artifact::progress::{Progress, Unit};

use crate::activation::prepare::{Prepare, check_and_prepare};
use crate::activation::verification::{Proof, witness};
use crate::check::startable;
use crate::environment::shared_environment;
use crate::root::Mark;
use crate::root::current;
use crate::root::journal::{Event, Operation, Outcome, Phase};
use crate::root::locked_root::{Fault, LockedRoot, milliseconds};
use crate::root::marks;
use crate::root::operator::Probing;
use crate::root::release::CompleteRelease;
use crate::root::retention::{self, Pruned};
use crate::root::settings::Settings;
use crate::serving::server_log::ServerLog;
use crate::serving::{probe, proof, server};
use crate::stage::statics;
use crate::{ReleaseError, ReleaseId, Root};

/// A release on its way to be live.
pub(crate) struct Activation<'w, 'a> {
    pub(crate) locked: &'w LockedRoot<'a>,
    pub(crate) operation: Operation,
    pub(crate) release: CompleteRelease,
    pub(crate) settings: Settings,
    /// What was live before; the release itself where it is live already.
    pub(crate) previous: Option<ReleaseId>,
    pub(crate) begun: Instant,
}

impl Activation<'_, '_> {
    /// Makes it live and proves it, or takes it back. What speaks against that it serves, if nothing proved it and it was gone
    /// back to.
    pub(crate) fn run(&self) -> Result<Option<String>, ReleaseError> {
        let switched = if self.is_live_already() { Ok(()) } else { self.switch() };
        switched.and_then(|()| self.prove()).or_else(|fault| self.take_back(fault).map(|()| None))
    }

    /// Checks and prepares it first, makes it live or takes it back, and prunes.
    pub(crate) fn prepare_and_run(&self, prepare: Prepare) -> Result<Pruned, ReleaseError> {
        if let Err(fault) = check_and_prepare(self.locked, &self.release, &self.settings, prepare) {
            return Err(self.take_back(fault).err().unwrap_or(ReleaseError::Cancelled));
        }
        self.run()?;
        Ok(retention::after_deploy(self.locked, self.settings.keep))
    }

    /// The same from after the switch on, for an operation that was interrupted there.
    pub(crate) fn resume(&self) -> Result<(), ReleaseError> {
        self.prove().map(drop).or_else(|fault| self.take_back(fault))
    }

    fn is_live_already(&self) -> bool {
        self.previous.as_ref() == Some(self.release.id())
    }

    fn switch(&self) -> Result<(), Fault> {
        self.locked.phase(Phase::Switch, || {
            let live = self.previous.as_ref().map(|live| self.locked.root.complete_or_none(live));
            if let Some(live) = live.transpose()?.flatten() {
                match statics::carry(self.locked, &live, &self.release, &self.settings) {
                    // Pages of before may lack a style sheet, which is no reason to stay.
                    Err(error) if error.is_full() => {
                        let progress = self.locked.operator.progress;
                        let (live, next) = (live.id(), self.release.id());
                        let text = format!("not all static files of {live} were kept in {next}: {error}");
                        progress.note(&text);
                    }
                    carried => carried?,
                }
            }
            current::switch(self.locked.root, &self.release)?;
            self.locked.record(Event::Switched { id: self.release.id().clone(), from: self.previous.clone() })
        })
    }

    fn prove(&self) -> Result<Option<String>, Fault> {
        let log = ServerLog::begin(self.locked.root, &self.settings);
        let doubt = self.serve().map_err(|fault| Fault { cause: log.explain(fault.cause), ..fault })?;
        self.commit().map_err(|cause| Fault { phase: Phase::Commit, cause })?;
        Ok(doubt)
    }

    /// Has the server run it, and looks whether it does.
    fn serve(&self) -> Result<Option<String>, Fault> {
        let progress = self.locked.operator.progress;
        self.locked.phase(Phase::Reload, || server::reload(&self.release, &self.settings, progress))?;
        self.locked.phase(Phase::Probe, || {
            match prove(self.locked, &self.release, &self.settings, progress)? {
                Proof::None(reason) if !self.operation.makes_a_release() => {
                    witness(self.locked.root, &self.release, &self.settings, reason)
                }
                _ => Ok(None),
            }
        })
    }

    /// From here on it is good.
    fn commit(&self) -> Result<(), ReleaseError> {
        let root = self.locked.root;
        let committing = Instant::now();
        marks::unset(root, self.release.id(), Mark::Bad)?;
        if let Some(left) = self.previous.as_ref().filter(|_| self.operation == Operation::Rollback)
            && !self.is_live_already()
        {
            marks::set(root, left, Mark::Bad)?;
        }
        let end = || {
            let phase =
                Event::Phase { phase: Phase::Commit, milliseconds: milliseconds(committing.elapsed()) };
            self.locked.record(phase)?;
            self.locked.record(Event::Done { milliseconds: milliseconds(self.begun.elapsed()) })
        };
        if self.operation != Operation::Environment {
            return end();
        }
        // What was asked for counts from now on for other releases too.
        let before = shared_environment::before(root, &self.release)?;
        shared_environment::publish(root, &self.release, &before)
            .and_then(|()| end())
            .inspect_err(|_| shared_environment::unpublish(root, &before))
    }

    /// Puts back what was live, the server included, says how that went, and fails.
    pub(crate) fn take_back(&self, fault: Fault) -> Result<(), ReleaseError> {
        let (outcome, revert) = self.revert(fault.phase);
        if self.operation.makes_a_release() && !fault.cause.is_cancelled() {
            // What keeps the mark from being set keeps nothing from being live; the journal says it too.
            let _ = marks::set(self.locked.root, self.release.id(), Mark::Bad);
        }
        Err(fail(self.locked, self.release.id(), self.begun, fault, outcome, revert))
    }

    fn revert(&self, phase: Phase) -> (Outcome, Option<Box<ReleaseError>>) {
        let live = match self.locked.root.live() {
            Ok(live) => live,
            Err(error) => return (Outcome::RevertFailed, Some(Box::new(error))),
        };
        if live.as_ref() != Some(self.release.id()) {
            return (Outcome::Unchanged, None);
        }
        if self.is_live_already() {
            // The release before is this one: there is nothing to go back to.
            let outcome = if phase < Phase::Reload { Outcome::Unchanged } else { Outcome::RevertFailed };
            return (outcome, None);
        }
        match self.put_back() {
            Ok(()) => (Outcome::Reverted, None),
            Err(error) => (Outcome::RevertFailed, Some(Box::new(error))),
        }
    }

    fn put_back(&self) -> Result<(), ReleaseError> {
        let root = self.locked.root;
        let Some(previous) = &self.previous else {
            // Nothing was live, and no server can be told to serve nothing.
            return current::unlink(root);
        };
        let previous = root.complete(previous)?;
        current::switch(root, &previous)?;
        if self.operation == Operation::Rollback {
            // It may have been marked as the one that was left.
            marks::unset(root, previous.id(), Mark::Bad)?;
        }
        serve_again(self.locked, &previous, Some(&self.settings))
    }
}

/// Reloads and proves what is live, which was gone back to from a release with the settings `left`, whoever wants to stop
/// meanwhile.
pub(crate) fn serve_again(
    locked: &LockedRoot<'_>,
    live: &CompleteRelease,
    left: Option<&Settings>,
) -> Result<(), ReleaseError> {
    let settings = Settings::of(locked.root, live, &Default::default())?.going_back_from(left);
    let progress = Deaf(locked.operator.progress);
    startable::check(live, &settings, &progress)?;
    let log = ServerLog::begin(locked.root, &settings);
    let served = match server::reload(live, &settings, &progress) {
        // The server of the release that failed may never have run.
        Err(_) if settings.said.server.is_none() => Ok(Proof::None("the server could not be told")),
        Err(error) => Err(error),
        Ok(()) => prove(locked, live, &settings, &progress),
    };
    served
        .and_then(|proof| match proof {
            Proof::None(reason) => witness(locked.root, live, &settings, reason).map(drop),
            Proof::Processes => Ok(()),
        })
        .map_err(|error| log.explain(error))
}

fn prove(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Proof, ReleaseError> {
    if locked.operator.probing == Probing::LeftOut && settings.probe.is_some() {
        progress
            .note("the probe was left out: `wheelbarrow activate` of the live release asks the server later");
        return verification::prove(locked, release, &Settings { probe: None, ..settings.clone() }, progress);
    }
    if let Some(settings) = &settings.probe {
        probe::probe(settings, progress)?;
    }
    verification::prove(locked, release, settings, progress)
}

/// Writes down that an operation failed; the error that says so to people.
pub(crate) fn fail(
    locked: &LockedRoot<'_>,
    id: &ReleaseId,
    begun: Instant,
    fault: Fault,
    outcome: Outcome,
    revert: Option<Box<ReleaseError>>,
) -> ReleaseError {
    let Fault { phase, cause } = fault;
    let error = cause.to_string().lines().next().unwrap_or_default().to_owned();
    let milliseconds = milliseconds(begun.elapsed());
    // Where the journal cannot be written, the next command finds an operation without an end, and recovers.
    let _ = locked.record(Event::Failed { phase, error, outcome, milliseconds });
    let left = what_is_left(locked.root, outcome);
    let is_first = outcome == Outcome::Reverted && locked.root.live().is_ok_and(|live| live.is_none());
    ReleaseError::Failed { id: id.clone(), phase, outcome, left, is_first, source: Box::new(cause), revert }
}

/// What is live after a failure. Where that is not what was live before, also what runs, as the kernel tells it.
fn what_is_left(root: &Root, outcome: Outcome) -> String {
    let live = root.live();
    let runs = || proof::of_live(root).map_or_else(|error| error.to_string(), |service| service.to_string());
    match (outcome, live) {
        (Outcome::Unchanged, _) => "nothing was switched".to_owned(),
        (Outcome::Reverted, Ok(Some(live))) => format!("{live}, which was live before, is live again"),
        (Outcome::Reverted, _) => format!(
            "nothing was live before it, so `current` is gone again, and the server was not told; {}",
            runs()
        ),
        (Outcome::RevertFailed, Ok(Some(live))) => {
            format!("it could not be taken back: `current` leads to {live}; {}", runs())
        }
        (Outcome::RevertFailed, Ok(None)) => {
            format!("it could not be taken back: there is no `current`; {}", runs())
        }
        (Outcome::RevertFailed, Err(error)) => format!("it could not be taken back: {error}; {}", runs()),
    }
}

/// Shows progress, and does not listen to who wants it to stop.
struct Deaf<'a>(&'a dyn Progress);

impl Progress for Deaf<'_> {
    fn begin(&self, what: &str, total: u64, unit: Unit) {
        self.0.begin(what, total, unit);
    }

    fn advance(&self, amount: u64) {
        self.0.advance(amount);
    }

    fn end(&self) {
        self.0.end();
    }

    fn note(&self, message: &str) {
        self.0.note(message);
    }

    fn runs(&self, command: &str, line: &str) {
        self.0.runs(command, line);
    }
}
