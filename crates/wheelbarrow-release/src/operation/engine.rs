//! Runs the steps of a plan in order, and journals each. After a failure it undoes them backwards, and runs
//! the hooks for a failure.

use std::time::Instant;

use wheelbarrow_artifact::format::PROGRAM;
use wheelbarrow_artifact::release::Server;

use crate::root::journal::{JournalEvent, Operation, Outcome, Phase};
use crate::root::locked_root::{LockedRoot, milliseconds};
use crate::root::retention::Pruned;
use crate::root::settings::Settings;
use crate::root::{Mark, marker_files};
use crate::serving::{proof, systemd};
use crate::steps::hook::{self, OperationFailure};
use crate::steps::{Fault, Job, NOTHING, Step, Steps, UndoResult};
use crate::{ReleaseError, ReleaseId, Root};

/// The journal says that the operation starts.
pub(crate) fn begin(job: &Job<'_>) -> Result<(), ReleaseError> {
    job.locked.record(JournalEvent::Begun {
        operation: job.operation,
        id: job.id.clone(),
        live: job.previous.clone(),
        deploy: job.locked.operator.deploy.clone(),
        program: Some(PROGRAM.to_owned()),
    })
}

/// Takes all steps up to the answer, and returns those that come after it, for [`tidy`].
pub(crate) fn run<'s>(job: &mut Job<'_>, steps: Steps<'s>) -> Result<Steps<'s>, ReleaseError> {
    resume(job, steps, 0)
}

/// Takes the steps from the number `first` on; those before it are done.
pub(crate) fn resume<'s>(
    job: &mut Job<'_>,
    mut steps: Steps<'s>,
    first: usize,
) -> Result<Steps<'s>, ReleaseError> {
    let answer = steps.iter().position(|step| step.is_after_answer()).unwrap_or(steps.len());
    let rest = steps.split_off(answer);
    let end = steps.iter().position(|step| step.is_after_end()).unwrap_or(steps.len());
    let mut phases = PhaseProgress::default();
    for at in first..end {
        if steps[at].is_skipped(job) {
            continue;
        }
        phases.enter(job, &*steps[at]);
        if let Err(fault) = run_step(job, &mut *steps[at]) {
            phases.leave(job);
            return Err(undo_steps(job, &steps[..=at], fault));
        }
    }
    phases.leave(job);
    let done = JournalEvent::Done { milliseconds: milliseconds(job.begun.elapsed()) };
    if let Err(cause) = job.locked.record(done) {
        let phase = steps[..end].last().map_or(Phase::Commit, |step| step.phase());
        return Err(undo_steps(job, &steps[..end], Fault { phase, cause }));
    }
    for step in &mut steps[end..] {
        if step.is_skipped(job) {
            continue;
        }
        phases.enter(job, &**step);
        // After the end: what goes wrong here changes nothing of the operation.
        if let Err(Fault { cause, .. }) = run_step(job, &mut **step) {
            job.progress().note(&cause.to_string());
        }
    }
    phases.leave(job);
    Ok(rest)
}

/// Takes the steps after the answer, and says what they removed. What goes wrong changes nothing of the operation: the
/// journal has it. Whatever else this machine does comes first.
pub(crate) fn tidy(job: &mut Job<'_>, steps: Steps<'_>) -> Pruned {
    if steps.is_empty() {
        return Pruned::default();
    }
    wheelbarrow_base::give_way();
    // Who waits for the root is told what for.
    job.locked.lock.works_on("prune");
    let mut phases = PhaseProgress::default();
    for mut step in steps {
        phases.enter(job, &*step);
        let (phase, begun) = (step.phase(), Instant::now());
        let ended = step.run(job);
        let problem = ended.as_ref().err().map(ReleaseError::first_line);
        let took = milliseconds(begun.elapsed());
        let _ =
            job.locked.record(JournalEvent::Phase { phase, milliseconds: took, problem: problem.clone() });
        if problem.is_some() {
            job.done.pruned = Pruned { problem, ..Pruned::default() };
        }
    }
    phases.leave(job);
    std::mem::take(&mut job.done.pruned)
}

/// Shows what is under way: steps of one phase that follow each other are one.
#[derive(Default)]
struct PhaseProgress {
    current: Option<(String, Instant)>,
}

impl PhaseProgress {
    fn enter(&mut self, job: &mut Job<'_>, step: &dyn Step) {
        let name = match step.hook() {
            Some(hook) => format!("hook {hook}"),
            None => step.phase().to_string(),
        };
        if self.current.as_ref().is_none_or(|(current, _)| *current != name) {
            self.leave(job);
            job.progress().phase(&name);
            self.current = Some((name, Instant::now()));
        }
    }

    fn leave(&mut self, job: &mut Job<'_>) {
        if let Some((name, begun)) = self.current.take() {
            let took = milliseconds(begun.elapsed());
            job.progress().phase_ended(&name, took);
            job.done.phases.push((name, took));
        }
    }
}

