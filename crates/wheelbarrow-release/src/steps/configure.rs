//! Configure: makes a release of an install.

use wheelbarrow_artifact::format::PROGRAM;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::release::ReleaseSettings;

use crate::ReleaseError;
use crate::root::journal::Phase;
use crate::root::release::{FORMAT, ReleaseRecord};
use crate::root::settings::Settings;
use crate::stage::configure::{ReleaseEnvironment, ReleaseExtras, configure};
use crate::steps::{Job, Step};

pub(crate) struct Configure<'s> {
    /// Of the site.
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// The top directory of the code.
    pub(crate) code: String,
    /// Of the manifest.
    pub(crate) digest: Sha256,
    /// What flags said.
    pub(crate) flags: &'s ReleaseSettings,
    pub(crate) environment: ReleaseEnvironment,
}

impl Step for Configure<'_> {
    fn phase(&self) -> Phase {
        Phase::Configure
    }

    fn describe(&self, settings: &Settings) -> String {
        match settings.shared.len() {
            0 => "add the environment".to_owned(),
            _ => "add the environment and links to the shared paths".to_owned(),
        }
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        let root = job.locked.root;
        let record = ReleaseRecord {
            format: FORMAT,
            program: Some(PROGRAM.to_owned()),
            id: job.id.clone(),
            name: self.name.clone(),
            version: self.version.clone(),
            manifest_sha256: self.digest,
            parent: root.live()?,
            environment_sha256: None,
            made_at: job.locked.operator.now(),
            settings: self.flags.clone(),
        };
        let extras = ReleaseExtras { environment: &self.environment, pack: job.done.pack.as_ref() };
        job.release = Some(configure(root, &self.code, job.settings, &extras, record)?);
        Ok(())
    }
}
