//! Files in `ROOT/shared` that the deploying user trusts: settings and the environment. They count only if no
//! user other than root and this user can have written them, or put them there.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use wheelbarrow_base::beneath::{self, Place};
use wheelbarrow_base::{LARGEST_ENVIRONMENT, read_limited};

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
    use wheelbarrow_base::Explain;

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
}
