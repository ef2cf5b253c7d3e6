//! The installed distributions of a release, from its manifest and its receipt.

use std::collections::BTreeSet;

use serde::Deserialize;
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, Wheel};
use wheelbarrow_base::json;
use wheelbarrow_wheel::order::Inserted;

use crate::ReleaseError;
use crate::root::receipt::Receipt;
use crate::root::release::CompleteRelease;

#[derive(Deserialize)]
struct ManifestWheels {
    wheels: Vec<Wheel>,
}

/// The wheels that were installed, in no order.
pub(crate) fn installed(release: &CompleteRelease, receipt: &Receipt) -> Result<Vec<Wheel>, ReleaseError> {
    let path = release.path().join(MANIFEST_PATH);
    let text = release.read(MANIFEST_PATH)?;
    let manifest: ManifestWheels = json::from_slice(&text)
        .map_err(|error| ReleaseError::io("understand", &path)(std::io::Error::other(error)))?;
    let installed: BTreeSet<&str> = receipt.wheels.iter().map(String::as_str).inserted();
    Ok(manifest.wheels.into_iter().filter(|wheel| installed.contains(wheel.path.as_str())).collect())
}
