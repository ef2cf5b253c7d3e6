//! The switch: `current` leads to another release from one moment to the next.

use fs_err as fs;
use rustix::fs::CWD;
use rustix::io::Errno;

use crate::release::CompleteRelease;
use crate::{ReleaseError, Root};

/// What the new link is called until it is `current`; one that a killed run left is replaced.
const NEW: &str = ".current.wheelbarrow-new";

/// Points `current` at a complete release: what was written is synced, then one rename(2) changes the link, then that
/// is synced. There is no moment without `current`.
pub(crate) fn switch(root: &Root, release: &CompleteRelease) -> Result<(), ReleaseError> {
    let errno = |action, path: &std::path::Path| {
        let path = path.to_path_buf();
        move |errno: Errno| ReleaseError::io(action, &path)(errno.into())
    };
    let directory = fs::File::open(root.path()).map_err(ReleaseError::io("open", root.path()))?;
    rustix::fs::syncfs(&directory).map_err(errno("sync", root.path()))?;
    // Refuses what is no link of ours: rename would put the link in its place.
    root.live()?;
    let (new, current) = (root.path().join(NEW), root.current());
    match rustix::fs::unlink(&new) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(errno("remove", &new)(error)),
    }
    rustix::fs::symlink(Root::target_of(release.id()), &new).map_err(errno("make the link", &new))?;
    rustix::fs::renameat(CWD, &new, CWD, &current).map_err(errno("switch", &current))?;
    rustix::fs::fsync(&directory).map_err(errno("sync", root.path()))
}
