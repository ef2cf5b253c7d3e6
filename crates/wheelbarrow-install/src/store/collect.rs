//! Removes entries that no install refers to.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, Manifest, NATIVE, Sha256};
use wheelbarrow_base::{LARGEST_TEXT, json, read_regular};

use super::paths::{bytecode_entry, program_entry, static_entry, wheel_entry};
use super::{Index, Kind, Store, statics};
use crate::InstallError;
use crate::receipt::{self, ReceiptStore};

/// What was removed, or would be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Collection {
    pub store: PathBuf,
    /// How many entries stay, each bytecode counted as one.
    pub kept: usize,
    pub removed: Vec<RemovedEntry>,
    /// Bytes that get free: of files that no install links to.
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RemovedEntry {
    /// Of the wheel.
    pub sha256: Sha256,
    /// Its file name; none where its index cannot be read.
    pub wheel: Option<String>,
    /// Of the pack, where only its bytecode is removed.
    pub bytecode: Option<Sha256>,
    /// Whether it is a native program; `sha256` is its own then.
    pub program: bool,
    /// Whether it is a static file; `sha256` is its own then.
    pub static_file: bool,
}

/// Whether entries are removed, or only named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Now,
    DryRun,
}

/// Removes every wheel and every bytecode that no receipt of `installs` names. The store must be open for nobody else.
pub fn collect(store: &Store, installs: &[PathBuf], removal: Removal) -> Result<Collection, InstallError> {
    let keep = kept_by(installs)?;
    let mut collection =
        Collection { store: store.path().to_path_buf(), kept: 0, removed: Vec::new(), bytes: 0 };
    for sha256 in store.wheels()? {
        let entry = wheel_entry(sha256);
        let wheel = match store.index(&entry)? {
            Some(Ok(Index { header, .. })) => match header.kind {
                Kind::Wheel { wheel, .. } => Some(wheel),
                Kind::Bytecode { .. } => None,
            },
            _ => None,
        };
        if !keep.wheels.contains(&sha256) {
            collection.remove(store, &entry, removal)?;
            collection.removed.push(RemovedEntry { wheel, ..RemovedEntry::of(sha256) });
            continue;
        }
        collection.kept += 1;
        for pack in store.packs(sha256)? {
            if keep.bytecode.contains(&pack) {
                collection.kept += 1;
                continue;
            }
            collection.remove(store, &bytecode_entry(sha256, pack), removal)?;
            let (wheel, bytecode) = (wheel.clone(), Some(pack));
            collection.removed.push(RemovedEntry { wheel, bytecode, ..RemovedEntry::of(sha256) });
        }
    }
    for sha256 in store.programs()? {
        if keep.contents.as_ref().is_some_and(|contents| !contents.contains(&sha256)) {
            collection.remove(store, &program_entry(sha256), removal)?;
            collection.removed.push(RemovedEntry { program: true, ..RemovedEntry::of(sha256) });
        }
    }
    for sha256 in store.statics()? {
        if keep.contents.as_ref().is_some_and(|contents| !contents.contains(&sha256)) {
            collection.remove(store, &static_entry(sha256), removal)?;
            collection.removed.push(RemovedEntry { static_file: true, ..RemovedEntry::of(sha256) });
        }
    }
    Ok(collection)
}

struct KeptEntry {
    wheels: BTreeSet<Sha256>,
    bytecode: BTreeSet<Sha256>,
    /// Of programs and static files. None where that cannot be known, and all stay.
    contents: Option<BTreeSet<Sha256>>,
}

/// What the receipts name, and of programs and static files the manifests.
fn kept_by(installs: &[PathBuf]) -> Result<KeptEntry, InstallError> {
    let mut keep =
        KeptEntry { wheels: BTreeSet::new(), bytecode: BTreeSet::new(), contents: Some(BTreeSet::new()) };
    for install in installs {
        let ReceiptStore { wheels, bytecode } = receipt::read_store(install)?;
        keep.wheels.extend(wheels);
        keep.bytecode.extend(bytecode);
        match (contents_of(install), &mut keep.contents) {
            (Some(found), Some(contents)) => contents.extend(found),
            _ => keep.contents = None,
        }
    }
    Ok(keep)
}

/// Those of the artifact that the install is of; none where its manifest cannot be read.
fn contents_of(install: &Path) -> Option<BTreeSet<Sha256>> {
    let text = read_regular(&install.join(MANIFEST_PATH), LARGEST_TEXT).ok()?;
    let manifest = json::from_slice::<Manifest>(&text).ok()?;
    let programs = manifest.members.iter().filter(|member| member.path.starts_with(NATIVE));
    let mut contents = statics::contents_of(&manifest);
    contents.extend(programs.map(|member| member.sha256));
    Some(contents)
}

impl RemovedEntry {
    fn of(sha256: Sha256) -> Self {
        Self { sha256, wheel: None, bytecode: None, program: false, static_file: false }
    }
}

impl Collection {
    fn remove(&mut self, store: &Store, entry: &str, removal: Removal) -> Result<(), InstallError> {
        let path = store.path().join(entry);
        self.bytes += freed(&path).map_err(InstallError::io("look through", &path))?;
        match removal {
            Removal::Now => store.drop_entry(entry),
            Removal::DryRun => Ok(()),
        }
    }
}

/// Bytes of a file, or below a directory, that have no other name.
fn freed(path: &Path) -> std::io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(if metadata.nlink() == 1 { metadata.len() } else { 0 });
    }
    let mut bytes = 0;
    let mut directories = vec![path.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                directories.push(entry.path());
            } else if metadata.nlink() == 1 {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}
