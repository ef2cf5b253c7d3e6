//! Reload: the server starts the release.

use std::time::SystemTime;

use wheelbarrow_artifact::release::Server;

use crate::ReleaseError;
use crate::root::journal::{Outcome, Phase};
use crate::root::settings::Settings;
use crate::serving::server_log::ServerLog;
use crate::serving::services::{self, Workers};
use crate::steps::{Fault, Job, NOTHING, Step, UndoResult};

pub(crate) struct Reload;

impl Step for Reload {
    fn phase(&self) -> Phase {
        Phase::Reload
    }

    fn describe(&self, settings: &Settings) -> String {
        let services = services::describe(settings);
        match &settings.server {
            Server::None if services.is_empty() => "no server is configured".to_owned(),
            server if settings.services.is_empty() => server.to_string(),
            _ => services.join("; "),
        }
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        job.done.told = Some(SystemTime::now());
        let log = job.done.server_log.insert(ServerLog::begin(job.locked.root, job.settings));
        let release = job.release.as_ref().ok_or_else(|| ReleaseError::Incomplete { id: job.id.clone() })?;
        let (root, progress) = (job.locked.root, job.locked.operator.progress);
        services::start(root, release, job.settings, Workers::Restarted, progress)
            .map_err(|error| log.explain(error))
    }

    /// The switch back tells the server again. Where the release was live before, there is nothing to go back to.
    fn undo(&self, job: &mut Job<'_>, _fault: &Fault) -> UndoResult {
        if job.is_live_already() { (Outcome::RevertFailed, None) } else { NOTHING }
    }
}
