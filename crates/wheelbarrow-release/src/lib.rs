//! Releases under a site root: staged, switched, taken back, pruned.
//!
//! `docs/releases.md` is the specification. What is live is what the link `current` says; in what order things came to
//! be is what the journal says; a release is complete when its own record is there. Nothing else is believed: no clock,
//! no modification time, no order of names.

mod activate;
mod activation;
mod application;
mod change;
pub mod check;
mod child;
mod command;
mod compatible;
mod configure;
mod data;
mod deploy;
mod django;
mod django_query;
pub mod doctor;
pub mod environment;
mod error;
mod fingerprint;
mod health;
mod history;
mod id;
mod identity;
mod inventory;
mod journal;
pub mod live;
mod lock;
mod marks;
mod moved;
mod operator;
mod output;
mod prepare;
mod probe;
pub mod proof;
mod prune;
mod receipt;
mod recovery;
mod release;
mod release_files;
mod remake;
mod reserve;
mod restore;
mod retention;
mod reuse;
mod root;
mod rule;
mod seam;
mod secrets;
mod server;
mod server_log;
mod settings;
mod shared;
mod shared_environment;
mod startable;
mod statics;
mod status;
mod steps;
mod switch;
mod systemd;
mod terminal;
mod text;
mod trash;
mod trusted;
pub mod unit;
mod work;

pub use activate::{Activated, RollbackOptions, activate, plan_rollback, rollback};
pub use change::{
    Changed, Rewritten, change_environment, environment_difference, environment_names, plan_change,
    plan_rewrite, rewrite_environment,
};
pub use data::Written;
pub use deploy::{DeployOptions, DeployPlan, Deployed, Existing, Until, deploy, plan as plan_deploy};
pub use error::ReleaseError;
pub use fingerprint::{AskSchema, Fingerprint, Schema};
pub use health::{Ailment, Health, Level, health};
pub use history::{End, Story};
pub use id::{NotAnId, ReleaseId};
pub use identity::{Identity, operator};
pub use inventory::inventory;
pub use journal::{Entry, Event, Journal, Operation, Outcome, Phase};
pub use lock::{Holder, RootLock};
pub use operator::{Operator, Probing, Wait};
pub use prepare::Prepare;
pub use prune::{PruneOptions, pin, plan_prune, plan_remove_release, prune, remove_release, unpin};
pub use recovery::{Recovered, recover, recover_moved};
pub use release::{CompleteRelease, ReleaseRecord, Site};
pub use retention::{Kept, Pruned};
pub use reuse::{FoundRelease, find as find_release};
pub use root::{Found, Root};
pub use rule::Rule;
pub use server_log::ServerSaid;
pub use settings::Settings;
pub use shared_environment::{Change, Difference, check_name};
pub use status::{Listed, State, Status, history, list, status};
pub use steps::{Looked, Migrated, check_release, migrate, plan_migrate};
pub use systemd::{UnitProblem, UnitState};
