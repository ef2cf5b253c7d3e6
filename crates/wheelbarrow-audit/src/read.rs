//! Reads the facts out of wheels, on all cores.
//!
//! Every member is inflated once: hashed for RECORD and, if it is ELF, parsed. Each large member is a task of
//! its own, the small members of a wheel are one task together, and the largest come first. Pages of the
//! mapped wheels are released after use, so that memory does not grow with the wheels.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;
use memmap2::{Mmap, UncheckedAdvice};
use wheelbarrow_artifact::in_parallel;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::wheel::{OpenWheel, WheelError};
use wheelbarrow_artifact::zip::{Entry, Inflater};
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_wheel::metadata::Metadata;

use crate::facts::{self, WheelFacts};
use kept::Kept;
use member::{MemberFindings, Members};

pub use entry_points::Modules;
pub(crate) use entry_points::site_packages;
pub use error::ReadError;

mod entry_points;
mod error;
mod kept;
mod member;
mod room;

/// Members of so many bytes are work of their own.
const LARGE: u64 = 512 << 10;

/// Where a wheel is.
pub struct Source<'a> {
    pub filename: String,
    /// A file, mapped; the wheel is a part of it.
    pub map: &'a Mmap,
    pub range: Range<usize>,
    /// Where it was compared with the bytes: what is found out may then be kept.
    pub sha256: Option<Sha256>,
}

/// A wheel that was taken apart.
pub struct AuditedWheel<'a> {
    pub open: OpenWheel<'a>,
    pub facts: WheelFacts,
    /// What is wrong with METADATA, where it cannot be read.
    pub metadata: Result<Metadata, String>,
}

/// Takes the wheels apart; those that `cache` knows by their hash are not read again.
pub fn read<'a>(
    sources: &[Source<'a>],
    cache: Option<&Path>,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, AuditedWheel<'a>>, ReadError> {
    let memory = Kept::new();
    let open = |source| open(source, cache, &memory);
    let opened = in_parallel(sources, open).into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut fresh = Vec::new();
    for (index, (source, wheel, kept)) in opened.iter().enumerate() {
        if kept.is_none() {
            fresh.push(WheelReading {
                index,
                source,
                members: Members::new(wheel, &memory)?,
                found: Mutex::default(),
            });
        }
    }
    read_wheels(&fresh, progress)?;
    let mut facts = BTreeMap::new();
    for reading in fresh {
        let found = reading.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let done = reading.members.finish(found)?;
        if let Some((cache, sha256)) = cache.zip(reading.source.sha256) {
            keep(cache, sha256, &done);
        }
        facts.insert(reading.index, done);
    }
    let mut audited = BTreeMap::new();
    for (index, (source, open, kept)) in opened.into_iter().enumerate() {
        let facts = facts.remove(&index).or(kept).unwrap_or_default();
        let metadata = open.metadata().map_err(|error| match error {
            WheelError::Rules { source, .. } => source.to_string(),
            other => other.to_string(),
        });
        metadata.iter().try_for_each(|metadata| memory.add_metadata(metadata))?;
        audited.insert(source.filename.clone(), AuditedWheel { open, facts, metadata });
    }
    Ok(audited)
}

/// A wheel, and what is known of it.
type OpenedWheel<'s, 'a> = (&'s Source<'a>, OpenWheel<'a>, Option<WheelFacts>);

fn open<'s, 'a>(
    source: &'s Source<'a>,
    cache: Option<&Path>,
    memory: &Kept,
) -> Result<OpenedWheel<'s, 'a>, ReadError> {
    let wheel = OpenWheel::open(&source.filename, &source.map[source.range.clone()])?;
    memory.add_entry_points(&wheel)?;
    let kept = source.sha256.and_then(|sha256| kept(cache?, sha256));
    memory.add(kept.as_ref().map_or(0, WheelFacts::size))?;
    Ok((source, wheel, kept))
}

/// The facts of a wheel that is in memory, without other threads and without a cache.
pub fn facts_of(wheel: &OpenWheel<'_>) -> Result<WheelFacts, ReadError> {
    facts_releasing(wheel, &|_| ())
}

fn facts_releasing(wheel: &OpenWheel<'_>, release: &dyn Fn(&Entry)) -> Result<WheelFacts, ReadError> {
    let memory = Kept::new();
    let members = Members::new(wheel, &memory)?;
    let (mut inflater, mut found) = (Inflater::new(), MemberFindings::default());
    for index in 0..members.entries().len() {
        members.read_member(index, &mut inflater, &mut found, release)?;
    }
    members.finish(found)
}

/// Takes one wheel of the cache apart, so that [`read`] finds what it needs there. What is wrong with it [`read`] will
/// say: then nothing is kept.
pub fn read_ahead(filename: &str, path: &Path, sha256: Sha256, cache: &Path) {
    if place(cache, sha256).exists() {
        return;
    }
    let Ok(file) = fs::File::open(path) else { return };
    // SAFETY: the map is read-only, and files of the cache are replaced by renaming, never written to in place.
    let Ok(map) = (unsafe { Mmap::map(file.file()) }) else { return };
    let range = 0..map.len();
    let source = Source { filename: filename.to_owned(), map: &map, range, sha256: Some(sha256) };
    let release = |entry: &Entry| source.release(entry.data.clone());
    let facts = OpenWheel::open(filename, &map).ok().and_then(|wheel| facts_releasing(&wheel, &release).ok());
    facts.iter().for_each(|facts| keep(cache, sha256, facts));
}

/// One wheel on its way.
struct WheelReading<'w, 'a> {
    index: usize,
    source: &'w Source<'a>,
    members: Members<'w, 'a>,
    found: Mutex<MemberFindings>,
}

/// Members of one wheel, by their place in its directory.
struct MemberTask<'r, 'w, 'a> {
    reading: &'r WheelReading<'w, 'a>,
    members: Vec<usize>,
    /// Bytes, uncompressed.
    size: u64,
}

