//! From a project and its requirements to an artifact.

pub mod project;
