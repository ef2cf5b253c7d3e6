//! Links files of the store into an install, whole directories by one thread for each core.
//!
//! Names are relative to two near open directories: most of the cost of a link is resolving its two paths,
//! and opening a directory costs as much as a few links. Each file that a user might edit, so not bytecode,
//! is checked first: if its size or time differs from the index, it was altered, and its entry is not used.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use wheelbarrow_artifact::on_all_cores;
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_base::progress::{Progress, Unit};

use super::paths::FILES;
use super::transfer::{LinkEnds, Transfer};
use super::{IndexFile, Store};
use crate::InstallError;
use crate::plan::{LinkedDirectory, parent};

/// About how many files a thread takes at once.
const BATCH: usize = 256;

/// A directory with fewer files in and below it is not opened: its files are named by their paths from above.
const OPENED: usize = 16;

/// Brings everything in `directories` below the first of `places`; errors name it below the second. Where something in
/// the store was altered, the error is [`InstallError::AlteredStore`], with all that was found.
pub(crate) fn link(
    store: &Store,
    directories: &[LinkedDirectory<'_>],
    transfer: &Transfer,
    (root, destination): (&Directory, &Path),
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    let from = open_root(store.path())?;
    let files = directories.iter().map(|directory| directory.files.len()).sum::<usize>();
    progress.begin("linking", files as u64, Unit::Items);
    let linker = Linker {
        from: from.as_fd(),
        to: root.as_fd(),
        store: store.path(),
        destination,
        transfer,
        altered: Mutex::new(Vec::new()),
        progress,
    };
    let batches = batches(directories);
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    on_all_cores(|| {
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = linker.batch(batch) {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                next.store(batches.len(), Ordering::Relaxed);
            }
        }
    });
    progress.end();
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let entries = linker.altered.into_inner().unwrap_or_else(PoisonError::into_inner);
    if entries.is_empty() { Ok(()) } else { Err(InstallError::AlteredStore { entries }) }
}

/// Neighbours together.
fn batches<'d, 'a>(directories: &'d [LinkedDirectory<'a>]) -> Vec<&'d [LinkedDirectory<'a>]> {
    let mut batches = Vec::new();
    let (mut start, mut files) = (0, 0);
    for (number, directory) in directories.iter().enumerate() {
        files += directory.files.len() + 1;
        if files >= BATCH {
            batches.push(&directories[start..=number]);
            (start, files) = (number + 1, 0);
        }
    }
    batches.push(&directories[start..]);
    batches
}

struct Linker<'l> {
    from: BorrowedFd<'l>,
    to: BorrowedFd<'l>,
    store: &'l Path,
    destination: &'l Path,
    transfer: &'l Transfer,
    /// Entries, and what is wrong with them.
    altered: Mutex<Vec<(String, String)>>,
    progress: &'l dyn Progress,
}

/// A directory of an entry that is open, with the one that it is linked into.
struct OpenDirectory<'d, 'a> {
    directory: &'d LinkedDirectory<'a>,
    from: OwnedFd,
    to: OwnedFd,
}

impl OpenDirectory<'_, '_> {
    /// The path from it to `other`, where that is below it on both sides.
    fn path_to<'o>(&self, other: &'o LinkedDirectory<'_>) -> Option<&'o str> {
        let source = other.source.strip_prefix(self.directory.source)?.strip_prefix('/')?;
        let target = other.target.strip_prefix(&self.directory.target)?.strip_prefix('/')?;
        let same = std::ptr::eq(self.directory.entry, other.entry) && source == target;
        same.then_some(target)
    }
}

/// Where a directory of an entry is, and the one that it is linked into: paths that begin at open directories.
struct LinkPlace<'p> {
    from: BorrowedFd<'p>,
    source: Cow<'p, str>,
    to: BorrowedFd<'p>,
    target: &'p str,
}