fn tasks<'r, 'w, 'a>(readings: &'r [WheelReading<'w, 'a>]) -> Vec<MemberTask<'r, 'w, 'a>> {
    let mut tasks = Vec::new();
    for reading in readings {
        let mut small = MemberTask { reading, members: Vec::new(), size: 0 };
        for (index, entry) in reading.members.entries().iter().enumerate() {
            if entry.size >= LARGE {
                tasks.push(MemberTask { reading, members: vec![index], size: entry.size });
            } else {
                small.members.push(index);
                small.size += entry.size;
            }
        }
        tasks.push(small);
    }
    tasks.sort_by_key(|task| std::cmp::Reverse(task.size));
    tasks
}

fn read_wheels(readings: &[WheelReading<'_, '_>], progress: &dyn Progress) -> Result<(), ReadError> {
    let tasks = tasks(readings);
    progress.begin("checking wheels", tasks.iter().map(|task| task.size).sum(), Unit::Bytes);
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    wheelbarrow_artifact::on_all_cores(|| {
        let mut inflater = Inflater::new();
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done =
                if progress.is_cancelled() { Err(ReadError::Cancelled) } else { task.run(&mut inflater) };
            if let Err(error) = done {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                next.store(tasks.len(), Ordering::Relaxed);
            }
            progress.advance(task.size);
        }
    });
    progress.end();
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

impl MemberTask<'_, '_, '_> {
    fn run(&self, inflater: &mut Inflater) -> Result<(), ReadError> {
        let mut found = MemberFindings::default();
        let release = |entry: &Entry| self.reading.source.release(entry.data.clone());
        for &index in &self.members {
            self.reading.members.read_member(index, inflater, &mut found, &release)?;
        }
        self.reading.found.lock().unwrap_or_else(PoisonError::into_inner).add(found);
        let touched = || self.members.iter().map(|&index| &self.reading.members.entries()[index].data);
        let start = touched().map(|data| data.start).min().unwrap_or(0);
        let end = touched().map(|data| data.end).max().unwrap_or(0);
        self.reading.source.release(start..end);
        Ok(())
    }
}

impl Source<'_> {
    /// Tells the kernel that a part of the wheel is not needed for now.
    fn release(&self, part: Range<usize>) {
        const PAGE: usize = 4096;
        let start = (self.range.start + part.start.min(self.range.len())).next_multiple_of(PAGE);
        let end = (self.range.start + part.end) / PAGE * PAGE;
        if start < end {
            // SAFETY: dropping pages of a read-only map of a file loses nothing; they are read again when touched.
            let _ = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
        }
    }
}

fn place(cache: &Path, sha256: Sha256) -> PathBuf {
    let hex = sha256.to_string();
    cache.join("audited").join(facts::VERSION.to_string()).join(&hex[..2]).join(format!("{hex}.json"))
}

/// Which wheel the facts in `path` are of, a file below what [`read`] got as its cache; nothing where another version of
/// this program keeps them otherwise.
pub fn wheel_of_facts(path: &Path) -> Option<Sha256> {
    let sha256 = Sha256::from_hex(path.file_stem()?.to_str()?)?;
    path.ends_with(place(Path::new(""), sha256)).then_some(sha256)
}

fn kept(cache: &Path, sha256: Sha256) -> Option<WheelFacts> {
    serde_json::from_slice(&fs::read(place(cache, sha256)).ok()?).ok()
}

/// Not being able to only means to look again next time.
fn keep(cache: &Path, sha256: Sha256, facts: &WheelFacts) {
    let path = place(cache, sha256);
    let Some(parent) = path.parent() else { return };
    let _ = fs::create_dir_all(parent)
        .and_then(|()| serde_json::to_vec(facts).map_err(Into::into))
        .map(|text| wheelbarrow_base::write_atomic(&path, &text, 0o666));
}
