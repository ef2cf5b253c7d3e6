//! Leftovers of killed runs beside a destination.
//!
//! A user who may write in a directory can make an entry with such a name. So the owner of the entry decides
//! whether it counts.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Stat};

use super::names::{NEXT, REMOVAL, is_directory, lock_of, name_in, name_of, open_parent};
use crate::beneath::{Directory, Patience, remove_tree};
use crate::unique::{OLD, is_made_here};
use crate::{FsError, Lock};

/// The time limit for the removal of all leftovers. The next run continues.
const SWEEP: Duration = Duration::from_secs(60);

/// Cleans up what killed runs have left beside `destination`, an absolute path. [`super::Staged::begin`] does
/// this too; call this first to look at the destination before.
pub fn put_right(destination: &Path) -> Result<(), FsError> {
    let Some((parent, name)) = destination.parent().zip(destination.file_name()) else { return Ok(()) };
    // A directory that is missing has no leftovers.
    let Ok(parent) = open_parent(parent) else { return Ok(()) };
    let is_left =
        |suffix| leftover(&parent, &name_of(name, suffix), destination).map(|found| found.is_some());
    if !is_left(NEXT)? && !is_left(OLD)? {
        return Ok(());
    }
    let _short = Lock::passing(&parent, &lock_of(destination))?;
    finish(&parent, destination)
}

/// Whether a directory in `parent` counts as a leftover. If `parent` has the sticky bit, the directory must
/// belong to root, this user or the owner of `parent`. Without the sticky bit, users who may write in
/// `parent` could replace it at any time anyway.
pub fn is_settled(parent: &Stat, found: &Stat) -> bool {
    let is_shared = parent.st_mode & 0o1000 != 0 && parent.st_mode & 0o022 != 0;
    !is_shared || is_own(found) || [0, parent.st_uid].contains(&found.st_uid)
}

