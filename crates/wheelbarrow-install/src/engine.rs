//! Executing a plan: directories first, then every file once, by one thread a core.
//!
//! A file costs openat, write and close, and no more: the kernel applies the umask to the mode, names are relative to
//! an open directory, and nothing is looked at, changed or written twice. Files of a directory are written by one
//! thread in a row, since two that make files in one directory wait for each other.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Mode, OFlags};
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::progress::{Progress, Unit};
use wheelbarrow_artifact::zip::Inflater;

use crate::InstallError;
use crate::plan::{Contents, Plan, PlannedFile};

/// About how much one thread takes at once: small enough to share fairly, large enough to stay in a directory.
const BATCH: u64 = 512 << 10;

/// What every thread needs.
#[derive(Clone, Copy)]
struct Job<'j> {
    root: BorrowedFd<'j>,
    destination: &'j Path,
    artifact: &'j Artifact,
    progress: &'j dyn Progress,
}

/// Writes the plan of `artifact` below `root`. Errors name the file as it will be below `destination`.
pub(crate) fn execute(
    plan: &Plan<'_>,
    artifact: &Artifact,
    root: &Path,
    destination: &Path,
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    let root_descriptor = open_root(root)?;
    make_directories(plan, root_descriptor.as_fd(), destination)?;
    for (link, target) in &plan.links {
        rustix::fs::symlinkat(target, &root_descriptor, link.as_str())
            .map_err(|errno| InstallError::io("link", &destination.join(link))(errno.into()))?;
    }
    let batches = batches(plan);
    progress.begin("installing", plan.files.iter().map(|file| file.contents.size()).sum(), Unit::Bytes);
    let job = Job { root: root_descriptor.as_fd(), destination, artifact, progress };
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..wheelbarrow_artifact::threads() {
            scope.spawn(|| {
                let mut inflater = Inflater::new();
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let written = write_batch(batch, &job, &mut inflater);
                    if let Err(error) = written {
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        next.store(batches.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    progress.end();
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn open_root(root: &Path) -> Result<OwnedFd, InstallError> {
    rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| InstallError::io("open", root)(errno.into()))
}

fn make_directories(plan: &Plan<'_>, root: BorrowedFd<'_>, destination: &Path) -> Result<(), InstallError> {
    for directory in &plan.directories {
        rustix::fs::mkdirat(root, directory.as_str(), Mode::from_raw_mode(0o777)).map_err(|errno| {
            InstallError::io("make the directory", &destination.join(directory))(errno.into())
        })?;
    }
    Ok(())
}

/// Files of one directory, cut where they get more than [`BATCH`]; the largest batches first, so that no core is left
/// alone with one at the end.
fn batches<'p, 'a>(plan: &'p Plan<'a>) -> Vec<Vec<&'p PlannedFile<'a>>> {
    let mut by_directory: HashMap<&str, Vec<&PlannedFile<'_>>> = HashMap::new();
    let mut order = Vec::new();
    for file in &plan.files {
        let directory = parent(&file.path);
        by_directory
            .entry(directory)
            .or_insert_with(|| {
                order.push(directory);
                Vec::new()
            })
            .push(file);
    }
    let mut large = Vec::new();
    let mut small = Vec::new();
    for directory in order {
        let mut batch = Vec::new();
        let mut size = 0;
        for file in by_directory.remove(directory).unwrap_or_default() {
            if file.contents.size() >= BATCH {
                large.push(vec![file]);
                continue;
            }
            batch.push(file);
            size += file.contents.size();
            if size >= BATCH {
                small.push(std::mem::take(&mut batch));
                size = 0;
            }
        }
        if !batch.is_empty() {
            small.push(batch);
        }
    }
    large.sort_by_key(|batch| std::cmp::Reverse(batch[0].contents.size()));
    large.append(&mut small);
    large
}

fn write_batch(
    batch: &[&PlannedFile<'_>],
    job: &Job<'_>,
    inflater: &mut Inflater,
) -> Result<(), InstallError> {
    let Job { root, destination, artifact, progress } = *job;
    let Some(first) = batch.first() else { return Ok(()) };
    if progress.is_cancelled() {
        return Err(InstallError::Cancelled);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match parent(&first.path) {
        "" => root.try_clone_to_owned(),
        path => rustix::fs::openat(root, path, flags, Mode::empty()).map_err(io::Error::from),
    };
    let directory =
        directory.map_err(InstallError::io("open the directory of", &destination.join(&first.path)))?;
    for file in batch {
        write_file(file, directory.as_fd(), destination, inflater)?;
        progress.advance(file.contents.size());
    }
    release(batch, artifact);
    Ok(())
}

/// Lets go of the artifact's pages that a batch was read from. Members of a directory mostly stand in a row, so one call
/// does for many.
fn release(batch: &[&PlannedFile<'_>], artifact: &Artifact) {
    const NEAR: usize = 64 << 10;
    let mut stretch: Option<std::ops::Range<usize>> = None;
    for file in batch {
        let Contents::Member { raw, .. } = &file.contents else { continue };
        let next = artifact.range(raw);
        stretch = match stretch.take() {
            Some(before) if before.end <= next.start && next.start - before.end < NEAR => {
                Some(before.start..next.end)
            }
            before => {
                before.into_iter().for_each(|before| artifact.release(before));
                Some(next)
            }
        };
    }
    stretch.into_iter().for_each(|stretch| artifact.release(stretch));
}

fn write_file(
    file: &PlannedFile<'_>,
    directory: BorrowedFd<'_>,
    destination: &Path,
    inflater: &mut Inflater,
) -> Result<(), InstallError> {
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    let mode = Mode::from_raw_mode(if file.executable { 0o777 } else { 0o666 });
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let write_error = |error| InstallError::io("write", &destination.join(&file.path))(error);
    let open = match rustix::fs::openat(directory, name, flags, mode) {
        Ok(open) => open,
        Err(errno) => return Err(write_error(errno.into())),
    };
    let written = match &file.contents {
        Contents::Bytes(bytes) => write_all(open.as_fd(), bytes),
        Contents::Member { entry, raw } => {
            let mut result = Ok(());
            inflater
                .read(entry, raw, &mut |bytes| {
                    if result.is_ok() {
                        result = write_all(open.as_fd(), bytes);
                    }
                })
                .map_err(|source| InstallError::Unpack { path: destination.join(&file.path), source })?;
            result
        }
    };
    written.map_err(write_error)
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
