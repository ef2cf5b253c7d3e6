//! From a project and its requirements to an artifact.

pub mod check;
pub mod pack;
pub mod project;
