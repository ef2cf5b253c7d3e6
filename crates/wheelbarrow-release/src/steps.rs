//! The steps of operations, one file each: what a step does, how it is undone, and its description in a plan.
//!
//! `operation/plan` puts them in order, `operation/engine` runs them. A step gets its inputs from the job,
//! and leaves there what later steps need.

pub(crate) mod check;
pub(crate) mod commit;
pub(crate) mod configure;
pub(crate) mod hook;
pub(crate) mod prepare;
pub(crate) mod prune;
pub(crate) mod reload;
pub(crate) mod stage;
pub(crate) mod static_root;
pub(crate) mod switch;
pub(crate) mod verify;

use std::time::{Instant, SystemTime};

use wheelbarrow_artifact::release::Server;
use wheelbarrow_base::progress::Progress;

use crate::check::DjangoReport;
use crate::command::fork_server::ForkServer;
use crate::environment::shared_environment::PreviousFile;
use crate::report::changes::{Changes, Findings, ServiceChanges};
use crate::root::journal::{Operation, Outcome, Phase};
use crate::root::locked_root::LockedRoot;
use crate::root::release::CompleteRelease;
use crate::root::retention::Pruned;
use crate::root::settings::Settings;
use crate::serving::server_log::ServerLog;
use crate::{ReleaseError, ReleaseId};

/// A part of an operation. The journal has it as one phase, or as the commands of a hook.
pub(crate) trait Step {
    fn phase(&self) -> Phase;

    /// Of a step that runs a hook, the name of that.
    fn hook(&self) -> Option<&'static str> {
        None
    }

    /// Whether it comes after the end of the operation: what goes wrong then changes nothing of it.
    fn is_after_end(&self) -> bool {
        self.phase() == Phase::Prune
    }

    /// Whether it comes after the answer too: whoever asked for the operation does not wait for it.
    fn is_after_answer(&self) -> bool {
        self.phase() == Phase::Prune
    }

    /// Whether there is nothing to do, which is not reported either.
    fn is_skipped(&self, _job: &Job<'_>) -> bool {
        false
    }

    /// What it would do, for a plan.
    fn describe(&self, settings: &Settings) -> String;

    /// Does it.
    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError>;

    /// Undoes what it did before this fault, its own or that of a later step. What is on disk decides what that is.
    fn undo(&self, _job: &mut Job<'_>, _fault: &Fault) -> UndoResult {
        NOTHING
    }
}

/// Steps in order.
pub(crate) type Steps<'s> = Vec<Box<dyn Step + 's>>;

/// What is live after a step was undone, as far as the step changes that; what went wrong meanwhile.
pub(crate) type UndoResult = (Outcome, Option<Box<ReleaseError>>);

/// The step has changed nothing of what is live.
pub(crate) const NOTHING: UndoResult = (Outcome::Unchanged, None);

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) phase: Phase,
    pub(crate) cause: ReleaseError,
}

/// An operation on a release that is under way.
pub(crate) struct Job<'j> {
    pub(crate) locked: &'j LockedRoot<'j>,
    pub(crate) operation: Operation,
    pub(crate) id: ReleaseId,
    pub(crate) settings: &'j Settings,
    /// What was live before; the release itself where it is live already.
    pub(crate) previous: Option<ReleaseId>,
    pub(crate) begun: Instant,
    /// None until it is complete.
    pub(crate) release: Option<CompleteRelease>,
    pub(crate) done: StepResults<'j>,
}

/// What steps have left for later steps, and for the report.
#[derive(Default)]
pub(crate) struct StepResults<'j> {
    /// The bytecode of the code: its path in the artifact, and its bytes.
    pub(crate) pack: Option<(String, Vec<u8>)>,
    pub(crate) django: Option<DjangoReport>,
    /// What starts the site's Python once for all steps before the switch.
    pub(crate) fork_server: Option<ForkServer>,
    /// What the server writes since the switch.
    pub(crate) server_log: Option<ServerLog<'j>>,
    /// When what serves was told.
    pub(crate) told: Option<SystemTime>,
    /// What runs, if that is another release: no server was told or could be looked at.
    pub(crate) unproved: Option<String>,
    /// The shared environment before that of the release took its place.
    pub(crate) environment: Option<PreviousFile>,
    pub(crate) pruned: Pruned,
    /// Those that were applied, as `app.name`.
    pub(crate) migrations: Vec<String>,
    pub(crate) findings: Findings,
    /// Names of phases and hooks, and how long each took, in milliseconds.
    pub(crate) phases: Vec<(String, u64)>,
}

impl<'j> Job<'j> {
    pub(crate) fn release(&self) -> Result<&CompleteRelease, ReleaseError> {
        self.release.as_ref().ok_or_else(|| ReleaseError::Incomplete { id: self.id.clone() })
    }

    pub(crate) fn progress(&self) -> &'j dyn Progress {
        self.locked.operator.progress
    }

    /// What was changed, after it was done.
    pub(crate) fn changes(&self) -> Changes {
        let before = self.previous.as_ref();
        let before = before.and_then(|before| self.locked.root.complete_or_none(before).ok().flatten());
        let settings = before
            .as_ref()
            .and_then(|before| Settings::of(self.locked.root, before, &Default::default()).ok());
        let services = settings.map(|settings| settings.services).unwrap_or_default();
        let between = self.release.as_ref().map(|release| Changes::between(before.as_ref(), release));
        Changes {
            migrations: self.done.migrations.clone(),
            services: ServiceChanges::between(&services, &self.settings.services),
            server: (self.settings.server != Server::None).then(|| self.settings.server.to_string()),
            findings: self.done.findings.clone(),
            phases: self.done.phases.clone(),
            ..between.unwrap_or_default()
        }
    }

    pub(crate) fn is_live_already(&self) -> bool {
        self.previous.as_ref() == Some(&self.id)
    }
}
