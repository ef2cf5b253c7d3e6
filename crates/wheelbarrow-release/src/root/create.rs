//! Makes a site root, and refuses to make one where files of another site or install would be mixed with it.

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fs_err as fs;
use wheelbarrow_base::SharedUmask;
use wheelbarrow_base::beneath::{self, Directory};

use super::{Mark, check_trusted};
use crate::root::receipt::RECEIPT_PATH;
use crate::{ReleaseError, Root};

impl Root {
    /// Makes `path`, absolute, a site root, with everything in it that is not there yet.
    pub fn create(path: &Path) -> Result<Self, ReleaseError> {
        let root = Self::trusted_at(path)?;
        check_place(&root)?;
        let _umask = SharedUmask::set();
        for directory in [
            root.releases(),
            root.shared(),
            root.store(),
            root.trash(),
            root.mark_directory(Mark::Pinned),
            root.mark_directory(Mark::Bad),
        ] {
            if !directory.is_dir() {
                make_directory(&root, &directory)?;
            }
        }
        // Another user may have been faster with a link.
        check_trusted(&root)?;
        // What is put together in there is for nobody else before it was looked at.
        let trash = Directory::open(&root.trash()).map_err(ReleaseError::io("open", &root.trash()))?;
        if trash.stat().is_ok_and(|stat| stat.st_mode & 0o077 != 0 && is_own(&stat)) {
            trash.set_mode(0o700).map_err(ReleaseError::io("set the mode of", &root.trash()))?;
        }
        Ok(root)
    }
}

/// Refuses a root that is not there yet and would be `/`, an install, or inside an install or another site root.
pub(crate) fn check_place(root: &Root) -> Result<(), ReleaseError> {
    let path = root.path();
    let is_install = |path: &Path| path.join(RECEIPT_PATH).exists();
    if root.is_made() && !is_install(path) {
        return Ok(());
    }
    let refused = |reason| Err(ReleaseError::Misplaced { path: path.to_path_buf(), reason });
    let real = |path: &Path| fs::canonicalize(path).ok();
    let own = real(path);
    if own.as_ref().is_some_and(|own| own.parent().is_none()) {
        return refused("it is the directory of the whole system".to_owned());
    }
    let standing = path.ancestors().find_map(real).unwrap_or_default();
    for above in standing.ancestors() {
        let is_root = |above: &Path| above.join(".wheelbarrow/journal.jsonl").exists();
        let what = match Some(above) == own.as_deref() {
            _ if is_install(above) => "an install",
            // A copy or a backup may have left out what is empty.
            false if is_root(above) => "another site root",
            _ => continue,
        };
        return refused(format!("{} is {what}", above.display()));
    }
    Ok(())
}

/// What to note of a root that is not there yet, in a directory with other files: a path that was mistyped, say. Homes
/// have files whose names begin with a dot, and disks `lost+found`.
pub(crate) fn doubt(root: &Root) -> Option<String> {
    let is_strange = |name: &[u8]| !name.starts_with(b".") && !matches!(name, b"shared" | b"lost+found");
    let mut entries = fs::read_dir(root.path()).ok().filter(|_| !root.is_made())?.flatten();
    let is_full = entries.any(|entry| is_strange(entry.file_name().as_bytes()));
    is_full.then(|| format!("a new site root in {}, which was not empty", root.path().display()))
}

/// With those above it. Root makes nothing where another user may have a say in what is made.
fn make_directory(root: &Root, directory: &Path) -> Result<(), ReleaseError> {
    let failed = ReleaseError::io("make the directory", directory);
    let untrusted = |reason| Err(ReleaseError::Untrusted { path: root.path().to_path_buf(), reason });
    if !rustix::process::geteuid().is_root() {
        return fs::create_dir_all(directory).map_err(failed);
    }
    match beneath::make_directories(directory, 0o777) {
        Ok(None) => Ok(()),
        Ok(Some(exposure)) => untrusted(exposure.to_string()),
        // A link that another user may have made.
        Err(error) if error.kind() == ErrorKind::InvalidData => untrusted(error.to_string()),
        Err(error) => Err(failed(error)),
    }
}