/// Does a step, and writes down that it ended well and how long it took.
fn run_step(job: &mut Job<'_>, step: &mut dyn Step) -> Result<(), Fault> {
    let (phase, begun) = (step.phase(), Instant::now());
    // Later steps stop where they can.
    let is_cancelled = phase <= Phase::Switch && job.progress().is_cancelled();
    let result = if is_cancelled { Err(ReleaseError::Cancelled) } else { step.run(job) };
    let journaled = result.and_then(|()| match step.hook() {
        // Its commands are in the journal.
        Some(_) => Ok(()),
        None => {
            let milliseconds = milliseconds(begun.elapsed());
            job.locked.record(JournalEvent::Phase { phase, milliseconds, problem: None })
        }
    });
    journaled.map_err(|cause| Fault { phase, cause })
}

/// Undoes steps, the last of which may have failed half way, says how that went, and gives the error.
pub(crate) fn undo_steps(job: &mut Job<'_>, steps: &[Box<dyn Step + '_>], fault: Fault) -> ReleaseError {
    let mut undone = NOTHING;
    let begun = Instant::now();
    // It runs from the release.
    job.done.fork_server = None;
    if job.locked.root.live().is_ok_and(|live| live.as_ref() == Some(&job.id)) {
        job.progress().phase("rollback");
    }
    for step in steps.iter().rev() {
        match step.undo(job, &fault) {
            (Outcome::Unchanged, _) => {}
            changed => undone = changed,
        }
    }
    if undone.0 != Outcome::Unchanged {
        job.progress().phase_ended("rollback", milliseconds(begun.elapsed()));
    }
    job.progress().end();
    if job.operation.makes_a_release() && job.release.is_some() && !fault.cause.is_cancelled() {
        // What keeps the mark from being set keeps nothing from being live; the journal says it too.
        let _ = marker_files::set(job.locked.root, &job.id, Mark::Bad);
    }
    let failed = FailedOperation {
        operation: job.operation,
        id: &job.id,
        previous: job.previous.as_ref(),
        begun: job.begun,
    };
    failed.end(job.locked, fault, undone)
}

/// An operation that failed.
pub(crate) struct FailedOperation<'f> {
    pub(crate) operation: Operation,
    pub(crate) id: &'f ReleaseId,
    /// What was live before.
    pub(crate) previous: Option<&'f ReleaseId>,
    pub(crate) begun: Instant,
}

impl FailedOperation<'_> {
    /// Writes down that it failed, and runs the hooks for that; the error that says so to people.
    pub(crate) fn end(
        self,
        locked: &LockedRoot<'_>,
        Fault { phase, cause }: Fault,
        (outcome, revert): UndoResult,
    ) -> ReleaseError {
        let Self { operation, id, previous, begun } = self;
        let error = cause.first_line();
        let milliseconds = milliseconds(begun.elapsed());
        // Where the journal cannot be written, the next command finds an operation without an end, and recovers.
        let _ = locked.record(JournalEvent::Failed { phase, error: error.clone(), outcome, milliseconds });
        let left = what_is_left(locked.root, id, previous, outcome);
        let is_first = outcome == Outcome::Reverted && locked.root.live().is_ok_and(|live| live.is_none());
        hook::after_failure(
            locked,
            &OperationFailure { operation, id, previous, phase, outcome, error: &error, begun },
        );
        let id = id.clone();
        ReleaseError::Failed { id, phase, outcome, left, is_first, source: Box::new(cause), revert }
    }
}

