//! Executes a plan: directories first, then every file once, by one thread for each core.
//!
//! A file costs openat, write and close, and no more: the kernel applies the umask to the mode, names are
//! relative to an open directory, and nothing is checked, changed or written twice. One thread writes all
//! files of a directory, since two threads that create files in one directory wait for each other.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::Mode;
use wheelbarrow_artifact::{Artifact, on_all_cores};
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_wheel::order;

use crate::InstallError;
use crate::plan::{Plan, PlannedFile, WriteBatch, parent};
use crate::writer::{Buffers, WriteJob, WriteOptions, Writer};

/// About how much one thread takes at once: small enough to share fairly, large enough to stay in a directory.
const BATCH: u64 = 512 << 10;

/// Makes the directories and links of a plan below `root`. Errors name what it was by its path below `destination`.
pub(crate) fn prepare(plan: &Plan<'_>, root: &Directory, destination: &Path) -> Result<(), InstallError> {
    for directory in &plan.directories {
        rustix::fs::mkdirat(root, directory.as_str(), Mode::from_raw_mode(0o777)).map_err(|errno| {
            InstallError::io("make the directory", &destination.join(directory))(errno.into())
        })?;
    }
    for (link, target) in &plan.links {
        rustix::fs::symlinkat(target, root, link.as_str())
            .map_err(|errno| InstallError::io("link", &destination.join(link))(errno.into()))?;
    }
    Ok(())
}

/// Writes the files of a plan of `artifact` below `root`, where [`prepare`] has made their directories. Errors name the file as
/// it will be below `destination`.
pub(crate) fn execute(
    plan: &Plan<'_>,
    artifact: &Artifact,
    root: &Directory,
    destination: &Path,
    options: &WriteOptions<'_>,
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    let batches = batches(plan);
    progress.begin(options.task, plan.size(), Unit::Bytes);
    let time = plan.time;
    let buffers = Buffers::default();
    let job =
        WriteJob { root: root.as_fd(), destination, artifact, time, options, buffers: &buffers, progress };
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    on_all_cores(|| {
        let mut writer = Writer::new(job);
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = writer.write(batch) {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                next.store(batches.len(), Ordering::Relaxed);
            }
        }
    });
    progress.end();
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Files of one directory, cut where they get more than [`BATCH`]; the largest batches first, so that no core is left
/// alone with one at the end.
fn batches<'p, 'a>(plan: &'p Plan<'a>) -> Vec<WriteBatch<'p, 'a>> {
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
    order::sort_by_key(&mut large, |batch: &Vec<&PlannedFile<'_>>| {
        std::cmp::Reverse(batch[0].contents.size())
    });
    let large = large.into_iter().map(WriteBatch::Files);
    large
        .chain(plan.frames.iter().map(WriteBatch::Frame))
        .chain(small.into_iter().map(WriteBatch::Files))
        .collect()
}