fn is_own(stat: &rustix::fs::Stat) -> bool {
    let user = rustix::process::geteuid();
    user.is_root() || stat.st_uid == user.as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_root_is_not_made_inside_another_or_an_install() {
        let place = tempfile::tempdir().unwrap();
        let path = |below: &str| place.path().join(below);
        let root = Root::create(&path("root")).unwrap();
        fs::write(root.state().join("journal.jsonl"), "").unwrap();
        fs::create_dir_all(path("install/.wheelbarrow")).unwrap();
        fs::write(path("install").join(RECEIPT_PATH), "{}").unwrap();
        symlink(path("root/shared"), path("link")).unwrap();
        symlink("/", path("system")).unwrap();
        for below in
            ["root/shared/x", "root/releases", "root/store/y/z", "install", "install/x", "link/x", "system"]
        {
            let error = Root::create(&path(below)).unwrap_err();
            assert!(matches!(error, ReleaseError::Misplaced { .. }), "{below}: {error}");
        }
        assert_eq!(fs::read_dir(root.shared()).unwrap().count(), 0);
        // After a restore that left out what is empty.
        fs::remove_dir(root.releases()).unwrap();
        Root::create(&path("root")).unwrap();
        Root::create(&path("another/root")).unwrap();
    }

    #[test]
    fn a_new_root_in_a_directory_with_other_files_is_noted() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::at(&place.path().join("root"));
        assert_eq!(doubt(&root), None);
        for name in [".profile", "shared", "lost+found"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        assert_eq!(doubt(&root), None);
        fs::write(root.path().join("index.html"), "").unwrap();
        assert!(doubt(&root).unwrap().contains("which was not empty"));
        Root::create(root.path()).unwrap();
        assert_eq!(doubt(&root), None);
    }

    #[test]
    fn nothing_is_made_where_a_link_of_another_user_leads() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root is tricked like that");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let (above, elsewhere) = (place.path().join("above"), place.path().join("elsewhere"));
        fs_err::create_dir(&above).unwrap();
        fs_err::create_dir(&elsewhere).unwrap();
        chown(&above, Some(4321), None).unwrap();
        symlink(&elsewhere, above.join("site")).unwrap();
        for path in [above.join("site"), above.join("site/below/it"), above.join("other")] {
            assert!(matches!(Root::create(&path).unwrap_err(), ReleaseError::Untrusted { .. }), "{path:?}");
        }
        assert_eq!(fs_err::read_dir(&elsewhere).unwrap().count(), 0);
        assert_eq!(fs_err::read_dir(&above).unwrap().count(), 1);
    }

    /// In a directory such as `/tmp`, between a look at the path and the making of directories.
    #[test]
    fn links_made_during_the_creation_of_a_root_are_not_followed() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root is tricked like that");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let (above, elsewhere) = (place.path().join("above"), place.path().join("elsewhere"));
        fs_err::create_dir(&above).unwrap();
        fs_err::create_dir(&elsewhere).unwrap();
        fs_err::set_permissions(&above, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
        let (link, site) = (above.join("link"), above.join("site"));
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    symlink(&elsewhere, &link).unwrap();
                    std::os::unix::fs::lchown(&link, Some(4321), None).unwrap();
                    let _ = fs_err::rename(&link, &site);
                    let _ = fs_err::remove_file(&link);
                    let _ = fs_err::remove_file(&site);
                }
            });
            for _ in 0..100 {
                if Root::create(&site).is_ok() {
                    fs_err::remove_dir_all(&site).unwrap();
                }
            }
            ended.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs_err::read_dir(&elsewhere).unwrap().count(), 0);
    }
}