/// What is live after the failure of `id`, and what runs, as the kernel tells it.
fn what_is_left(root: &Root, id: &ReleaseId, previous: Option<&ReleaseId>, outcome: Outcome) -> String {
    let live = root.live();
    let settings = |id: &ReleaseId| Settings::of_left(root, Some(id));
    let runs = || proof::of_live(root).map_or_else(|error| error.to_string(), |service| service.to_string());
    match (outcome, live) {
        (Outcome::Unchanged, _) => "nothing was switched".to_owned(),
        (Outcome::Reverted, Ok(Some(live))) => {
            let has_server = [&live, id]
                .into_iter()
                .filter_map(settings)
                .any(|settings| settings.server != Server::None || !settings.services.is_empty());
            let runs = if has_server { format!("; {}", runs()) } else { String::new() };
            format!("{live}, which was live before, is live again{runs}")
        }
        (Outcome::Reverted, _) => {
            let state = settings(id).and_then(|settings| match &settings.server {
                Server::Systemd { unit, manager, .. } => systemd::state(*manager, unit),
                _ => None,
            });
            let state = state.map(|state| format!("; {} is {} ({})", state.unit, state.active, state.sub));
            format!(
                "no release was live before, so `current` was removed, and the server was not restarted; {}{}",
                runs(),
                state.unwrap_or_default()
            )
        }
        (Outcome::RevertFailed, Ok(Some(live))) if previous == Some(id) && live == *id => {
            format!("it was live before, and still is; {}", runs())
        }
        (Outcome::RevertFailed, Ok(Some(live))) => {
            format!("the rollback failed: `current` leads to {live}; {}", runs())
        }
        (Outcome::RevertFailed, Ok(None)) => {
            format!("the rollback failed: there is no `current`; {}", runs())
        }
        (Outcome::RevertFailed, Err(error)) => format!("the rollback failed: {error}; {}", runs()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::SystemTime;

    use wheelbarrow_base::progress::{Progress, Unit};

    use super::*;
    use crate::root::operator::{Operator, Probing, Wait};
    use crate::steps::StepResults;

    struct NotedStep<'n> {
        phase: Phase,
        fails: bool,
        notes: &'n RefCell<Vec<String>>,
    }

    impl Step for NotedStep<'_> {
        fn phase(&self) -> Phase {
            self.phase
        }

        fn describe(&self, _settings: &Settings) -> String {
            String::new()
        }

        fn run(&mut self, _job: &mut Job<'_>) -> Result<(), ReleaseError> {
            self.notes.borrow_mut().push(format!("run {}", self.phase));
            if self.fails { Err(ReleaseError::Interrupted) } else { Ok(()) }
        }

        fn undo(&self, _job: &mut Job<'_>, _fault: &Fault) -> UndoResult {
            self.notes.borrow_mut().push(format!("undo {}", self.phase));
            if self.phase == Phase::Switch { (Outcome::Reverted, None) } else { NOTHING }
        }
    }

    struct Cancelled(bool);

    impl Progress for Cancelled {
        fn begin(&self, _what: &str, _total: u64, _unit: Unit) {}
        fn advance(&self, _amount: u64) {}
        fn end(&self) {}
        fn note(&self, _message: &str) {}
        fn is_cancelled(&self) -> bool {
            self.0
        }
    }

    /// What is done if the step `failing` fails: the steps that ran and were undone, what the journal has, the result.
    fn run_noted(
        failing: Option<Phase>,
        is_cancelled: bool,
    ) -> (String, String, Result<Pruned, ReleaseError>) {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let (progress, clock) = (Cancelled(is_cancelled), SystemTime::now);
        let operator = Operator {
            by: "deployer".to_owned(),
            wait: Wait::No,
            deploy: None,
            probing: Probing::Asked,
            clock: &clock,
            progress: &progress,
        };
        let locked = LockedRoot::acquire(&root, "activate", &operator).unwrap();
        let settings = Settings::of_root(&root).unwrap();
        let notes = RefCell::default();
        let phases = [Phase::Check, Phase::Switch, Phase::Reload, Phase::Commit, Phase::Prune];
        let steps = phases.into_iter().map(|phase| {
            Box::new(NotedStep { phase, fails: failing == Some(phase), notes: &notes }) as Box<dyn Step>
        });
        let mut job = Job {
            locked: &locked,
            operation: Operation::Activate,
            id: "1-1a2b3c4d".parse().unwrap(),
            settings: &settings,
            previous: None,
            begun: Instant::now(),
            release: None,
            done: StepResults::default(),
        };
        begin(&job).unwrap();
        let result = run(&mut job, steps.collect()).map(|rest| {
            notes.borrow_mut().push("answer".to_owned());
            tidy(&mut job, rest)
        });
        let journal = root.journal().read().unwrap();
        let events = journal.iter().map(|entry| match &entry.event {
            JournalEvent::Begun { .. } => "begun".to_owned(),
            JournalEvent::Phase { phase, problem: None, .. } => phase.to_string(),
            JournalEvent::Phase { phase, problem: Some(problem), .. } => format!("{phase}: {problem}"),
            JournalEvent::Done { .. } => "done".to_owned(),
            JournalEvent::Failed { phase, outcome, .. } => format!("failed in {phase}: {outcome:?}"),
            other => format!("{other:?}"),
        });
        (notes.take().join(", "), events.collect::<Vec<_>>().join(", "), result)
    }

    #[test]
    fn steps_run_in_order_and_are_undone_backwards() {
        let (steps, journal, result) = run_noted(None, false);
        assert_eq!(steps, "run check, run switch, run reload, run commit, answer, run prune");
        assert_eq!(journal, "begun, check, switch, reload, commit, done, prune");
        assert_eq!(result.unwrap(), Pruned::default());
        let (steps, journal, result) = run_noted(Some(Phase::Reload), false);
        assert_eq!(steps, "run check, run switch, run reload, undo reload, undo switch, undo check");
        assert_eq!(journal, "begun, check, switch, failed in reload: Reverted");
        assert!(matches!(result, Err(ReleaseError::Failed { phase: Phase::Reload, .. })), "{result:?}");
    }

    #[test]
    fn a_failure_after_the_end_changes_nothing() {
        let (steps, journal, result) = run_noted(Some(Phase::Prune), false);
        assert_eq!(steps, "run check, run switch, run reload, run commit, answer, run prune");
        let problem = ReleaseError::Interrupted.first_line();
        assert_eq!(journal, format!("begun, check, switch, reload, commit, done, prune: {problem}"));
        assert_eq!(result.unwrap().problem, Some(problem));
    }

    #[test]
    fn a_cancelled_operation_runs_no_step() {
        let (steps, journal, result) = run_noted(None, true);
        assert_eq!(steps, "undo check");
        assert_eq!(journal, "begun, failed in check: Unchanged");
        assert!(result.unwrap_err().is_cancelled());
    }
}
