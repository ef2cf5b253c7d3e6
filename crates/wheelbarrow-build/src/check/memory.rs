//! Cached results of passed checks.
//!
//! A check depends only on its request and on this program: the wheels are named by their hashes, which are
//! compared again when they are packed. So the result and the notes are cached, and a build of the same
//! wheels for the same targets does not open the wheels. A failed check is repeated each time.
//!
//! ```text
//! ROOT/checked/PROGRAM/HEX.json     PROGRAM: version, size and time of the program; HEX: SHA-256 of the request
//! ```
//!
//! The request is hashed by `derive(Hash)` with everything in it, so no field is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use sha2::Digest;
use wheelbarrow_artifact::manifest::{Allowed, Needs, Sha256};
use wheelbarrow_audit::Finding;
use wheelbarrow_base::progress::{Progress, Unit};

use super::request::{CheckRequest, Checked, CheckedTarget};

/// The directory in the cache.
pub(crate) const DIRECTORY: &str = "checked";

#[derive(Serialize, Deserialize)]
struct RememberedCheck {
    /// Without which nobody asks for it again.
    wheels: BTreeSet<Sha256>,
    targets: Vec<CheckedTarget>,
    needs: BTreeMap<String, Needs>,
    allowed: Vec<Allowed>,
    findings: Vec<Finding>,
    sbom: String,
    notes: Vec<String>,
}

/// Where a check is kept.
pub(super) struct CheckMemory(Option<PathBuf>);

impl CheckMemory {
    pub(super) fn of(request: &CheckRequest<'_>) -> Self {
        let place = |cache: &Path| {
            Some(cache.join(DIRECTORY).join(program()?).join(format!("{}.json", key(request))))
        };
        Self(request.cache.and_then(place))
    }

    /// What the check gave; what it told is told again.
    pub(super) fn recall(&self, progress: &dyn Progress) -> Option<Checked> {
        let text = fs::read(self.0.as_ref()?).ok()?;
        let RememberedCheck { wheels: _, targets, needs, allowed, findings, sbom, notes } =
            serde_json::from_slice(&text).ok()?;
        notes.iter().for_each(|note| progress.note(note));
        Some(Checked { targets, needs, allowed, findings, sbom: sbom.into_bytes() })
    }

    /// Not being able to only means to check again next time.
    pub(super) fn keep(&self, checked: &Checked, request: &CheckRequest<'_>, notes: Vec<String>) {
        let Some(path) = &self.0 else { return };
        let Ok(sbom) = String::from_utf8(checked.sbom.clone()) else { return };
        let Checked { targets, needs, allowed, findings, .. } = checked.clone();
        let wheels = request.targets.iter().flat_map(|target| target.wheels.iter().chain([&target.pip]));
        let wheels = wheels.map(|wheel| wheel.sha256).collect();
        let remembered = RememberedCheck { wheels, targets, needs, allowed, findings, sbom, notes };
        let Ok(text) = serde_json::to_vec(&remembered) else { return };
        let directory = path.parent().unwrap_or(path);
        let _ = fs::create_dir_all(directory).map(|()| wheelbarrow_base::write_atomic(path, &text, 0o666));
    }
}

/// The wheels that a kept check is of; nothing where it cannot be read.
pub(crate) fn wheels(path: &Path) -> Option<BTreeSet<Sha256>> {
    Some(serde_json::from_slice::<RememberedCheck>(&fs::read(path).ok()?).ok()?.wheels)
}

fn key(request: &CheckRequest<'_>) -> Sha256 {
    let mut hasher = Sha256Hasher::default();
    request.hash(&mut hasher);
    Sha256(hasher.0.finalize().into())
}

/// Takes what types say of themselves for a hash map; its own answer of eight bytes would be too short for a name.
#[derive(Default)]
struct Sha256Hasher(sha2::Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.clone().finalize().into();
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Which program this is: another one may judge otherwise. Nothing where it cannot be told.
pub(crate) fn program() -> Option<String> {
    let metadata = std::env::current_exe().and_then(fs::metadata).ok()?;
    let time = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}-{}-{}", env!("CARGO_PKG_VERSION"), metadata.len(), time.as_nanos()))
}

/// Hands everything on, and takes down what is told.
pub(super) struct RecordingProgress<'p> {
    progress: &'p dyn Progress,
    notes: Mutex<Vec<String>>,
}

impl<'p> RecordingProgress<'p> {
    pub(super) fn to(progress: &'p dyn Progress) -> Self {
        Self { progress, notes: Mutex::default() }
    }

    pub(super) fn into_notes(self) -> Vec<String> {
        self.notes.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for RecordingProgress<'_> {
    fn begin(&self, what: &str, total: u64, unit: Unit) {
        self.progress.begin(what, total, unit);
    }

    fn advance(&self, amount: u64) {
        self.progress.advance(amount);
    }

    fn end(&self) {
        self.progress.end();
    }

    fn note(&self, message: &str) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_owned());
        self.progress.note(message);
    }

    fn is_cancelled(&self) -> bool {
        self.progress.is_cancelled()
    }
}
