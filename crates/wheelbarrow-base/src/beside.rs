//! Large files that appear atomically; a killed run leaves nothing of them.
//!
//! Such a file has no name until it is complete (`O_TMPFILE`), so the kernel removes it with the process,
//! however the process ends. The last step gives it the name `.BASENAME.wheelbarrow-XXXXXXXX` and renames it
//! immediately. On file systems without nameless files it has that name from the start, under an flock: a
//! file that can be locked is the leftover of a killed run, and [`Beside::begin`] removes it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, FlockOperation};

use crate::unique::{is_made_here, prefix, unique};

/// A file that is being written beside its final place.
#[derive(Debug)]
pub struct Beside {
    file: File,
    output: PathBuf,
    directory: PathBuf,
    /// Removed when dropped.
    name: Option<PathBuf>,
}

impl Beside {
    /// Removes leftovers of killed runs beside `output`, and makes an empty file. Something other than a file at `output` is an
    /// error.
    pub fn begin(output: &Path) -> io::Result<Self> {
        crate::atomic::check_replaceable(output)?;
        let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new(".")).to_path_buf();
        remove_leftovers(&directory, output);
        let (file, name) = match nameless(&directory) {
            Some(file) => (file, None),
            None => {
                let name = new_name(output);
                let file = std::fs::OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .mode(0o666)
                    .open(&name)?;
                let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
                (file, Some(name))
            }
        };
        Ok(Self { file, output: output.to_path_buf(), directory, name })
    }

    /// The file to write to.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Syncs the file and renames it to its final place.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => {
                let name = new_name(&self.output);
                let open = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, open, CWD, &name, AtFlags::SYMLINK_FOLLOW)?;
                self.name = Some(name.clone());
                name
            }
        };
        fs::rename(&name, &self.output)?;
        self.name = None;
        fs::File::open(&self.directory)?.sync_all()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = fs::remove_file(name);
        }
    }
}

/// Whether a file with this name is the unfinished work of a run, of this process or of a killed one.
pub fn is_unfinished(name: &str) -> bool {
    let parts = name.strip_prefix('.').and_then(|name| name.rsplit_once(".wheelbarrow-"));
    parts.is_some_and(|(_, suffix)| is_made_here(suffix.as_bytes()))
}

/// `None` if the file system has no such files, or without /proc, which names them later.
#[cfg(target_os = "linux")]
fn nameless(directory: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(directory, flags, Mode::from_raw_mode(0o666)).ok()?);
    Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())).symlink_metadata().is_ok().then_some(file)
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Path) -> Option<File> {
    None
}

fn new_name(output: &Path) -> PathBuf {
    let mut name = prefix(output.file_name().unwrap_or_default());
    name.push(format!("{:08x}", unique()));
    output.with_file_name(name)
}

/// What cannot be removed, such as another user's files, stays.
fn remove_leftovers(directory: &Path, output: &Path) {
    let prefix = prefix(output.file_name().unwrap_or_default());
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.as_bytes().strip_prefix(prefix.as_bytes()).is_some_and(is_made_here);
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        if let Ok(file) = fs::File::open(&path)
            && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_file_appears_whole_and_leftovers_go() {
        let place = tempfile::tempdir().unwrap();
        let output = place.path().join("site.zip");
        for file in [
            "site.zip",
            ".site.zip.wheelbarrow-12345678",
            ".site.zip.wheelbarrow-x",
            ".other.zip.wheelbarrow-12345678",
        ] {
            fs::write(place.path().join(file), "old").unwrap();
        }
        let lock_file = fs::File::create(place.path().join(".site.zip.wheelbarrow-abcdefgh")).unwrap();
        rustix::fs::flock(&lock_file, FlockOperation::NonBlockingLockExclusive).unwrap();

        let begun = Beside::begin(&output).unwrap();
        begun.file().unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(&output).unwrap(), b"old");
        begun.commit().unwrap();
        assert_eq!(fs::read(&output).unwrap(), b"new");
        let left = [
            ".other.zip.wheelbarrow-12345678",
            ".site.zip.wheelbarrow-abcdefgh",
            ".site.zip.wheelbarrow-x",
            "site.zip",
        ];
        assert_eq!(names(place.path()), left);
        drop(Beside::begin(&output).unwrap());
        assert_eq!(names(place.path()), left, "nothing stays of what is not finished");
    }

    #[test]
    fn unfinished_files_are_known_by_their_names() {
        assert!(is_unfinished(".site.zip.wheelbarrow-0a1b2c3d"));
        for name in [
            "site.zip",
            ".site.zip",
            ".wheelbarrow-x",
            "a.wheelbarrow-0a1b2c3d",
            ".site.zip.wheelbarrow-0a1b",
        ] {
            assert!(!is_unfinished(name), "{name}");
        }
    }
}
