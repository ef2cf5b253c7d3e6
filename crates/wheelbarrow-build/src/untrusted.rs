//! Reads and creates files in a directory that code in a container may write: it can put a link, a FIFO or a device in the place of each. The
//! code has ended by then.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
#[cfg(target_os = "linux")]
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_base::read_limited;

/// Opens the regular file at `path`. A link may lead to another place in `directory`, and not out of it.
pub(crate) fn open(directory: &Path, path: &Path) -> io::Result<File> {
    let below = below(directory, path)?;
    #[cfg(target_os = "linux")]
    return Directory::open_following(directory)?.file(below);
    #[cfg(not(target_os = "linux"))]
    return wheelbarrow_base::open_no_link(&directory.join(below));
}

/// Creates a file that must not exist yet. A link above it may lead to another place in `directory`, and not out of it.
pub(crate) fn create(directory: &Path, path: &Path, mode: u32) -> io::Result<File> {
    let above = below(directory, path.parent().unwrap_or(path))?;
    let name = path.file_name().unwrap_or_default();
    #[cfg(target_os = "linux")]
    return Directory::open_following(directory)?.sub(above)?.create(name, mode);
    #[cfg(not(target_os = "linux"))]
    return std::os::unix::fs::OpenOptionsExt::mode(File::options().write(true).create_new(true), mode)
        .open(directory.join(above).join(name));
}

/// Where `path` is in `directory`, without links.
fn below(directory: &Path, path: &Path) -> io::Result<PathBuf> {
    let (directory, real) = (fs::canonicalize(directory)?, fs::canonicalize(path)?);
    let below = real.strip_prefix(&directory);
    Ok(below.map_err(|_| io::Error::other("a link leads out of the directory of the build"))?.to_path_buf())
}

/// The contents of such a file, at most `limit` bytes.
pub(crate) fn read(directory: &Path, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_limited(open(directory, path)?, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_the_directory_are_read() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("work");
        fs::create_dir(&directory).unwrap();
        let path = |name: &str| directory.join(name);
        fs::write(path("file"), "text").unwrap();
        fs::write(place.path().join("outside"), "secret").unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), fifo, mode, 0).unwrap();
        for (link, target) in [
            ("within", "file"),
            ("out", "../outside"),
            ("zero", "/dev/zero"),
            ("above", ".."),
            ("lost", "none"),
        ] {
            fs::os::unix::fs::symlink(target, path(link)).unwrap();
        }
        for good in ["file", "within"] {
            assert_eq!(read(&directory, &path(good), 4).unwrap(), b"text");
        }
        for bad in ["fifo", "out", "zero", "above/outside", "lost", "."] {
            assert!(read(&directory, &path(bad), 9).is_err(), "{bad}");
        }
        assert!(read(&directory, &path("file"), 3).is_err(), "longer than the limit");
        create(&directory, &path("new"), 0o600).unwrap();
        for bad in ["file", "lost", "above/new"] {
            assert!(create(&directory, &path(bad), 0o600).is_err(), "{bad}");
        }
        assert!(!path("none").exists() && !place.path().join("new").exists());
    }
}
