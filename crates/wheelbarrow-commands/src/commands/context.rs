//! Facts that a command gets from its program.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wheelbarrow_artifact::Trust;

use crate::failure::CommandResult;

/// Makes a judge of artifacts, of the file that `--allowed-signers` names or of the host's own.
pub type Judge = fn(Option<&Path>) -> CommandResult<Arc<dyn Trust>>;

/// What the program knows by itself: an artifact that brings its own installer knows which it is, and which Python ran it.
#[derive(Clone, Debug)]
pub struct Context {
    pub artifact: Option<PathBuf>,
    pub python: Option<PathBuf>,
    pub judge: Judge,
}