impl Linker<'_> {
    /// Of one thread.
    fn batch(&self, batch: &[LinkedDirectory<'_>]) -> Result<(), InstallError> {
        let mut open: Vec<OpenDirectory<'_, '_>> = Vec::new();
        for (number, directory) in batch.iter().enumerate() {
            if self.progress.is_cancelled() {
                return Err(InstallError::Cancelled);
            }
            while open.last().is_some_and(|open| open.path_to(directory).is_none()) {
                open.pop();
            }
            let place = self.place(open.last(), directory);
            // A directory of bytecode that has only others in it is one of its wheel's.
            if !(directory.files.is_empty() && directory.is_bytecode()) {
                self.make_directory(&place, &directory.target)?;
            }
            if is_worth_opening(&batch[number..]) {
                let opened = self.open(&place, directory)?;
                if let Some(open) = &opened {
                    let (from, to) = (open.from.as_fd(), open.to.as_fd());
                    self.files(directory, &LinkPlace { from, source: "".into(), to, target: "" })?;
                }
                open.extend(opened);
            } else if !directory.files.is_empty() {
                self.files(directory, &place)?;
            }
        }
        Ok(())
    }

    fn place<'p>(
        &'p self,
        above: Option<&'p OpenDirectory<'_, '_>>,
        directory: &'p LinkedDirectory<'_>,
    ) -> LinkPlace<'p> {
        if let Some((above, path)) = above.and_then(|above| Some((above, above.path_to(directory)?))) {
            return LinkPlace {
                from: above.from.as_fd(),
                source: path.into(),
                to: above.to.as_fd(),
                target: path,
            };
        }
        let source = format!("{}/{FILES}/{}", directory.entry.path, directory.source);
        LinkPlace { from: self.from, source: source.into(), to: self.to, target: &directory.target }
    }

    /// None where the entry was altered.
    fn open<'d, 'a>(
        &self,
        place: &LinkPlace<'_>,
        directory: &'d LinkedDirectory<'a>,
    ) -> Result<Option<OpenDirectory<'d, 'a>>, InstallError> {
        let from = match open_directory(place.from, &place.source) {
            Ok(from) => from,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                self.is_altered(directory, &format!("{} is missing", directory.source));
                return Ok(None);
            }
            Err(errno) => {
                let path = self.store.join(&directory.entry.path).join(FILES).join(directory.source);
                return Err(InstallError::io("open the directory", &path)(errno.into()));
            }
        };
        let to = match open_directory(place.to, place.target) {
            // Its wheel is linked by another thread, which has not come to it.
            Err(Errno::NOENT) => {
                self.make_directory(place, &directory.target)?;
                open_directory(place.to, place.target)
            }
            result => result,
        };
        let to = to.map_err(|errno| self.error("open the directory", &directory.target)(errno.into()))?;
        Ok(Some(OpenDirectory { directory, from, to }))
    }

    fn files(&self, directory: &LinkedDirectory<'_>, place: &LinkPlace<'_>) -> Result<(), InstallError> {
        let prefixed = |path: &str| if path.is_empty() { String::new() } else { format!("{path}/") };
        let (mut source, mut target) = (prefixed(&place.source), prefixed(place.target));
        let (source_length, target_length) = (source.len(), target.len());
        for file in directory.files.iter() {
            let name = directory.entry.index.name(file);
            source.truncate(source_length);
            source.push_str(name);
            target.truncate(target_length);
            target.push_str(name);
            let ends = LinkEnds { from: place.from, source: &source, to: place.to, target: &target };
            self.file(directory, file, &ends)?;
        }
        self.progress.advance(directory.files.len() as u64);
        Ok(())
    }

    fn file(
        &self,
        directory: &LinkedDirectory<'_>,
        file: &IndexFile,
        ends: &LinkEnds<'_>,
    ) -> Result<(), InstallError> {
        if !directory.is_bytecode() && !self.looks_right(directory, file, ends)? {
            return Ok(());
        }
        let index = &directory.entry.index;
        let at = |path: &str| format!("{path}/{}", index.name(file));
        let executable = file.kind != super::FileKind::Plain;
        match self.transfer.file(ends, executable, index.header.time) {
            Ok(None) => Ok(()),
            Ok(Some(impossible)) => {
                impossible.note(self.progress);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.is_altered(directory, &format!("{} is missing", at(directory.source)));
                Ok(())
            }
            Err(error) => Err(self.error("link", &at(&directory.target))(error)),
        }
    }

    fn make_directory(&self, place: &LinkPlace<'_>, target: &str) -> Result<(), InstallError> {
        match rustix::fs::mkdirat(place.to, place.target, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            _ => self.make_directories(target),
        }
    }

    /// Another thread may be making the same, or not have come to its parents yet.
    fn make_directories(&self, path: &str) -> Result<(), InstallError> {
        match rustix::fs::mkdirat(self.to, path, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(Errno::NOENT) if path.contains('/') => {
                self.make_directories(parent(path))?;
                self.make_directories(path)
            }
            Err(errno) => Err(self.error("make the directory", path)(errno.into())),
        }
    }

    /// Whether a file of the store is as the index says, as far as one look can tell. What is wrong with it is kept.
    fn looks_right(
        &self,
        directory: &LinkedDirectory<'_>,
        file: &IndexFile,
        ends: &LinkEnds<'_>,
    ) -> Result<bool, InstallError> {
        let index = &directory.entry.index;
        let at = |path: &str| format!("{path}/{}", index.name(file));
        match rustix::fs::statat(ends.from, ends.source, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let same = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                    && u64::try_from(stat.st_size) == Ok(file.size)
                    && stat.st_mtime == i64::from(index.header.time);
                if !same {
                    self.is_altered(directory, &format!("{} was changed", at(directory.source)));
                }
                Ok(same)
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.is_altered(directory, &format!("{} is missing", at(directory.source)));
                Ok(false)
            }
            Err(errno) => {
                let path = self.store.join(&directory.entry.path).join(FILES).join(at(directory.source));
                Err(InstallError::io("look at", &path)(errno.into()))
            }
        }
    }

    fn is_altered(&self, directory: &LinkedDirectory<'_>, what: &str) {
        let mut altered = self.altered.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = &directory.entry.path;
        if !altered.iter().any(|(other, _)| other == entry) {
            altered.push((entry.clone(), what.to_owned()));
        }
    }

    fn error(&self, action: &'static str, path: &str) -> impl FnOnce(io::Error) -> InstallError + use<> {
        InstallError::io(action, &self.destination.join(path))
    }
}

/// Whether enough of what comes is in or below the first of them.
fn is_worth_opening(directories: &[LinkedDirectory<'_>]) -> bool {
    let Some((first, rest)) = directories.split_first() else { return false };
    let is_below = |other: &&LinkedDirectory<'_>| {
        std::ptr::eq(first.entry, other.entry)
            && other.source.strip_prefix(first.source).is_some_and(|below| below.starts_with('/'))
    };
    let mut files = first.files.len();
    let mut below = rest.iter().take_while(is_below);
    while files < OPENED {
        let Some(next) = below.next() else { return false };
        files += next.files.len();
    }
    true
}

fn open_root(path: &Path) -> Result<OwnedFd, InstallError> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| InstallError::io("open", path)(errno.into()))
}

fn open_directory(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(root, path, flags, Mode::empty())
}
