//! Commit: marks the release as good.

use crate::ReleaseError;
use crate::environment::shared_environment;
use crate::root::journal::{Operation, Phase};
use crate::root::settings::Settings;
use crate::root::{Mark, marker_files};
use crate::serving::services;
use crate::steps::{Fault, Job, NOTHING, Step, UndoResult};

pub(crate) struct Commit;

impl Step for Commit {
    fn phase(&self) -> Phase {
        Phase::Commit
    }

    fn describe(&self, _settings: &Settings) -> String {
        "accept the release".to_owned()
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        let root = job.locked.root;
        marker_files::unset(root, &job.id, Mark::Bad)?;
        if let Some(left) = job.previous.as_ref().filter(|_| job.operation == Operation::Rollback)
            && !job.is_live_already()
        {
            marker_files::set(root, left, Mark::Bad)?;
        }
        if job.operation == Operation::Environment {
            // What was asked for counts from now on for other releases too.
            let before = shared_environment::before(root, job.release()?)?;
            let before = job.done.environment.insert(before);
            let release =
                job.release.as_ref().ok_or_else(|| ReleaseError::Incomplete { id: job.id.clone() })?;
            shared_environment::publish(root, release, before)?;
        }
        services::settle(root, Some((job.release()?, job.settings)), job.progress())
    }

    /// What it marks, the switch back marks again.
    fn undo(&self, job: &mut Job<'_>, _fault: &Fault) -> UndoResult {
        if let Some(before) = job.done.environment.take() {
            shared_environment::unpublish(job.locked.root, &before);
        }
        NOTHING
    }
}
