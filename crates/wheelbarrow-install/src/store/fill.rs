//! Makes entries: unpacks wheels and packs of bytecode of a verified artifact into the store.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding};
use fs_err as fs;
use rustix::io::Errno;
use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::bytecode::{Pack, pyc_path};
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::wheel::{OpenWheel, WheelError};
use wheelbarrow_artifact::zip::BUFFERED_LIMIT;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_base::{SafePath, SharedUmask};
use wheelbarrow_wheel::layout::Destination;
use wheelbarrow_wheel::order::Inserted;
use wheelbarrow_wheel::record::{self, RecordRow};
use wheelbarrow_wheel::script;

use super::index::{self, FileKind, Header, Kind, NewFiles};
use super::paths::{BYTECODE, FILES, INDEX, bytecode_entry, wheel_entry};
use super::wanted::StoredPart;
use super::{Store, StoredWheel, WantedWheel, lacking};
use crate::InstallError;
use crate::engine;
use crate::member::member_sha256;
use crate::plan::{Contents, FramePart, Plan, PlannedFile, PlannedFrame, now};
use crate::preflight;
use crate::writer::WriteOptions;

/// Another run may take out what this one has just made, but not forever.
pub(super) const MOST_ROUNDS: usize = 8;

/// Unpacks what the store lacks of `wanted`, and gives all of it. `known` is what was just found there, if somebody
/// has looked.
pub(crate) fn ensure<'w>(
    store: &Store,
    artifact: &mut VerifiedArtifact,
    wanted: &'w [WantedWheel],
    mut known: Option<Vec<StoredPart>>,
    progress: &dyn Progress,
) -> Result<Vec<StoredWheel<'w>>, InstallError> {
    // Another install links what this one makes.
    let _umask = SharedUmask::set();
    for _ in 0..MOST_ROUNDS {
        let having = match known.take() {
            Some(known) => known,
            None => StoredPart::read(store, wanted)?,
        };
        let broken: Vec<_> = having.iter().filter_map(|having| having.broken.clone()).collect();
        store.drop_altered(&broken, progress)?;
        let missing: Vec<_> =
            having.iter().zip(wanted).filter(|(having, wanted)| !having.is_whole(wanted)).collect();
        if missing.is_empty() {
            let stored = having.into_iter().zip(wanted).filter_map(|(having, wanted)| {
                Some(StoredWheel { wanted, wheel: having.wheel?, bytecode: having.bytecode })
            });
            return Ok(stored.collect());
        }
        let lacking = lacking(artifact, missing.iter().copied());
        if !lacking.is_empty() {
            return Err(InstallError::Lacking { path: artifact.path().to_path_buf(), members: lacking });
        }
        for (_, wanted) in &missing {
            artifact.verify_member(&wanted.path, progress)?;
            if let Some((pack, _)) = &wanted.pack {
                artifact.verify_member(pack, progress)?;
            }
        }
        unpack(store, artifact, &missing, progress)?;
    }
    Err(InstallError::RestlessStore { path: store.path().to_path_buf() })
}

/// An entry in the making.
pub(super) struct DraftEntry {
    /// In the work directory.
    pub(super) place: String,
    /// In the store.
    pub(super) entry: String,
    pub(super) kind: Kind,
    pub(super) files: NewFiles,
    /// Rows of the files in site-packages.
    pub(super) record: String,
}

/// Unpacks what is missing by one plan for each time that entries have: bytecode names the time of its sources.
fn unpack(
    store: &Store,
    artifact: &VerifiedArtifact,
    missing: &[(&StoredPart, &WantedWheel)],
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    let mut by_time: BTreeMap<u32, Vec<&(&StoredPart, &WantedWheel)>> = BTreeMap::new();
    let now = now();
    let mut seen = HashSet::new();
    for pair in missing.iter().filter(|(_, wanted)| seen.insert(wanted.sha256)) {
        let time = pair.0.wheel.as_ref().map_or(now, |entry| entry.index.header.time);
        by_time.entry(time).or_default().push(pair);
    }
    for (time, missing) in by_time {
        let mut wheels = Vec::with_capacity(missing.len());
        for (having, wanted) in &missing {
            let (filename, raw) = member(artifact, &wanted.path);
            // The names of the sources in a pack are those in the wheel.
            let wheel = having.wheel.is_none() || wanted.pack.is_some();
            wheels.push(if wheel { Some(OpenWheel::open(filename, raw)?) } else { None });
        }
        let mut filler = EntryFiller::new(artifact, time);
        for ((having, wanted), wheel) in missing.iter().zip(&wheels) {
            let Some(wheel) = wheel else { continue };
            filler.wheel(wheel, having, wanted)?;
        }
        filler.write(store, progress)?;
    }
    Ok(())
}

