//! Where there are no servers, no failure is one of an install or of a release.

use std::error::Error;

use wheelbarrow_base::Explain;

/// There is none of these.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) enum Never {}

pub(super) type Outcome = Never;
pub(super) type Phase = Never;
pub(super) type ReleaseId = Never;
pub(super) type ServerOutput = Never;

pub(super) fn known<'a>(_: &'a (dyn Error + 'static)) -> Option<&'a dyn Explain> {
    None
}

pub(super) fn failed_rollback(_: &anyhow::Error) -> Option<String> {
    None
}

pub(super) fn failed_release(_: &(dyn Error + 'static)) -> Option<(ReleaseId, Phase, Outcome)> {
    None
}

pub(super) fn server_log(_: &(dyn Error + 'static)) -> Option<ServerOutput> {
    None
}
