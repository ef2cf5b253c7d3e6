//! Cached answers of indexes, kept for a day, and indexes that did not answer, kept for an hour.
//!
//! ```text
//! ROOT/statuses/HEX/NAME.json       HEX: SHA-256 of the URL of the index, without its login
//! ROOT/statuses/HEX/silent          that it did not answer
//! ```

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelbarrow_audit::ProjectStatus;
use wheelbarrow_base::{Sha256, read_regular};

/// The directory in the cache.
pub(crate) const DIRECTORY: &str = "statuses";

const ANSWER_COUNTS: Duration = Duration::from_secs(24 * 60 * 60);
const SILENCE_COUNTS: Duration = Duration::from_secs(60 * 60);
/// Bytes of a file.
const LARGEST: u64 = 8 << 10;

#[derive(Serialize, Deserialize)]
struct Kept {
    /// Seconds since 1970.
    asked: u64,
    status: Option<ProjectStatus>,
}

pub(super) struct StatusMemory {
    directory: PathBuf,
    now: SystemTime,
}

impl StatusMemory {
    pub(super) fn new(cache: &Path, now: SystemTime) -> Self {
        Self { directory: cache.join(DIRECTORY), now }
    }

    /// The status of a project, if its index was asked within a day.
    pub(super) fn recall(&self, index: &str, name: &str) -> Option<Option<ProjectStatus>> {
        self.read(&self.answer(index, name), ANSWER_COUNTS).map(|kept| kept.status)
    }

    pub(super) fn keep(&self, index: &str, name: &str, status: Option<&ProjectStatus>) {
        self.write(&self.answer(index, name), status);
    }

    /// Whether an index did not answer within the last hour.
    pub(super) fn is_silent(&self, index: &str) -> bool {
        self.read(&self.silence(index), SILENCE_COUNTS).is_some()
    }

    pub(super) fn keep_silence(&self, index: &str) {
        self.write(&self.silence(index), None);
    }

    fn answer(&self, index: &str, name: &str) -> PathBuf {
        self.place(index).join(format!("{name}.json"))
    }

    /// No project has this file's name, which has no extension.
    fn silence(&self, index: &str) -> PathBuf {
        self.place(index).join("silent")
    }

    fn place(&self, index: &str) -> PathBuf {
        self.directory.join(Sha256::of(index.as_bytes()).to_string())
    }

    fn read(&self, path: &Path, counts: Duration) -> Option<Kept> {
        let kept: Kept = serde_json::from_slice(&read_regular(path, LARGEST).ok()?).ok()?;
        // One of the future was written by another clock.
        let age = self.seconds().checked_sub(kept.asked)?;
        (age < counts.as_secs()).then_some(kept)
    }

    /// Not being able to only means to ask again.
    fn write(&self, path: &Path, status: Option<&ProjectStatus>) {
        let kept = Kept { asked: self.seconds(), status: status.cloned() };
        let Ok(text) = serde_json::to_vec(&kept) else { return };
        let directory = path.parent().unwrap_or(path);
        let _ = fs::create_dir_all(directory).map(|()| wheelbarrow_base::write_atomic(path, &text, 0o666));
    }

    fn seconds(&self) -> u64 {
        self.now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

/// Whether a file below [`DIRECTORY`] still counts.
pub(crate) fn counts(path: &Path) -> bool {
    let memory = StatusMemory { directory: PathBuf::new(), now: SystemTime::now() };
    memory.read(path, ANSWER_COUNTS).is_some()
}

#[cfg(test)]
mod tests {
    use wheelbarrow_audit::StatusMarker;

    use super::*;

    #[test]
    fn answers_are_kept_for_a_day_and_silence_for_an_hour() {
        let place = tempfile::tempdir().unwrap();
        let at = |hours: u64| {
            let now = UNIX_EPOCH + Duration::from_secs(1_000_000 + hours * 60 * 60);
            StatusMemory::new(place.path(), now)
        };
        let archived = ProjectStatus { marker: StatusMarker::Archived, reason: "old".to_owned() };
        at(5).keep("https://i/simple/", "a", Some(&archived));
        at(5).keep("https://i/simple/", "b", None);
        at(5).keep_silence("https://i/simple/");
        for hours in [5, 28] {
            assert_eq!(at(hours).recall("https://i/simple/", "a"), Some(Some(archived.clone())));
            assert_eq!(at(hours).recall("https://i/simple/", "b"), Some(None));
        }
        for hours in [4, 29] {
            assert_eq!(at(hours).recall("https://i/simple/", "a"), None, "{hours}");
        }
        assert_eq!(at(5).recall("https://other/simple/", "a"), None);
        assert_eq!(at(5).recall("https://i/simple/", "silent"), None);
        assert!(at(5).is_silent("https://i/simple/") && !at(6).is_silent("https://i/simple/"));
        assert!(!at(5).is_silent("https://other/simple/"));
        fs::write(at(5).answer("https://i/simple/", "a"), "x".repeat(1 << 20)).unwrap();
        assert_eq!(at(5).recall("https://i/simple/", "a"), None);
    }
}
