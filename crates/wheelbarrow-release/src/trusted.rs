//! Files in `ROOT/shared` that the deploying user believes: settings and the environment. They count only if nobody but
//! root and this user can have written them, or put them there.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use wheelbarrow_fs::beneath::{self, Place};
use wheelbarrow_fs::{LARGEST_ENVIRONMENT, read_limited};

use crate::{ReleaseError, Root};

/// What `shared/NAME` holds; none if it is not there.
pub(crate) fn read(root: &Root, name: &str) -> Result<Option<(Vec<u8>, Metadata)>, ReleaseError> {
    let path = path(root, name);
    let read = ReleaseError::io("read", &path);
    let Some(place) = place(root, name)? else { return Ok(None) };
    let file = match place.directory.file(&place.name) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
    };
    refuse_exposed(&place, &file, &path)?;
    let contents = read_limited(&file, LARGEST_ENVIRONMENT);
    let read = contents.and_then(|contents| Ok((contents, file.metadata()?))).map_err(read)?;
    Ok(Some(read))
}

/// Where `shared/NAME` is to be written: a directory in which nobody else may write.
pub(crate) fn to_write(root: &Root, name: &str) -> Result<Place, ReleaseError> {
    let path = path(root, name);
    let missing = || ReleaseError::io("write", &path)(ErrorKind::NotFound.into());
    let place = place(root, name)?.ok_or_else(missing)?;
    match place.exposed.clone() {
        Some(exposure) => Err(ReleaseError::Untrusted { path, reason: exposure.to_string() }),
        None => Ok(place),
    }
}

/// Refuses to work as root on a root that somebody else could exchange, or put a link into: what is removed and renamed below it
/// could be somebody else's then, and the programs in its releases his. The root need not be there: then it is what would be above
/// it that counts.
pub(crate) fn check_root(root: &Root) -> Result<(), ReleaseError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let refused = |reason: String| ReleaseError::Untrusted { path: root.path().to_path_buf(), reason };
    // A file that need not be there, of which the directory is looked at.
    for mut inside in [root.releases(), root.state()].map(|directory| directory.join("file")) {
        while let Some(above) = inside.parent().filter(|above| !above.is_dir()) {
            inside = above.to_path_buf();
        }
        let below = inside.strip_prefix("/").unwrap_or(&inside);
        match beneath::place(Path::new("/"), below) {
            Ok(Place { exposed: None, .. }) => {}
            Ok(Place { exposed: Some(exposure), .. }) => return Err(refused(exposure.to_string())),
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(refused(error.to_string())),
            Err(error) => return Err(ReleaseError::io("look at", &inside)(error)),
        }
    }
    Ok(())
}

fn refuse_exposed(place: &Place, file: &File, path: &Path) -> Result<(), ReleaseError> {
    let own = beneath::exposure(file.as_fd(), path).map_err(ReleaseError::io("look at", path))?;
    match place.exposed.clone().or(own) {
        Some(exposure) => {
            Err(ReleaseError::Untrusted { path: path.to_path_buf(), reason: exposure.to_string() })
        }
        None => Ok(()),
    }
}

/// None if its directory is not there.
fn place(root: &Root, name: &str) -> Result<Option<Place>, ReleaseError> {
    let path = path(root, name);
    match beneath::place(root.path(), &Path::new("shared").join(name)) {
        Ok(place) => Ok(Some(place)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(ReleaseError::Untrusted { path, reason: error.to_string() })
        }
        Err(error) => Err(ReleaseError::io("look at", &path)(error)),
    }
}

fn path(root: &Root, name: &str) -> PathBuf {
    root.shared().join(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};
    use wheelbarrow_fs::Explain;

    use super::*;

    #[test]
    fn an_environment_of_many_terabytes_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(&place.path().join("root")).unwrap();
        fs_err::create_dir_all(root.shared()).unwrap();
        let file = fs_err::File::create(root.shared().join("environment.json")).unwrap();
        file.set_len(1 << 42).unwrap();
        let error = read(&root, "environment.json").unwrap_err();
        assert_eq!(error.exit_code(), 7, "{error:?}");
        file.set_len(LARGEST_ENVIRONMENT).unwrap();
        assert!(read(&root, "environment.json").unwrap().is_some());
    }

    #[test]
    fn a_root_that_another_user_may_exchange_is_refused() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root is tricked like that");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let above = place.path().join("above");
        let root = Root::create(&above.join("root")).unwrap();
        check_root(&root).unwrap();
        for directory in [above.clone(), root.path().to_path_buf(), root.releases(), root.state()] {
            chown(&directory, Some(4321), None).unwrap();
            let refused = check_root(&root).unwrap_err();
            assert!(matches!(refused, ReleaseError::Untrusted { .. }), "{refused:?}");
            chown(&directory, Some(0), None).unwrap();
        }
        check_root(&root).unwrap();
        // A link that another user has made.
        let (releases, elsewhere) = (root.releases(), place.path().join("elsewhere"));
        fs_err::rename(&releases, &elsewhere).unwrap();
        symlink(&elsewhere, &releases).unwrap();
        std::os::unix::fs::lchown(&releases, Some(4321), None).unwrap();
        assert!(matches!(check_root(&root).unwrap_err(), ReleaseError::Untrusted { .. }));
        assert!(matches!(Root::open(root.path()).unwrap_err(), ReleaseError::Untrusted { .. }));
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
}
