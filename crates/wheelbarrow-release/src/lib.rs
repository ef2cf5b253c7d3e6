//! Releases under a site root: staged, switched, rolled back, pruned.
//!
//! `docs/reference/releases.md` is the specification. The link `current` names the live release, the journal
//! gives the order of events, and a release is complete if its own record exists. Nothing else is trusted: no
//! clock, no modification time, no order of names.

pub mod check;
mod command;
pub mod environment;
mod error;
mod explain;
mod operation;
mod report;
mod root;
mod serving;
mod stage;
mod steps;

pub use check::application::settings_module_in;
pub use command::identity::{Identity, operator};
pub use command::secrets::hide_secrets;
pub use environment::shared_environment::{EnvironmentDifference, VariableChange, check_name};
pub use error::ReleaseError;
pub use operation::activate::{Activated, RollbackOptions, activate, plan_rollback, rollback};
pub use operation::change_environment::{
    ChangedEnvironment, RewrittenFile, change_environment, environment_difference, environment_names,
    plan_change, plan_rewrite, rewrite_environment,
};
pub use operation::check_and_migrate::{CheckedRelease, Migrated, check_release, migrate, plan_migrate};
pub use operation::deploy::{
    DeployExtent, DeployOptions, DeployPlan, Deployed, ExistingRelease, deploy, plan as plan_deploy,
};
pub use operation::live_release;
pub use operation::prune::{
    PruneOptions, pin, plan_prune, plan_remove_release, prune, remove_release, unpin,
};
pub use operation::recovery::{Recovered, recover, recover_moved};
pub use operation::rescue::{Rescued, plan_rescue, rescue};
pub use operation::singletons::{SaidBy, Singletons, set_singletons, singletons};
pub use report::bundled_python::BundledPython;
pub use report::changes::{Changes, Distributions, Findings, ServiceChanges, StaticFiles, VersionChange};
pub use report::health::{Health, HealthProblem, Level, health};
pub use report::rule::Rule;
pub use report::status::{ListedRelease, ReleaseState, Status, history, list, status};
pub use root::data::SiteData;
pub use root::history::{JournaledOperation, OperationEnd, RunCommand};
pub use root::id::{NotAnId, ReleaseId};
pub use root::inventory::inventory;
pub use root::journal::{Journal, JournalEntry, JournalEvent, Operation, Outcome, Phase};
pub use root::lock::{LockHolder, RootLock};
pub use root::operator::{Operator, Probing, Wait};
pub use root::release::{CompleteRelease, ReleaseRecord, SiteRecord};
pub use root::rescued::{CopiedData, NotCopied};
pub use root::retention::{KeepReason, Pruned};
pub use root::settings::Settings;
pub use root::trusted_python::{of_artifact as python_of_artifact, probe as probe_python};
pub use root::{ReleaseDirectory, Root};
pub use serving::server_log::ServerOutput;
pub use serving::service_state::{ServiceState, TimerState};
pub use serving::services::{OwnUnits, units as service_units};
pub use serving::systemd::{UnitProblem, UnitState};
pub use serving::{doctor, proof, unit};
pub use stage::fingerprint::{AskSchema, Fingerprint, Schema};
pub use stage::reusable_release::{FoundRelease, find as find_release};
pub use steps::prepare::Prepare;
