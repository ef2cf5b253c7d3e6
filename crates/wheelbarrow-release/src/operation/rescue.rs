//! `rescue`: copies files that a site has written into a release to `ROOT/shared/rescued/ID`. The release
//! stays unchanged.

use std::path::PathBuf;

use serde::Serialize;

use crate::operation::recovery;
use crate::root::operator::Operator;
use crate::root::rescued::{self, CopiedData, is_link};
use crate::root::{compatible, data};
use crate::{ReleaseError, ReleaseId, Root};

/// What a rescue did.
#[derive(Clone, Debug, Serialize)]
pub struct Rescued {
    pub root: PathBuf,
    pub id: ReleaseId,
    /// Where the copies are; none if the release holds no such files.
    pub path: Option<PathBuf>,
    #[serde(flatten)]
    pub copied: CopiedData,
}

/// Copies all files that the site has written into a release. What could not be copied is in the result.
pub fn rescue(root: &Root, id: &ReleaseId, operator: &Operator<'_>) -> Result<Rescued, ReleaseError> {
    let locked = recovery::begin(root, "rescue", operator)?;
    let files = written(root, id)?;
    let (path, copied) = match files.is_empty() {
        true => (None, CopiedData::default()),
        false => (Some(rescued::path(root, id)), rescued::copy(&locked, id, &files)?),
    };
    if path.is_some() && root.live()?.as_ref() == Some(id) {
        operator.progress.note(&format!(
            "{id} is live: files that its server writes now may be copied in part; stop the server first"
        ));
    }
    Ok(Rescued { root: root.path().to_path_buf(), id: id.clone(), path, copied })
}

/// The files that [`rescue`] would copy, paths below the release.
pub fn plan_rescue(root: &Root, id: &ReleaseId) -> Result<Vec<PathBuf>, ReleaseError> {
    let mut files = written(root, id)?;
    let release = rescued::open_release(root, id)?;
    files.retain(|path| !release.stat_at(path).is_ok_and(|stat| is_link(&stat)));
    Ok(files)
}

/// With links, and directories that cannot be listed.
fn written(root: &Root, id: &ReleaseId) -> Result<Vec<PathBuf>, ReleaseError> {
    compatible::check(root)?;
    if !root.found()?.iter().any(|found| found.id == *id) {
        return Err(ReleaseError::Unknown { root: root.path().to_path_buf(), id: id.to_string() });
    }
    data::written_files(root, id)
}