/// The file name of a member of the artifact, and its bytes, stored as they are.
fn member<'a>(artifact: &'a VerifiedArtifact, path: &'a str) -> (&'a str, &'a [u8]) {
    let raw = artifact.archive().find(path).map(|entry| artifact.archive().raw(entry));
    (path.rsplit('/').next().unwrap_or(path), raw.unwrap_or_default())
}

pub(super) struct EntryFiller<'a> {
    artifact: &'a VerifiedArtifact,
    plan: Plan<'a>,
    directories: BTreeSet<String>,
    drafts: Vec<DraftEntry>,
}

impl<'a> EntryFiller<'a> {
    /// All files get `time`, in seconds since 1970.
    pub(super) fn new(artifact: &'a VerifiedArtifact, time: u32) -> Self {
        let plan = Plan { time, ..Plan::default() };
        Self { artifact, plan, directories: BTreeSet::new(), drafts: Vec::new() }
    }

    /// Adds an entry with files that are members of the artifact.
    pub(super) fn add(&mut self, draft: DraftEntry, files: Vec<PlannedFile<'a>>) {
        files.iter().for_each(|file| insert_parents(&mut self.directories, &file.path));
        self.plan.files.extend(files);
        self.drafts.push(draft);
    }

    fn wheel(
        &mut self,
        wheel: &'a OpenWheel<'a>,
        having: &StoredPart,
        wanted: &WantedWheel,
    ) -> Result<(), InstallError> {
        let place = wanted.sha256.to_string();
        let mut files = NewFiles::new();
        let mut sources = HashMap::new();
        let recorded = wheel.recorded()?;
        let first = self.plan.files.len();
        for file in wheel.files() {
            let entry = wheel.entry(file);
            let path = path_in_entry(&file.destination);
            SafePath::new(&path)?;
            sources.insert(entry.name.as_str(), (path.clone(), entry.size));
            if having.wheel.is_some() {
                continue;
            }
            let sha256 = member_sha256(wheel, entry, &recorded)?;
            let kind = match () {
                () if is_script(wheel, file)? => FileKind::Script,
                () if file.executable => FileKind::Executable,
                () => FileKind::Plain,
            };
            if let Some((_, _, other)) = files.insert(path.clone(), (kind, entry.size, sha256)) {
                if other == sha256 {
                    continue;
                }
                let name = wheel.filename().to_string();
                return Err(InstallError::Collision { path, first: name.clone(), second: name });
            }
            self.plan.files.push(PlannedFile {
                path: format!("{place}/{FILES}/{path}"),
                executable: file.executable,
                timed: true,
                sha256,
                contents: Contents::Member { entry, raw: wheel.archive().raw(entry) },
            });
        }
        refuse_files_as_directories(wheel, &files)?;
        if having.wheel.is_none() {
            insert_directory(&mut self.directories, &format!("{place}/{BYTECODE}"));
            for file in &self.plan.files[first..] {
                insert_parents(&mut self.directories, &file.path);
            }
        }
        if let Some(entry) = &having.wheel {
            let known = entry.index.paths();
            files = known
                .map(|(path, file)| {
                    (path.to_string_lossy().into_owned(), (file.kind, file.size, file.sha256))
                })
                .inserted();
        }
        let rows: Vec<RecordRow> = files.iter().filter_map(|(path, file)| row(path, Some(file))).collect();
        self.bytecode(wanted, &sources, having, &rows)?;
        if having.wheel.is_none() {
            let kind = Kind::Wheel {
                wheel: wheel.filename().to_string(),
                dist_info: wheel.dist_info().to_owned(),
                entry_points: entry_points(wheel)?,
            };
            let (entry, record) = (wheel_entry(wanted.sha256), record::write(rows));
            self.drafts.push(DraftEntry { place, entry, kind, files, record });
        }
        self.artifact.was_read(wheel.archive().bytes().len());
        Ok(())
    }

