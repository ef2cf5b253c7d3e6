//! The project's files from which a distribution is built.

use std::path::PathBuf;

use crate::project::ProjectFile;

/// What the project's own distribution is built from.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectTree {
    /// The project's directory.
    pub root: PathBuf,
    /// Without what `.gitignore` and `.wheelbarrowignore` name; with what the setting `exclude` names.
    pub files: Vec<ProjectFile>,
    /// `git describe` and variables that give a version, if the version comes from the build backend.
    pub revision: String,
}
