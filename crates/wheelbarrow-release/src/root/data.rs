//! Files that a site has written into a release. Nothing removes them unless it is asked to.

use wheelbarrow_install::{Data, InstallError, Made, data};

use crate::stage::statics;
use crate::{ReleaseError, ReleaseId, Root};

/// Whether files go that a site has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Written {
    #[default]
    Kept,
    Discarded,
}

/// What is in a release that is not known to be made from its artifact. Known are what was installed, bytecode, what
/// Wheelbarrow writes, environment.json, collected static files, and links into `ROOT/shared`.
pub(crate) fn written(root: &Root, id: &ReleaseId) -> Result<Data, ReleaseError> {
    let path = root.release(id);
    let made = Made {
        directories: statics::root_in(&path)?.map(Into::into).into_iter().collect(),
        shared: Some(root.shared()),
    };
    match data(&path, &made) {
        // It never was installed: people made the directory.
        Err(InstallError::NoInstall { .. }) => Ok(Data::default()),
        found => Ok(found?),
    }
}

/// The same, where nothing goes that is needed.
pub(crate) fn refuse(root: &Root, id: &ReleaseId) -> Result<(), ReleaseError> {
    let data = written(root, id)?;
    match data.is_empty() {
        true => Ok(()),
        false => Err(ReleaseError::HoldsData { id: id.clone(), data }),
    }
}