    /// A pack: into the new entry, or beside, to be moved into the one that is there.
    fn bytecode(
        &mut self,
        wanted: &WantedWheel,
        sources: &HashMap<&str, (String, u64)>,
        having: &StoredPart,
        rows: &[RecordRow],
    ) -> Result<(), InstallError> {
        let Some((path, sha256)) = &wanted.pack else { return Ok(()) };
        let entry = bytecode_entry(wanted.sha256, *sha256);
        let place = if having.wheel.is_some() {
            format!("{BYTECODE}-{}-{sha256}", wanted.sha256)
        } else {
            format!("{}/{BYTECODE}/{sha256}", wanted.sha256)
        };
        let (_, raw) = find(self.artifact, path);
        let damaged = |source: Box<dyn std::error::Error + Send + Sync>| InstallError::Bytecode {
            path: path.into(),
            source,
        };
        let pack = Pack::open(raw).map_err(|error| damaged(error.into()))?;
        let magic = base16ct::lower::decode_vec(&pack.magic).unwrap_or_default();
        let magic = <[u8; 4]>::try_from(magic).map_err(|_| damaged("its magic number is invalid".into()))?;
        let cache_tag = cache_tag(path);
        let own: HashSet<&str> = sources.values().map(|(path, _)| path.as_str()).collect();
        insert_directory(&mut self.directories, &format!("{place}/{FILES}"));
        let mut files = NewFiles::new();
        for frame in &pack.frames {
            let mut parts = Vec::with_capacity(frame.files.len());
            for (module, length) in &frame.files {
                let compiled = sources.get(module.as_str());
                let compiled = compiled.map(|(source, size)| (pyc_path(source, cache_tag), *size));
                // A wheel may bring a __pycache__ of its own.
                let compiled = compiled.filter(|(path, _)| !own.contains(path.as_str()));
                let fresh = compiled.filter(|(path, _)| {
                    files.insert(path.clone(), (FileKind::Plain, 0, Sha256([0; 32]))).is_none()
                });
                let place = fresh.map(|(path, size)| (format!("{place}/{FILES}/{path}"), size));
                if let Some((path, _)) = &place {
                    insert_parents(&mut self.directories, path);
                }
                parts.push(FramePart { place, length: *length });
            }
            self.plan.frames.push(PlannedFrame { raw: pack.raw(frame), size: frame.size, magic, parts });
        }
        let kind = Kind::Bytecode { cache_tag: cache_tag.to_owned(), magic: pack.magic };
        let compiled = files.keys().filter_map(|path| row(path, None));
        let record = record::write(rows.iter().cloned().chain(compiled));
        self.drafts.push(DraftEntry { place, entry, kind, files, record });
        Ok(())
    }

    /// Writes everything, then the indexes, and puts the entries in place.
    pub(super) fn write(mut self, store: &Store, progress: &dyn Progress) -> Result<(), InstallError> {
        let scratch = store.scratch()?;
        self.plan.directories = std::mem::take(&mut self.directories).into_iter().collect();
        preflight::check_space(scratch.path(), &self.plan)?;
        let compiled = Mutex::new(HashMap::new());
        let notice = |path: &str, size: u64, sha256: Sha256| {
            let mut compiled = compiled.lock().unwrap_or_else(PoisonError::into_inner);
            compiled.insert(path.to_owned(), (FileKind::Plain, size, sha256));
        };
        let options = WriteOptions::of_store(Some(&notice));
        engine::prepare(&self.plan, scratch.directory(), scratch.path())?;
        engine::execute(&self.plan, self.artifact, scratch.directory(), scratch.path(), &options, progress)?;
        let compiled = compiled.into_inner().unwrap_or_else(PoisonError::into_inner);
        for draft in &mut self.drafts {
            if matches!(draft.kind, Kind::Bytecode { .. }) {
                for (path, file) in &mut draft.files {
                    let written = compiled.get(&format!("{}/{FILES}/{path}", draft.place));
                    *file = written.copied().unwrap_or(*file);
                }
            }
            let header =
                Header { time: self.plan.time, kind: draft.kind.clone(), record: draft.record.len() };
            let path = scratch.path().join(&draft.place).join(INDEX);
            let text = index::write(&header, &draft.files, &draft.record).map_err(std::io::Error::from);
            let text = text.map_err(InstallError::io("write", &path))?;
            fs::write(&path, text).map_err(InstallError::io("write", &path))?;
        }
        rustix::fs::syncfs(scratch.directory())
            .map_err(|errno| InstallError::io("sync", store.path())(errno.into()))?;
        // What is inside another draft comes with it.
        for draft in self.drafts.iter().filter(|draft| !draft.place.contains('/')) {
            put(&scratch.path().join(&draft.place), &store.path().join(&draft.entry))?;
        }
        Ok(())
    }
}

