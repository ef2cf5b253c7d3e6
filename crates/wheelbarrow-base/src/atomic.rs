//! Files that appear atomically.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fs_err as fs;

use crate::FsError;

/// Refuses a path at which there is something other than a file: a device would be replaced for all programs.
pub(crate) fn check_replaceable(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::other("it is not a regular file")),
        _ => Ok(()),
    }
}

/// Writes `contents` beside `path`, syncs, and renames over `path`. `mode` is less the umask.
pub fn write_atomic(path: &Path, contents: &[u8], mode: u32) -> Result<(), FsError> {
    write_atomic_with(path, mode, |file| file.write_all(contents))
}

/// Like [`write_atomic`], with the contents that `write` writes.
pub fn write_atomic_with(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), FsError> {
    let name = path.file_name().ok_or_else(|| FsError::NoParent { path: path.to_path_buf() })?;
    let mut beside = crate::unique::prefix(name);
    beside.push(format!("{:08x}", crate::unique::unique()));
    let beside = path.with_file_name(beside);
    let written = (|| {
        check_replaceable(path)?;
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        FsError::io("write", path)(error)
    })
}
