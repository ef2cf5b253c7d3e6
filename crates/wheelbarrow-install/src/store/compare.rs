//! Compares a store with its indexes, byte for byte, and repairs it.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;
use wheelbarrow_artifact::bytecode::pack_path;
use wheelbarrow_artifact::manifest::{NATIVE, Sha256};
use wheelbarrow_artifact::{Artifact, in_parallel};
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_wheel::order::{self, Inserted};

use super::contents::sha256_of;
use super::index::{FileKind, Index, IndexFile, Kind};
use super::paths::{BYTECODE, FILES, INDEX, bytecode_entry, program_entry, static_entry, wheel_entry};
use super::statics::StaticFile;
use super::{Store, WantedStatics, WantedWheel, ensure};
use crate::InstallError;

/// How a store differs from what was put into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StoreVerification {
    pub store: PathBuf,
    /// How many entries were compared, each bytecode counted as one.
    pub entries: usize,
    pub files: usize,
    /// Taken out of use.
    pub broken: Vec<BrokenEntry>,
}

/// An entry that is not as it was made. Paths are below it, ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct BrokenEntry {
    /// Of the wheel.
    pub sha256: Option<Sha256>,
    /// The file name of the wheel; none where its index cannot be read.
    pub wheel: Option<String>,
    /// Of the pack, where only its bytecode is broken.
    pub bytecode: Option<Sha256>,
    /// Of a native program, where that is what is broken.
    pub program: Option<Sha256>,
    /// Of a static file, where that is what is broken.
    pub static_file: Option<Sha256>,
    /// Of the index, where that is what is wrong.
    pub index: Option<String>,
    pub changed: Vec<String>,
    pub missing: Vec<String>,
    pub extra: Vec<String>,
    /// Whether it was unpacked anew.
    pub repaired: bool,
}

impl StoreVerification {
    /// Whether nothing is broken, or nothing any more.
    pub fn is_clean(&self) -> bool {
        self.broken.iter().all(|entry| entry.repaired)
    }
}

impl BrokenEntry {
    fn is_clean(&self) -> bool {
        self.index.is_none()
            && self.program.is_none()
            && self.static_file.is_none()
            && self.changed.is_empty()
            && self.missing.is_empty()
            && self.extra.is_empty()
    }
}

/// Reads every file of the store once, on all cores, and takes broken entries out of use.
pub fn verify(store: &Store, progress: &dyn Progress) -> Result<StoreVerification, InstallError> {
    let mut entries = Vec::new();
    for wheel in store.wheels()? {
        entries.push((wheel_entry(wheel), BrokenEntry { sha256: Some(wheel), ..BrokenEntry::default() }));
        for pack in store.packs(wheel)? {
            let report = BrokenEntry { sha256: Some(wheel), bytecode: Some(pack), ..BrokenEntry::default() };
            entries.push((bytecode_entry(wheel, pack), report));
        }
    }
    let mut verification = StoreVerification {
        store: store.path().to_path_buf(),
        entries: entries.len(),
        ..StoreVerification::default()
    };
    progress.begin("comparing", entries.len() as u64, Unit::Items);
    let next = AtomicUsize::new(0);
    let entries: Vec<_> = entries.into_iter().map(Mutex::new).collect();
    let failure = Mutex::new(None);
    let files = AtomicUsize::new(0);
    wheelbarrow_artifact::on_all_cores(|| {
        while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
            let (path, report) = &mut *entry;
            match compare(store, path, report, progress) {
                Ok(compared) => _ = files.fetch_add(compared, Ordering::Relaxed),
                Err(error) => {
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    next.store(entries.len(), Ordering::Relaxed);
                }
            }
            progress.advance(1);
        }
    });
    progress.end();
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    verification.files = files.into_inner();
    verify_programs(store, &mut verification)?;
    verify_statics(store, &mut verification, progress)?;
    for entry in entries {
        let (path, report) = entry.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !report.is_clean() {
            store.drop_entry(&path)?;
            verification.broken.push(report);
        }
    }
    Ok(verification)
}

fn verify_programs(store: &Store, verification: &mut StoreVerification) -> Result<(), InstallError> {
    for program in store.programs()? {
        verification.files += 1;
        if !store.is_whole_program(program)? {
            store.drop_entry(&program_entry(program))?;
            let broken = BrokenEntry { program: Some(program), ..BrokenEntry::default() };
            verification.broken.push(broken);
        }
    }
    Ok(())
}

fn verify_statics(
    store: &Store,
    verification: &mut StoreVerification,
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    let statics = store.statics()?;
    let looks = in_parallel(&statics, |sha256| match progress.is_cancelled() {
        true => Err(InstallError::Cancelled),
        false => store.look_at_static(*sha256, None),
    });
    verification.files += statics.len();
    for (sha256, look) in statics.into_iter().zip(looks) {
        if look? == StaticFile::Altered {
            store.drop_entry(&static_entry(sha256))?;
            let broken = BrokenEntry { static_file: Some(sha256), ..BrokenEntry::default() };
            verification.broken.push(broken);
        }
    }
    Ok(())
}

