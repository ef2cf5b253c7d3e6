//! Finds an existing release of the same artifact with the same environment, which a repeated deploy need not
//! make again.

use std::path::Path;

use serde::Serialize;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::release::ReleaseSettings;
use wheelbarrow_base::beneath;

use crate::environment::ENVIRONMENT;
use crate::report::status::ReleaseState;
use crate::root::release::CompleteRelease;
use crate::root::trusted;
use crate::{ReleaseError, ReleaseId, Root, list};

/// What `find` says.
#[derive(Clone, Debug, Serialize)]
pub struct FoundRelease {
    /// None where a deploy would make one.
    pub id: Option<ReleaseId>,
    pub state: Option<ReleaseState>,
    pub live: Option<ReleaseId>,
}

/// The release of the artifact with this manifest that a deploy would make once more: none that is bad, none with
/// another environment than the shared one, none of another Python than the base interpreter `python`, if one is named. The
/// live one comes first, then the newest.
pub fn find(
    root: &Root,
    manifest: &Sha256,
    flags: &ReleaseSettings,
    python: Option<&Path>,
) -> Result<FoundRelease, ReleaseError> {
    let live = root.live()?;
    let id = reusable(root, manifest, flags, python)?.map(|release| release.record.id);
    let listed = list(root)?.into_iter().find(|listed| Some(&listed.id) == id.as_ref());
    Ok(FoundRelease { id, state: listed.map(|listed| listed.state), live })
}

pub(crate) fn reusable(
    root: &Root,
    manifest: &Sha256,
    flags: &ReleaseSettings,
    python: Option<&Path>,
) -> Result<Option<CompleteRelease>, ReleaseError> {
    let live = root.live()?;
    let environment = trusted::read(root, ENVIRONMENT)?.map(|(text, _)| Sha256::of(&text));
    let found = root.found()?.into_iter().rev().filter(|found| !found.is_bad);
    let mut same: Vec<_> = found
        .filter_map(|found| found.complete)
        .filter(|release| {
            let record = &release.record;
            record.manifest_sha256 == *manifest
                && record.environment_sha256 == environment
                && record.settings == *flags
                && python.is_none_or(|python| runs_on(release, python))
        })
        .collect();
    let place = same.iter().position(|release| Some(release.id()) == live.as_ref()).unwrap_or(0);
    Ok((place < same.len()).then(|| same.swap_remove(place)))
}

fn runs_on(release: &CompleteRelease, python: &Path) -> bool {
    beneath::real(python) == beneath::real(&release.virtualenv().join("bin/python"))
}
