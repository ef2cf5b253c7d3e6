//! Where an operation asks what a release is worth: before the switch its application, after it what really serves.

use crate::ReleaseError;
use crate::release::CompleteRelease;
use crate::settings::Settings;
use crate::work::Work;

/// Whether the release's application can be imported and answers a request, in process.
pub(crate) fn check(
    _work: &Work<'_>,
    _release: &CompleteRelease,
    _settings: &Settings,
) -> Result<(), ReleaseError> {
    Ok(())
}

/// Whether it is this release that serves.
pub(crate) fn prove(
    _work: &Work<'_>,
    _release: &CompleteRelease,
    _settings: &Settings,
) -> Result<(), ReleaseError> {
    Ok(())
}