/// Compares one entry; gives how many files it should have.
fn compare(
    store: &Store,
    entry: &str,
    report: &mut BrokenEntry,
    progress: &dyn Progress,
) -> Result<usize, InstallError> {
    let index = match store.index(entry)? {
        Some(Ok(index)) => index,
        Some(Err(what)) => {
            report.index = Some(what);
            return Ok(0);
        }
        // Another run has just taken it out.
        None => return Ok(0),
    };
    if let Kind::Wheel { wheel, .. } = &index.header.kind {
        report.wheel = Some(wheel.clone());
    }
    let place = store.path().join(entry);
    let mut expected: HashMap<PathBuf, _> = index.paths().collect();
    for path in walk(&place)? {
        let Ok(inside) = path.strip_prefix(FILES) else {
            if path != Path::new(INDEX) {
                report.extra.push(path.to_string_lossy().into_owned());
            }
            continue;
        };
        let Some(file) = expected.remove(inside) else {
            report.extra.push(path.to_string_lossy().into_owned());
            continue;
        };
        if progress.is_cancelled() {
            return Err(InstallError::Cancelled);
        }
        if !is_as_indexed(&place.join(&path), &index, file)? {
            report.changed.push(path.to_string_lossy().into_owned());
        }
    }
    report.missing =
        expected.into_keys().map(|path| Path::new(FILES).join(path).display().to_string()).collect();
    for paths in [&mut report.changed, &mut report.missing, &mut report.extra] {
        order::sort(paths);
    }
    Ok(index.count())
}

/// Everything below an entry but directories and its bytecode, which is compared for itself.
fn walk(entry: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let absolute = entry.join(&directory);
        for item in fs::read_dir(&absolute).map_err(InstallError::io("list", &absolute))? {
            let item = item.map_err(InstallError::io("list", &absolute))?;
            let path = directory.join(item.file_name());
            let is_directory = item.file_type().map_err(InstallError::io("look at", &absolute))?.is_dir();
            match (is_directory, path == Path::new(BYTECODE)) {
                (true, true) => {}
                (true, false) => directories.push(path),
                (false, _) => found.push(path),
            }
        }
    }
    Ok(found)
}

fn is_as_indexed(path: &Path, index: &Index, file: &IndexFile) -> Result<bool, InstallError> {
    let metadata = fs::symlink_metadata(path).map_err(InstallError::io("look at", path))?;
    let executable = metadata.mode() & 0o111 != 0;
    if !metadata.is_file()
        || metadata.len() != file.size
        || metadata.mtime() != i64::from(index.header.time)
        || executable != (file.kind != FileKind::Plain)
    {
        return Ok(false);
    }
    let found = sha256_of(path).map_err(InstallError::io("read", path))?;
    Ok(found == file.sha256)
}

/// Unpacks anew what [`verify`] has taken out of use, as far as `artifact` holds it.
pub fn repair(
    store: &Store,
    verification: &mut StoreVerification,
    artifact: Artifact,
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    let manifest = artifact.manifest().clone();
    let members = manifest.members_by_path();
    let archives = members.keys().filter(|path| path.ends_with(".whl") || path.ends_with(".pack"));
    let mut artifact = artifact.verify_but(archives.map(|path| (*path).to_owned()).inserted(), progress)?;
    for broken in &mut verification.broken {
        if let Some(program) = broken.program {
            let mut programs = manifest.members.iter().filter(|member| member.path.starts_with(NATIVE));
            if let Some(member) = programs.find(|member| member.sha256 == program) {
                broken.repaired = store.take_program(&artifact, member)?;
            }
            continue;
        }
        if let Some(sha256) = broken.static_file {
            let Some(wanted) = WantedStatics::of(&manifest).only(sha256) else { continue };
            let there = wanted.ensure(store, &mut artifact, None, progress)?;
            broken.repaired = there.contains(&sha256);
            continue;
        }
        let path = manifest.wheels.iter().find(|wheel| {
            let member = members.get(wheel.path.as_str());
            member.is_some_and(|member| Some(member.sha256) == broken.sha256)
        });
        let (Some(wheel), Some(sha256)) = (path, broken.sha256) else { continue };
        let filename = wheel.path.rsplit('/').next().unwrap_or_default();
        let mut packs: Vec<Option<(String, Sha256)>> = manifest
            .targets
            .iter()
            .filter_map(|target| target.bytecode.as_ref())
            .map(|bytecode| pack_path(&bytecode.cache_tag, filename))
            .filter_map(|path| members.get(path.as_str()).map(|member| Some((path, member.sha256))))
            .collect();
        match broken.bytecode {
            Some(pack) => packs.retain(|path| path.as_ref().is_some_and(|(_, sha256)| *sha256 == pack)),
            None if packs.is_empty() => packs.push(None),
            None => {}
        }
        for pack in packs {
            let wanted = WantedWheel {
                path: wheel.path.clone(),
                sha256,
                pack,
                manifest: wheel.clone(),
                is_pip: false,
            };
            ensure(store, &mut artifact, std::slice::from_ref(&wanted), None, progress)?;
            broken.repaired = true;
        }
    }
    Ok(())
}
