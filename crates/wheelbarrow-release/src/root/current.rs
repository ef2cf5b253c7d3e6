//! The switch: an atomic change of `current`.

use std::path::Path;

use fs_err as fs;
use rustix::fs::CWD;
use rustix::io::Errno;

use crate::root::release::CompleteRelease;
use crate::{ReleaseError, Root};

/// What the new link is called until it is `current`; one that a killed run left is replaced.
const NEW: &str = ".current.wheelbarrow-new";

/// Points `current` at a complete release: what was written is synced, then one rename(2) changes the link, then that
/// is synced. There is no moment without `current`.
pub(crate) fn switch(root: &Root, release: &CompleteRelease) -> Result<(), ReleaseError> {
    let directory = open(root)?;
    rustix::fs::syncfs(&directory).map_err(ReleaseError::errno("sync", root.path()))?;
    // Refuses what is no link of ours: rename would put the link in its place.
    root.live()?;
    forget_new(root)?;
    let (new, current) = (root.path().join(NEW), root.current());
    rustix::fs::symlink(Root::target_of(release.id()), &new)
        .map_err(ReleaseError::errno("make the link", &new))?;
    rustix::fs::renameat(CWD, &new, CWD, &current).map_err(ReleaseError::errno("switch", &current))?;
    sync_open(root.path(), &directory)
}

/// Takes `current` away, which is how it was before the first release.
pub(crate) fn unlink(root: &Root) -> Result<(), ReleaseError> {
    let directory = open(root)?;
    root.live()?;
    remove(&root.current())?;
    sync_open(root.path(), &directory)
}

/// Removes the link that a killed run has made and not put in place.
pub(crate) fn forget_new(root: &Root) -> Result<(), ReleaseError> {
    remove(&root.path().join(NEW))
}

fn remove(path: &Path) -> Result<(), ReleaseError> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(ReleaseError::errno("remove", path)(errno)),
    }
}

fn open(root: &Root) -> Result<fs::File, ReleaseError> {
    fs::File::open(root.path()).map_err(ReleaseError::io("open", root.path()))
}

/// Syncs the entries of a directory.
pub(crate) fn sync(path: &Path) -> Result<(), ReleaseError> {
    sync_open(path, &fs::File::open(path).map_err(ReleaseError::io("open", path))?)
}

fn sync_open(path: &Path, directory: &fs::File) -> Result<(), ReleaseError> {
    match rustix::fs::fsync(directory) {
        // Some file systems cannot sync a directory.
        Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(ReleaseError::errno("sync", path)(errno)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use wheelbarrow_artifact::manifest::Sha256;

    use super::*;
    use crate::ReleaseId;
    use crate::root::release::{FORMAT, RELEASE_PATH, ReleaseRecord};

    fn release(root: &Root, number: u64) -> CompleteRelease {
        let id = ReleaseId::new(number, &Sha256::of(b""));
        let record = ReleaseRecord {
            format: FORMAT,
            program: None,
            id: id.clone(),
            name: "site".to_owned(),
            version: None,
            manifest_sha256: Sha256::of(b""),
            parent: None,
            environment_sha256: None,
            made_at: 0,
            settings: Default::default(),
        };
        let path = root.release(&id).join(RELEASE_PATH);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, serde_json::to_vec(&record).unwrap()).unwrap();
        root.complete(&id).unwrap()
    }

    #[test]
    fn current_always_exists_during_a_switch() {
        let place = wheelbarrow_testing::in_memory();
        let root = Root::create(place.path()).unwrap();
        let releases = [release(&root, 1), release(&root, 2)];
        switch(&root, &releases[0]).unwrap();
        let (over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let text = fs::read(root.current().join(RELEASE_PATH)).unwrap();
                    serde_json::from_slice::<ReleaseRecord>(&text).unwrap();
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
            for number in 0..10_000 {
                switch(&root, &releases[number % 2]).unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
        assert!(reads.into_inner() > 100, "the reader was there");
    }

    #[test]
    fn foreign_links_are_kept() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let release = release(&root, 1);
        fs::write(root.current(), "mine").unwrap();
        assert!(matches!(switch(&root, &release), Err(ReleaseError::ForeignCurrent { .. })));
        assert!(matches!(unlink(&root), Err(ReleaseError::ForeignCurrent { .. })));
        fs::remove_file(root.current()).unwrap();
        fs_err::os::unix::fs::symlink("/elsewhere", root.current()).unwrap();
        assert!(matches!(switch(&root, &release), Err(ReleaseError::ForeignCurrent { .. })));
    }
}
