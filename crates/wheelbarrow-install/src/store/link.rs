//! Linking: files of the store into an install, whole directories by one thread a core.
//!
//! Names are relative to two open directories. Each file is looked at before: one that has another size or time than
//! the index says was altered, and so its entry is not used.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use wheelbarrow_artifact::progress::{Progress, Unit};

use super::transfer::{Impossible, Transfer};
use super::{FILES, IndexFile, LinkMode, Store};
use crate::InstallError;
use crate::plan::LinkedDirectory;

/// About how many files a thread takes at once.
const BATCH: usize = 256;

/// Brings everything in `directories` below the first of `places`; errors name it below the second. Where something in
/// the store was altered, the error is [`InstallError::AlteredStore`], with all that was found.
pub(crate) fn link(
    store: &Store,
    directories: &[LinkedDirectory<'_>],
    mode: LinkMode,
    (root, destination): (&Path, &Path),
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    let (from, to) = (open_root(store.path())?, open_root(root)?);
    let files = directories.iter().map(|directory| directory.files.len()).sum::<usize>();
    progress.begin("linking", files as u64, Unit::Items);
    let linker = Linker {
        from: from.as_fd(),
        to: to.as_fd(),
        store: store.path(),
        destination,
        transfer: Transfer::new(mode),
        altered: Mutex::new(Vec::new()),
        progress,
    };
    let batches = batches(directories);
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..wheelbarrow_artifact::threads() {
            scope.spawn(|| {
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = batch.iter().try_for_each(|directory| linker.directory(directory)) {
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        next.store(batches.len(), Ordering::Relaxed);
                    }
                }
            });
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
    transfer: Transfer,
    /// Entries, and what is wrong with them.
    altered: Mutex<Vec<(String, String)>>,
    progress: &'l dyn Progress,
}

impl Linker<'_> {
    fn directory(&self, directory: &LinkedDirectory<'_>) -> Result<(), InstallError> {
        if self.progress.is_cancelled() {
            return Err(InstallError::Cancelled);
        }
        self.make_directory(&directory.target)?;
        if directory.files.is_empty() {
            return Ok(());
        }
        let source = format!("{}/{FILES}/{}", directory.entry.path, directory.source);
        let from = match open_directory(self.from, &source) {
            Ok(from) => from,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                self.is_altered(directory, &format!("{source} is missing"));
                return Ok(());
            }
            Err(errno) => {
                let path = self.store.join(source);
                return Err(InstallError::io("open the directory", &path)(errno.into()));
            }
        };
        let to = open_directory(self.to, &directory.target)
            .map_err(|errno| self.error("open the directory", &directory.target)(errno.into()))?;
        for file in directory.files.iter() {
            self.file(directory, file, from.as_fd(), to.as_fd())?;
        }
        self.progress.advance(directory.files.len() as u64);
        Ok(())
    }

    fn file(
        &self,
        directory: &LinkedDirectory<'_>,
        file: &IndexFile,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
    ) -> Result<(), InstallError> {
        let index = &directory.entry.index;
        let name = index.name(file);
        let at = |path: &str| format!("{path}/{name}");
        match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let same = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                    && u64::try_from(stat.st_size) == Ok(file.size)
                    && stat.st_mtime == i64::from(index.header.time);
                if !same {
                    self.is_altered(directory, &format!("{} was changed", at(directory.source)));
                    return Ok(());
                }
            }
            Err(Errno::NOENT) => {
                self.is_altered(directory, &format!("{} is missing", at(directory.source)));
                return Ok(());
            }
            Err(errno) => {
                let path = self.store.join(&directory.entry.path).join(FILES).join(at(directory.source));
                return Err(InstallError::io("look at", &path)(errno.into()));
            }
        }
        let executable = file.kind != super::FileKind::Plain;
        match self.transfer.file(from, to, name, executable, index.header.time) {
            Ok(None) => Ok(()),
            Ok(Some(Impossible { what, why })) => {
                self.progress.note(&format!("note: files are copied from the store: {what}: {why}"));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.is_altered(directory, &format!("{} is missing", at(directory.source)));
                Ok(())
            }
            Err(error) => Err(self.error("link", &at(&directory.target))(error)),
        }
    }

    /// Another thread may be making the same, or not have come to its parents yet.
    fn make_directory(&self, path: &str) -> Result<(), InstallError> {
        match rustix::fs::mkdirat(self.to, path, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(Errno::NOENT) if path.contains('/') => {
                self.make_directory(crate::writer::parent(path))?;
                self.make_directory(path)
            }
            Err(errno) => Err(self.error("make the directory", path)(errno.into())),
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

fn open_root(path: &Path) -> Result<OwnedFd, InstallError> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| InstallError::io("open", path)(errno.into()))
}

fn open_directory(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(root, path, flags, Mode::empty())
}
