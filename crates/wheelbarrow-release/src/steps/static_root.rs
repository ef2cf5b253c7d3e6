//! Prepares a release's static files before the switch.

use crate::ReleaseError;
use crate::root::journal::Phase;
use crate::root::settings::Settings;
use crate::stage::statics;
use crate::steps::{Job, Step};

/// Finds out where the release collects its static files, and lets the site's user write there if commands will.
pub(crate) struct StaticRoot {
    pub(crate) is_written: bool,
}

impl Step for StaticRoot {
    fn phase(&self) -> Phase {
        Phase::Check
    }

    fn describe(&self, _settings: &Settings) -> String {
        "find the directory of the static files".to_owned()
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        let mut server = job.done.fork_server.take();
        let (release, settings) = (job.release()?, job.settings);
        let static_root = statics::ask(job.locked, release, settings, server.as_mut())?;
        match (&settings.collected, &static_root) {
            (Some(collected), Some(answer)) => statics::refuse_elsewhere(release, collected, answer)?,
            (None, Some(answer)) if self.is_written => statics::make_writable(release, settings, answer)?,
            _ => {}
        }
        // Before they are collected: whatever happens then, they are known to be made from the artifact.
        statics::note_root(job.locked, release, settings, static_root)?;
        job.done.fork_server = server;
        Ok(())
    }
}

/// Takes over the static files of another release of the same artifact.
pub(crate) struct Inherit;

impl Step for Inherit {
    fn phase(&self) -> Phase {
        Phase::Prepare
    }

    fn describe(&self, _settings: &Settings) -> String {
        "link the static files of another release of the same artifact".to_owned()
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        statics::inherit(job.locked, job.release()?, job.settings)
    }
}
