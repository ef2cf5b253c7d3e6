//! Checks that were passed before.
//!
//! A check depends on its request and on this program alone: the wheels are named by their hashes, which are compared
//! again when they are packed. So what came of it, and what was told, is kept in the cache, and a build of the same
//! wheels for the same targets does not open them. A check that refuses is made anew each time.
//!
//! ```text
//! ROOT/checked/PROGRAM/HEX.json     PROGRAM: version, size and time of the program; HEX: SHA-256 of the request
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::manifest::{Allowed, Needs, Sha256};
use wheelbarrow_artifact::progress::{Progress, Unit};

use super::{CheckRequest, Checked, CheckedTarget};

/// The directory in the cache.
pub(crate) const DIRECTORY: &str = "checked";

#[derive(Serialize, Deserialize)]
struct Remembered {
    targets: Vec<CheckedTarget>,
    needs: BTreeMap<String, Needs>,
    allowed: Vec<Allowed>,
    sbom: String,
    notes: Vec<String>,
}

/// Where a check is kept.
pub(super) struct Memory(Option<PathBuf>);

impl Memory {
    pub(super) fn of(request: &CheckRequest<'_>) -> Self {
        let key = || Sha256::of(format!("{request:?}").as_bytes());
        let place =
            |cache: &Path| Some(cache.join(DIRECTORY).join(program()?).join(format!("{}.json", key())));
        Self(request.cache.and_then(place))
    }

    /// What the check gave; what it told is told again.
    pub(super) fn recall(&self, progress: &dyn Progress) -> Option<Checked> {
        let text = fs::read(self.0.as_ref()?).ok()?;
        let Remembered { targets, needs, allowed, sbom, notes } = serde_json::from_slice(&text).ok()?;
        notes.iter().for_each(|note| progress.note(note));
        Some(Checked { targets, needs, allowed, sbom: sbom.into_bytes() })
    }

    /// Not being able to only means to check again next time.
    pub(super) fn keep(&self, checked: &Checked, notes: Vec<String>) {
        let Some(path) = &self.0 else { return };
        let Ok(sbom) = String::from_utf8(checked.sbom.clone()) else { return };
        let Checked { targets, needs, allowed, .. } = checked.clone();
        let Ok(text) = serde_json::to_vec(&Remembered { targets, needs, allowed, sbom, notes }) else {
            return;
        };
        let directory = path.parent().unwrap_or(path);
        let _ = fs::create_dir_all(directory).map(|()| wheelbarrow_fs::write_atomic(path, &text, 0o666));
    }
}

/// Which program this is: another one may judge otherwise. Nothing where it cannot be told.
pub(crate) fn program() -> Option<String> {
    let metadata = std::env::current_exe().and_then(fs::metadata).ok()?;
    let time = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}-{}-{}", env!("CARGO_PKG_VERSION"), metadata.len(), time.as_nanos()))
}

/// Hands everything on, and takes down what is told.
pub(super) struct Listening<'p> {
    progress: &'p dyn Progress,
    notes: Mutex<Vec<String>>,
}

impl<'p> Listening<'p> {
    pub(super) fn to(progress: &'p dyn Progress) -> Self {
        Self { progress, notes: Mutex::default() }
    }

    pub(super) fn into_notes(self) -> Vec<String> {
        self.notes.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Listening<'_> {
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