fn is_own(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Whether this user has made the directory `stat`, beside the destination or to replace it. Such a directory
/// belongs to this user, or to the owner of the destination if it was about to be renamed into place.
fn is_ours(parent: &Stat, stat: &Stat, destination: Option<&Stat>) -> bool {
    let is_given = destination.is_some_and(|destination| destination.st_uid == stat.st_uid);
    is_own(stat) || (is_given && is_settled(parent, stat))
}

/// What has this name, unless another user has mounted it: nothing in there is a leftover.
fn leftover(parent: &Directory, name: &OsStr, destination: &Path) -> Result<Option<Stat>, FsError> {
    match parent.find(name) {
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(None),
        found => found.map_err(FsError::io("look at", &destination.with_file_name(name))),
    }
}

/// Completes a replacement that was begun.
fn finish(parent: &Directory, destination: &Path) -> Result<(), FsError> {
    let name = name_in(destination);
    let above = parent.stat().map_err(FsError::io("look at", destination.parent().unwrap_or(destination)))?;
    for left in [NEXT, OLD].map(|suffix| name_of(name, suffix)) {
        let Some(stat) = leftover(parent, &left, destination)?.filter(is_directory) else { continue };
        let standing = || parent.find(name).map_err(FsError::io("look at", destination));
        if left == name_of(name, NEXT) && is_ours(&above, &stat, standing()?.as_ref()) {
            remove_tree(parent, name, destination, &Patience::of(REMOVAL))?;
        }
        if is_settled(&above, &stat) && standing()?.is_none() {
            parent.rename(&left, parent, name).map_err(FsError::io("rename to", destination))?;
        }
    }
    Ok(())
}

/// Cleans up what killed runs have left beside `destination`.
pub(super) fn recover(parent: &Directory, destination: &Path, prefix: &OsStr) -> Result<(), FsError> {
    finish(parent, destination)?;
    let path = destination.parent().unwrap_or(destination);
    let end = Instant::now() + SWEEP;
    let above = parent.stat().map_err(FsError::io("look at", path))?;
    let standing = parent.find(name_in(destination)).map_err(FsError::io("look at", destination))?;
    for (name, kind) in parent.entries().map_err(FsError::io("list", path))? {
        let ours = name.as_bytes().strip_prefix(prefix.as_bytes()).is_some_and(is_made_here);
        if !ours || kind != FileType::Directory {
            continue;
        }
        let path = path.join(&name);
        let Ok(found) = parent.sub(&name) else { continue };
        // Another user could make as many as he likes, which take as long as he likes.
        if !found.stat().is_ok_and(|stat| is_ours(&above, &stat, standing.as_ref())) {
            continue;
        }
        if let Ok(Some(_lock)) = Lock::try_directory(&found, &path) {
            // What cannot be removed does not keep anybody from installing.
            let patience = Patience::of(end.saturating_duration_since(Instant::now()));
            let _ = remove_tree(parent, &name, &path, &patience);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use fs_err as fs;
    use wheelbarrow_testing::mounts::{SilentMount, in_time};

    use super::super::Staged;
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn removes_leftovers_but_not_the_work_of_the_living() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("site");
        fs::create_dir_all(place.path().join(".site.wheelbarrow-00000001/venv")).unwrap();
        let others = [".other.wheelbarrow-00000001", ".site.wheelbarrow-a.wheelbarrow-00000001"];
        for other in others {
            fs::create_dir(place.path().join(other)).unwrap();
        }
        let living = Staged::begin(&destination).unwrap();
        let second = Staged::begin(&destination).unwrap();
        assert!(living.path().exists() && second.path().exists());
        drop((living, second));
        assert_eq!(names(place.path()), others);
    }

    /// Any user may make an entry of such a name in /tmp, and mount a file system on it.
    #[test]
    fn a_file_system_of_another_user_is_no_leftover() {
        for name in [".site.wheelbarrow-0123abcd", ".site.wheelbarrow-next", ".site.wheelbarrow-old"] {
            let place = tempfile::tempdir().unwrap();
            let destination = place.path().join("site");
            fs::create_dir(place.path().join(name)).unwrap();
            let Some(_mount) = SilentMount::at(&place.path().join(name)) else { return };
            in_time(move || {
                put_right(&destination).unwrap();
                drop(Staged::begin(&destination).unwrap());
            });
        }
    }

    #[test]
    fn ends_a_replacement_that_died() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("site");
        for left in [true, false] {
            let next = place.path().join(".site.wheelbarrow-next");
            fs::create_dir(&next).unwrap();
            fs::write(next.join("new"), "").unwrap();
            if left {
                fs::create_dir_all(destination.join("old/deep")).unwrap();
            }
            put_right(&destination).unwrap();
            assert_eq!(names(&destination), ["new"]);
            assert_eq!(names(place.path()), ["site"]);
            fs::remove_dir_all(&destination).unwrap();
        }
        put_right(&destination).unwrap();
        put_right(&place.path().join("missing/site")).unwrap();
    }

    #[test]
    fn mends_an_exchange_that_died_between_its_two_steps() {
        let place = tempfile::tempdir().unwrap();
        let destination = place.path().join("site");
        fs::create_dir(place.path().join(".site.wheelbarrow-old")).unwrap();
        fs::write(place.path().join(".site.wheelbarrow-old/file"), "").unwrap();
        drop(Staged::begin(&destination).unwrap());
        assert_eq!(names(&destination), ["file"]);
        assert_eq!(names(place.path()), ["site"]);
    }

    /// 4321 may write in the directory, which has the sticky bit or is his own.
    #[test]
    fn directories_of_other_users_are_not_moved_back() {
        use std::os::unix::fs::{PermissionsExt, chown, symlink};
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root makes directories of another user");
            return;
        }
        for (owner, mode) in [(0, 0o1777), (0, 0o777), (4321, 0o755)] {
            let place = tempfile::tempdir().unwrap();
            chown(place.path(), Some(owner), None).unwrap();
            fs::set_permissions(place.path(), PermissionsExt::from_mode(mode)).unwrap();
            let left = ["00000001", "next", "old"].map(|end| format!(".site.wheelbarrow-{end}"));
            for name in &left {
                fs::create_dir(place.path().join(name)).unwrap();
                chown(place.path().join(name), Some(4321), None).unwrap();
            }
            let destination = place.path().join("site");
            if mode == 0o1777 {
                put_right(&destination).unwrap();
                assert!(!destination.exists());
            }
            fs::create_dir_all(destination.join("of-root")).unwrap();
            put_right(&destination).unwrap();
            drop(Staged::begin(&destination).unwrap());
            assert_eq!(names(&destination), ["of-root"], "{mode:o}");
            assert_eq!(
                names(place.path()),
                left.iter().map(String::as_str).chain(["site"]).collect::<Vec<_>>()
            );
            // Nor does a link, whoever made it.
            fs::remove_dir(place.path().join(&left[1])).unwrap();
            symlink("/nowhere", place.path().join(&left[1])).unwrap();
            put_right(&destination).unwrap();
            assert_eq!(names(&destination), ["of-root"]);
        }
    }
}
