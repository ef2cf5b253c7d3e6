//! Paths that become shared after the site has written to them: nothing is moved without a request, and a
//! release that would lose sight of them is refused.

use std::path::Path;

use fs_err as fs;

use crate::root::settings::Settings;
use crate::root::shared::SharedPath;
use crate::root::{data, rescued, shared};
use crate::{ReleaseError, Root};

/// Refuses to share a path anew at which the live release holds what the site has written: the site would lose sight of it.
pub(crate) fn refuse(root: &Root, settings: &Settings) -> Result<(), ReleaseError> {
    let Some(live) = root.live()?.map(|live| root.complete_or_none(&live)).transpose()?.flatten() else {
        return Ok(());
    };
    let (code, id) = (live.site()?.project.directory, live.id().clone());
    let is_real = |shared: &&SharedPath| {
        let found = fs::symlink_metadata(live.path().join(&code).join(shared.path.as_str()));
        found.is_ok_and(|metadata| !metadata.is_symlink())
    };
    let real: Vec<&SharedPath> = settings.shared.iter().filter(is_real).collect();
    if real.is_empty() {
        return Ok(());
    }
    let (written, mut paths, mut moves) = (data::written_files(root, &id)?, Vec::new(), Vec::new());
    for shared in real {
        let path = Path::new(&code).join(shared.path.as_str());
        let rescued = rescued::path(root, &id).join(&path);
        if written.iter().any(|written| written.starts_with(&path))
            && let Some(command) = shared::move_command(root, shared, &rescued, settings.identity.as_ref())?
        {
            paths.push(path.display().to_string());
            moves.push(command);
        }
    }
    if paths.is_empty() { Ok(()) } else { Err(ReleaseError::NotShared { id, paths, moves }) }
}
