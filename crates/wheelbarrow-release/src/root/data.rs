//! Files that a site has written into a release. Nothing removes them without an explicit request.

use std::path::PathBuf;

use wheelbarrow_install::{ForeignData, InstallError, KnownFiles, data, data_files};

use crate::stage::statics;
use crate::{ReleaseError, ReleaseId, Root};

/// Whether files go that a site has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SiteData {
    #[default]
    Kept,
    Discarded,
}

/// What is in a release that is not known to be made from its artifact. Known are what was installed, bytecode, what
/// Wheelbarrow writes, environment.json, collected static files, and links into `ROOT/shared`.
pub(crate) fn written(root: &Root, id: &ReleaseId) -> Result<ForeignData, ReleaseError> {
    match data(&root.release(id), &made(root, id)) {
        // It never was installed: people made the directory.
        Err(InstallError::NoInstall { .. }) => Ok(ForeignData::default()),
        found => Ok(found?),
    }
}

/// The paths of all such files, below the release.
pub(crate) fn written_files(root: &Root, id: &ReleaseId) -> Result<Vec<PathBuf>, ReleaseError> {
    match data_files(&root.release(id), &made(root, id)) {
        Err(InstallError::NoInstall { .. }) => Ok(Vec::new()),
        found => Ok(found?),
    }
}

fn made(root: &Root, id: &ReleaseId) -> KnownFiles {
    let statics = statics::root_in(&root.release(id));
    KnownFiles { directories: statics.map(Into::into).into_iter().collect(), shared: Some(root.shared()) }
}

/// The same, where nothing goes that is needed.
pub(crate) fn refuse(root: &Root, id: &ReleaseId) -> Result<(), ReleaseError> {
    let data = written(root, id)?;
    match data.is_empty() {
        true => Ok(()),
        false => Err(ReleaseError::HoldsData { id: id.clone(), data }),
    }
}
