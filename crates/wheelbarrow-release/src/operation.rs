//! The operations on a site root, each as one function: it checks, takes the file lock, makes a `plan`, and
//! has the `engine` run its steps.

pub(crate) mod activate;
pub(crate) mod change_environment;
pub(crate) mod check_and_migrate;
pub(crate) mod deploy;
mod engine;
pub mod live_release;
mod plan;
pub(crate) mod prune;
pub(crate) mod recovery;
pub(crate) mod rescue;
pub(crate) mod singletons;
