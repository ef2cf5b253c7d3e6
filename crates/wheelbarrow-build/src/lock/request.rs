//! The request for a lock.

use std::path::{Path, PathBuf};

use wheelbarrow_base::variable;

use super::WantedLock;
use crate::inputs::Inputs;
use crate::target::BuildTarget;
use crate::uv::{IndexOptions, truthy};

/// What [`resolve`](super::resolve()) needs.
#[derive(Clone, Debug)]
pub struct LockRequest {
    /// The project's directory; relative entries of requirements files start here, as with pip run in it.
    pub project: PathBuf,
    pub inputs: Inputs,
    /// Requirements beside the inputs.
    pub with: Vec<String>,
    /// Of the site, for people.
    pub name: String,
    /// At least one. Their Pythons are resolved for.
    pub targets: Vec<BuildTarget>,
    pub index: IndexOptions,
    /// Extras and groups to take; for uv.lock, pyproject.toml and pylock.toml.
    pub wanted: WantedLock,
    /// Resolve anew, to the newest versions.
    pub upgrade: bool,
    /// Take a uv.lock that does not fit its project, or a lock of ours whose inputs changed.
    pub frozen: bool,
    /// Where the lock goes: `pylock.NAME.toml` beside the artifact.
    pub lock_out: PathBuf,
}

/// What [`read`](super::read) needs.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest<'a> {
    pub project: &'a Path,
    pub inputs: &'a Inputs,
    pub with: &'a [String],
    pub lock_out: &'a Path,
    pub offline: bool,
    /// The kept lock need not be readable.
    pub upgrade: bool,
}

/// Whether a uv.lock is taken as it stands.
pub(super) fn is_frozen(request: &LockRequest) -> bool {
    request.frozen || variable(&["UV_FROZEN"]).is_some_and(|text| truthy(&text))
}
