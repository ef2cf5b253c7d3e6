//! From a project to an artifact: find the inputs, lock, gather wheels, build sources, pack.
//!
//! Nothing here prints; long tasks report through [`wheelbarrow_base::progress::Progress`].

mod above;
pub mod bootstrap;
mod build;
mod build_error;
mod build_options;
pub mod bundled;
pub mod bytecode;
pub mod cache;
pub mod check;
mod collect;
pub mod container;
pub mod difference;
mod error;
mod failed_build;
pub mod fetch;
pub mod gather;
pub mod inputs;
pub mod lock;
mod network;
pub mod own;
pub mod pack;
mod place;
mod programs;
pub mod project;
mod project_status;
pub mod python;
pub mod requires_python;
pub mod select;
pub mod source;
mod stoppable;
pub mod target;
pub mod thin;
pub mod this_system;
mod untrusted;
pub mod uv;

pub use above::check as check_above;
pub use build::{PreparedBuild, build, prepare};
pub use build_error::BuildError;
pub use build_options::BuildOptions;
pub use collect::{BuildEnvironment, CollectRequest};
pub use error::{Error, Result, UnfitLock};
pub use stoppable::end_descendants_with_this_process;
