//! What installs and releases say of a failure.

use std::error::Error;

use wheelbarrow_base::{Explain, explained};
use wheelbarrow_install::InstallError;
use wheelbarrow_release::environment::EnvironmentError;
use wheelbarrow_release::{NotAnId, ReleaseError};

pub(super) use wheelbarrow_release::{Outcome, Phase, ReleaseId, ServerOutput};

pub(super) fn known<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn Explain> {
    explained!(error; ReleaseError, InstallError, EnvironmentError, NotAnId)
}

/// Why the release before could not be made live again.
pub(super) fn failed_rollback(error: &anyhow::Error) -> Option<String> {
    match error.downcast_ref() {
        Some(ReleaseError::Failed { revert: Some(revert), .. }) => Some(revert.to_string()),
        _ => None,
    }
}

/// The release that was being made live.
pub(super) fn failed_release(cause: &(dyn Error + 'static)) -> Option<(ReleaseId, Phase, Outcome)> {
    match cause.downcast_ref() {
        Some(ReleaseError::Failed { id, phase, outcome, .. }) => Some((id.clone(), *phase, *outcome)),
        _ => None,
    }
}

/// What the server wrote since the switch.
pub(super) fn server_log(cause: &(dyn Error + 'static)) -> Option<ServerOutput> {
    cause.downcast_ref().and_then(ReleaseError::server_said).cloned()
}
