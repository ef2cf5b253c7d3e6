//! Reads files that another user may have made: anything but a regular file is refused without waiting for
//! it, and a file above a limit is not read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Bytes. No manifest, receipt or list of sums is larger.
pub const LARGEST_TEXT: u64 = 256 << 20;

/// Bytes of an environment.json, and of the settings beside it. `loadenv.py` has the same number.
pub const LARGEST_ENVIRONMENT: u64 = 1 << 20;

/// Opens the regular file at `path` for reading, following links. An error of the kind `InvalidInput` for
/// anything else.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open(path, OFlags::empty())
}

/// Like [`open_regular`], without following links: a link is an error.
pub fn open_no_link(path: &Path) -> io::Result<File> {
    open(path, OFlags::NOFOLLOW)
}

/// The contents of the regular file at `path`. An error of the kind `FileTooLarge` above `limit` bytes.
pub fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_limited(open_regular(path)?, limit)
}

/// The rest of an open file, with the same limit.
pub fn read_limited(file: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut contents)?;
    if contents.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes, which no such file has"),
        ));
    }
    Ok(contents)
}

fn open(path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        let what = if metadata.file_type().is_fifo() { "a FIFO" } else { "a device or a socket" };
        let what = format!("it is {what}, not a regular file");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn special_files_are_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs_err::write(path("file"), "12345").unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for (link, target) in [("to-file", "file"), ("to-fifo", "fifo"), ("to-zero", "/dev/zero")] {
            std::os::unix::fs::symlink(target, path(link)).unwrap();
        }
        let kind = |name: &str| read_regular(&path(name), 4).unwrap_err().kind();
        for name in ["fifo", "to-fifo", "to-zero"] {
            assert_eq!(kind(name), ErrorKind::InvalidInput, "{name}");
        }
        assert_eq!(kind("file"), ErrorKind::FileTooLarge);
        assert_eq!(read_regular(&path("to-file"), 5).unwrap(), b"12345");
        assert!(open_no_link(&path("file")).is_ok() && open_no_link(&path("to-file")).is_err());
    }
}
