//! The site's own code: the files of the project that are packed, and the import path.
//!
//! Everything below the project directory is packed, except files that a rule leaves out: the project's own
//! rules (`.gitignore`, `.wheelbarrowignore`, the setting `exclude`) or the fixed rules in [`walk`], for
//! files that must never reach a server. The walk reads names and the first bytes of files; contents are read
//! when the artifact is written.

pub(crate) mod artifact;
mod broken_links;
mod commands;
mod env_files;
mod front_end;
mod layout;
mod logins;
mod placeholders;
mod secret_files;
mod settings;
mod submodules;
mod tracked;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::release::is_reserved_in_shared;
use wheelbarrow_artifact::tree::BadLink;
use wheelbarrow_base::{Exit, Explain, SafePath};

use crate::place::shown;

pub use commands::check_commands;
pub use env_files::env_files;
pub use layout::{RESERVED, directory_name, find_import_path, site_name};
pub use logins::check_logins;
pub use walk::{Walk, WalkNotes, WalkRules, walk};

/// One file that travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFile {
    /// Below the directory that was walked, with `/`.
    pub path: String,
    pub source: PathBuf,
    pub content: FileContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    File {
        /// Bytes, when the walk saw it.
        size: u64,
        executable: bool,
    },
    /// The target as it stands in the link: relative, and inside.
    Link { target: String },
}

/// Refuses files where a release has a link to what outlives it (`[release] shared`), as a deploy would.
pub fn check_shared(shared: &[String], files: &[ProjectFile]) -> Result<(), ProjectError> {
    for shared in shared {
        let path = shared.trim_end_matches('/');
        SafePath::new(path).map_err(|source| ProjectError::SharedPath { shared: shared.clone(), source })?;
        if is_reserved_in_shared(path) {
            return Err(ProjectError::SharedName { shared: shared.clone() });
        }
        let is_below = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_there = |file: &&ProjectFile| is_below(&file.path, path) || is_below(path, &file.path);
        if let Some(file) = files.iter().find(is_there) {
            return Err(ProjectError::Shared { shared: path.to_owned(), file: file.path.clone() });
        }
    }
    Ok(())
}

/// Why a project cannot be packed as it stands.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("the directory {} cannot be used", path.display())]
    Root { path: PathBuf, source: io::Error },
    #[error("the directory {} does not exist", path.display())]
    NoDirectory { path: PathBuf },
    #[error("{} is not a directory", path.display())]
    NotDirectory { path: PathBuf },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot walk the project")]
    Walk(#[source] ignore::Error),
    #[error("the name of {} is not UTF-8", path.display())]
    Name { path: PathBuf },
    #[error("the name of {path:?} has a control character in it")]
    Control { path: PathBuf },
    #[error("the link {} leads out of the project: its target is {}", link.display(), target.display())]
    LinkLeaves { link: PathBuf, target: PathBuf },
    #[error("the link {} cannot be packed", link.display())]
    Link { link: PathBuf, source: BadLink },
    #[error("`{pattern}` in `exclude` is not a pattern")]
    Exclude { pattern: String, source: ignore::Error },
    #[error("{} has several manage.py: {}", shown(root), found.join(", "))]
    SeveralManage { root: PathBuf, found: Vec<String> },
    #[error("the import path `{import_path}` is not a directory of {}", shown(root))]
    ImportPath { import_path: String, root: PathBuf },
    #[error("the setting `shared` names {shared}, but {file} would be packed: releases have a link there")]
    Shared { shared: String, file: String },
    #[error("the setting `shared` names {shared:?}, which is not a path below the project")]
    SharedPath { shared: String, source: wheelbarrow_base::UnsafePath },
    #[error("the setting `shared` names {shared}, which is Wheelbarrow's own in ROOT/shared")]
    SharedName { shared: String },
    #[error(
        "line {line} of {path} has a password or a token in a URL, and the file is packed into the artifact"
    )]
    Login { path: String, line: usize },
    #[error("{} is neither a file nor a directory", path.display())]
    Special { path: PathBuf },
    #[error("{path} is the environment of the build, which is in no artifact")]
    Environment { path: String },
    #[error("{} is one of more than {most} files and directories", path.display())]
    TooMany { path: PathBuf, most: usize },
    #[error("{} has no file to pack", shown(root))]
    Empty { root: PathBuf },
}

impl ProjectError {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Read { path, source }
    }
}

impl Explain for ProjectError {
    fn exit(&self) -> Exit {
        Exit::Project
    }

    fn hint(&self) -> Option<String> {
        if let Self::Shared { shared, file } = self {
            let slash = if file == shared { "" } else { "/" };
            return Some(format!(
                "leave it out: add \"/{shared}{slash}\" to `exclude`, or remove {shared} from `shared`"
            ));
        }
        if let Self::Login { path, .. } = self {
            return Some(format!(
                "put the login into ~/.netrc, a keyring or variables such as UV_INDEX_URL, and remove it from the URL; or \
                 leave the file out of the artifact, which the build uses nevertheless: add \"/{path}\" to `exclude`"
            ));
        }
        let hint = match self {
            Self::Walk(error)
                if error.io_error().is_some_and(|it| it.kind() == io::ErrorKind::PermissionDenied) =>
            {
                "make it readable, or leave it out: name it in .wheelbarrowignore or `exclude`"
            }
            Self::LinkLeaves { .. } | Self::Link { .. } => {
                "copy what it points to into the project, or leave the link out: name it in .wheelbarrowignore or \
                 `exclude`"
            }
            Self::SharedPath { .. } | Self::SharedName { .. } => {
                "name a directory of the project, as `shared = [\"media\"]`"
            }
            Self::Read { .. } => {
                "make it readable, or leave it out: name it in .wheelbarrowignore or `exclude`"
            }
            Self::Name { .. } | Self::Control { .. } => {
                "rename it, or leave it out: name it in .wheelbarrowignore or `exclude`"
            }
            Self::Special { .. } | Self::Environment { .. } => {
                "remove it at the end of the command that collects static files"
            }
            Self::Exclude { .. } => "patterns of `exclude` are those of .gitignore, such as `node_modules/`",
            Self::SeveralManage { .. } | Self::ImportPath { .. } => {
                "`import-path = \"DIRECTORY\"` (or --import-path) names the directory that goes on sys.path"
            }
            Self::NoDirectory { .. } => "give the directory of the project: `wheelbarrow build DIR`",
            Self::Empty { .. } => {
                "run it in the directory of the project, or name that: `wheelbarrow build DIR`. If there are files, \
                .gitignore, .wheelbarrowignore or `exclude` leave all of them out"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests;
