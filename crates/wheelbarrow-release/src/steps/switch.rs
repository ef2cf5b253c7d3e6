//! Switch: points `current` to the release, and back to the previous release if a later step fails.

use std::time::SystemTime;

use wheelbarrow_artifact::release::Server;
use wheelbarrow_base::progress::{Progress, Unit};

use crate::ReleaseError;
use crate::check::startable;
use crate::root::journal::{JournalEvent, Operation, Outcome, Phase};
use crate::root::locked_root::LockedRoot;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::root::{Mark, current, marker_files};
use crate::serving::server_log::ServerLog;
use crate::serving::services::{self, Workers};
use crate::stage::statics;
use crate::steps::verify::{ServingProof, prove_all, witness};
use crate::steps::{Fault, Job, NOTHING, Step, UndoResult};

pub(crate) struct Switch;

impl Step for Switch {
    fn phase(&self) -> Phase {
        Phase::Switch
    }

    fn describe(&self, _settings: &Settings) -> String {
        "point `current` at the release".to_owned()
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        job.done.fork_server = None;
        let (root, release) = (job.locked.root, job.release()?);
        let live = job.previous.as_ref().map(|live| root.complete_or_none(live)).transpose()?.flatten();
        if let Some(live) = &live {
            match statics::carry(job.locked, live, release, job.settings) {
                // Pages of before may lack a style sheet, which is no reason to stay.
                Err(error) if error.is_full() => {
                    let (live, next) = (live.id(), release.id());
                    let text = format!("not all static files of {live} were kept in {next}: {error}");
                    job.progress().note(&text);
                }
                carried => carried?,
            }
        }
        let left =
            live.map(|live| Settings::of(root, &live, &Default::default()).map(|settings| (live, settings)));
        let left = left.transpose()?;
        let stopped = left
            .as_ref()
            .map_or(Ok(()), |(live, settings)| services::stop_singletons(live, settings, job.progress()));
        if let Err(error) = stopped.and_then(|()| current::switch(root, release)) {
            // Some may have stopped, and whoever wants to stop wants them to run.
            if let Some((live, settings)) = &left
                && let Err(problem) =
                    services::start_singletons(live, settings, &Uncancellable(job.progress()))
            {
                let text = format!("not all services of {} run again: {problem}", live.id());
                job.progress().note(&text);
            }
            return Err(error);
        }
        job.locked.record(JournalEvent::Switched { id: job.id.clone(), from: job.previous.clone() })
    }

    /// Puts back what was live, the server included: it is told last, when `current` leads back.
    fn undo(&self, job: &mut Job<'_>, _fault: &Fault) -> UndoResult {
        match job.locked.root.live() {
            Err(error) => went_back(Err(error)),
            Ok(live) if live.as_ref() != Some(&job.id) || job.is_live_already() => NOTHING,
            Ok(_) => went_back(put_back(job)),
        }
    }
}

pub(crate) fn went_back(served: Result<(), ReleaseError>) -> UndoResult {
    match served {
        Ok(()) => (Outcome::Reverted, None),
        Err(error) => (Outcome::RevertFailed, Some(Box::new(error))),
    }
}

fn put_back(job: &Job<'_>) -> Result<(), ReleaseError> {
    let root = job.locked.root;
    let Some(previous) = &job.previous else {
        // Nothing was live, and no server can be told to serve nothing.
        current::unlink(root)?;
        return services::settle(root, None, job.progress());
    };
    let previous = root.complete(previous)?;
    current::switch(root, &previous)?;
    if job.operation == Operation::Rollback {
        // It may have been marked as the one that was left.
        marker_files::unset(root, previous.id(), Mark::Bad)?;
    }
    serve_again(job.locked, &previous, Some(job.settings))
}

/// Reloads and verifies what is live, which was gone back to from a release with the settings `left`, whoever wants to stop
/// meanwhile.
pub(crate) fn serve_again(
    locked: &LockedRoot<'_>,
    live: &CompleteRelease,
    left: Option<&Settings>,
) -> Result<(), ReleaseError> {
    let settings = Settings::of(locked.root, live, &Default::default())?;
    let is_told = settings.server != Server::None;
    let settings = settings.going_back_from(left);
    let progress = Uncancellable(locked.operator.progress);
    startable::check(live, &settings, &progress)?;
    let log = ServerLog::begin(locked.root, &settings);
    let told = SystemTime::now();
    let served = match services::start(locked.root, live, &settings, Workers::Kept, &progress) {
        // The server of the release that failed may never have run.
        Err(error) if !is_told => {
            progress.note(&format!("not all of {} was started again: {error}", live.id()));
            Ok(ServingProof::None("the server could not be reloaded"))
        }
        Err(error) => Err(error),
        Ok(()) => prove_all(locked, live, &settings, told, &progress),
    };
    served
        .and_then(|proof| match proof {
            ServingProof::None(reason) => witness(locked.root, live, &settings, reason).map(drop),
            ServingProof::Processes => Ok(()),
        })
        .map_err(|error| log.explain(error))?;
    services::settle(locked.root, Some((live, &settings)), &progress)
}

/// Shows progress, and does not listen to who wants it to stop.
pub(crate) struct Uncancellable<'a>(pub(crate) &'a dyn Progress);

impl Progress for Uncancellable<'_> {
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

    fn detail(&self, message: &str) {
        self.0.detail(message);
    }

    fn phase(&self, name: &str) {
        self.0.phase(name);
    }

    fn phase_ended(&self, name: &str, milliseconds: u64) {
        self.0.phase_ended(name, milliseconds);
    }

    fn runs(&self, command: &str, line: &str) {
        self.0.runs(command, line);
    }
}
