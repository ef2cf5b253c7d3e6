//! Prune: removes old releases after a successful operation.

use crate::ReleaseError;
use crate::root::data::SiteData;
use crate::root::journal::Phase;
use crate::root::retention;
use crate::root::settings::Settings;
use crate::steps::{Job, Step};

pub(crate) struct Prune;

impl Step for Prune {
    fn phase(&self) -> Phase {
        Phase::Prune
    }

    fn describe(&self, settings: &Settings) -> String {
        format!("remove old releases, keep the newest {}", settings.keep)
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        job.done.pruned = retention::remove(job.locked, job.settings.keep, SiteData::Kept)?;
        Ok(())
    }
}
