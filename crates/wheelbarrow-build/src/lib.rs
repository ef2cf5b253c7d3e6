//! From a project to an artifact: find the inputs, lock, gather wheels, build what has none, pack.
//!
//! Nothing here prints; what takes long is told through [`wheelbarrow_base::progress::Progress`].

pub mod bootstrap;
mod build;
pub mod bytecode;
pub mod cache;
pub mod check;
pub mod container;
pub mod difference;
mod error;
pub mod fetch;
pub mod gather;
pub mod inputs;
pub mod lock;
pub mod own;
pub mod pack;
mod programs;
pub mod project;
pub mod python;
pub mod requires_python;
pub mod select;
pub mod source;
mod stoppable;
pub mod target;
pub mod thin;
pub mod this_system;
pub mod uv;

pub use build::{BuildError, BuildOptions, PreparedBuild, build, prepare};
pub use error::{Error, Result};