/// The first that comes wins: the others' work goes with their work directory.
fn put(draft: &Path, entry: &Path) -> Result<(), InstallError> {
    match rustix::fs::rename(draft, entry) {
        // NOENT where the wheel was taken out of use meanwhile: the next look shows it.
        Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(errno) => Err(InstallError::io("rename to", entry)(errno.into())),
    }
}

fn find<'a>(artifact: &'a VerifiedArtifact, path: &str) -> (&'a str, &'a [u8]) {
    let entry = artifact.archive().find(path);
    entry.map_or(("", &[]), |entry| (entry.name.as_str(), artifact.archive().raw(entry)))
}

/// The directory that a pack stands in.
fn cache_tag(pack: &str) -> &str {
    pack.rsplit('/').nth(1).unwrap_or_default()
}

/// The row of a file in site-packages; bytecode is without hash and size.
fn row(path: &str, file: Option<&(FileKind, u64, Sha256)>) -> Option<RecordRow> {
    let path = path.strip_prefix("site-packages/")?.to_owned();
    let hash = file.map(|(_, _, sha256)| ("sha256".to_owned(), Base64UrlUnpadded::encode_string(&sha256.0)));
    Some(RecordRow { path, hash, size: file.map(|(_, size, _)| *size) })
}

fn path_in_entry(destination: &Destination) -> String {
    let (scheme, path) = match destination {
        Destination::SitePackages(path) => ("site-packages", path),
        Destination::Scripts(path) => ("scripts", path),
        Destination::Data(path) => ("data", path),
        Destination::Headers(path) => ("headers", path),
    };
    format!("{scheme}/{path}")
}

/// Whether an install gives it another first line.
fn is_script(
    wheel: &OpenWheel<'_>,
    file: &wheelbarrow_artifact::wheel::WheelFile,
) -> Result<bool, WheelError> {
    let entry = wheel.entry(file);
    if !matches!(file.destination, Destination::Scripts(_)) || entry.size > BUFFERED_LIMIT {
        return Ok(false);
    }
    let contents = wheel.archive().read(entry, BUFFERED_LIMIT);
    let contents =
        contents.map_err(|source| WheelError::Zip { wheel: wheel.filename().to_string(), source })?;
    Ok(script::rewrite_shebang(&contents, "python").is_some())
}

fn entry_points(wheel: &OpenWheel<'_>) -> Result<Option<String>, WheelError> {
    const LARGEST: u64 = 64 << 20;
    let name = || wheel.filename().to_string();
    let member = format!("{}/entry_points.txt", wheel.dist_info());
    let Some(entry) = wheel.archive().find(&member) else { return Ok(None) };
    let text = wheel.archive().read(entry, LARGEST);
    let text = text.map_err(|source| WheelError::Zip { wheel: name(), source })?;
    String::from_utf8(text).map(Some).map_err(|_| WheelError::Encoding { wheel: name(), member })
}

fn refuse_files_as_directories(wheel: &OpenWheel<'_>, files: &NewFiles) -> Result<(), InstallError> {
    let mut directories = BTreeSet::new();
    files.keys().for_each(|path| insert_parents(&mut directories, path));
    let taken = directories.into_iter().find(|directory| files.contains_key(directory));
    taken.map_or(Ok(()), |path| {
        let name = wheel.filename().to_string();
        Err(InstallError::Collision { path, first: name.clone(), second: name })
    })
}

/// Adds a directory and all above it to a set that has no directory without those above it.
fn insert_directory(directories: &mut BTreeSet<String>, directory: &str) {
    let mut next = Some(directory);
    while let Some(directory) = next.filter(|directory| !directories.contains(*directory)) {
        directories.insert(directory.to_owned());
        next = directory.rsplit_once('/').map(|(parent, _)| parent);
    }
}

/// The same for the directory of a file.
fn insert_parents(directories: &mut BTreeSet<String>, path: &str) {
    if let Some((directory, _)) = path.rsplit_once('/') {
        insert_directory(directories, directory);
    }
}
