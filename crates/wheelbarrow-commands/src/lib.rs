//! The commands on installs and releases, with their output, for the `wheelbarrow` binary and for the
//! standalone binary: `./site.zip deploy --root ROOT` does the same as `wheelbarrow deploy`. On macOS, which
//! has no servers, only the output and `verify` of an artifact are compiled.

#[cfg(target_os = "linux")]
pub mod commands;
pub mod failure;
pub mod printer;
pub mod progress;
#[cfg(target_os = "linux")]
mod secret;
pub mod text;
#[cfg(target_os = "linux")]
mod unified;
pub mod verify_artifact;

use std::path::{Path, PathBuf};

use wheelbarrow_base::{Exit, FsError};

use crate::failure::{CommandResult, Refusal};

/// Absolute and without `..`, going by the text alone, as `__main__.py` does it: a link in the path stays, so that the
/// scripts of the virtualenv name what was asked for.
pub fn absolute(path: &Path) -> CommandResult<PathBuf> {
    wheelbarrow_base::absolute(path).map_err(|error| match error {
        FsError::NoWorkingDirectory { .. } => Refusal {
            message: error.to_string(),
            hint: Some("change to a directory that exists, or use absolute paths".to_owned()),
            exit: Exit::Refused,
        }
        .into(),
        error => error.into(),
    })
}
