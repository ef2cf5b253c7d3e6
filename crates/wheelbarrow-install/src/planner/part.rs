//! The part of a plan that one owner adds.

use crate::plan::{CompileBatch, LinkedDirectory, PlannedFile, PlannedFrame};
use crate::store::{Entry, FileKind, IndexFile};

/// What one owner (a wheel, the virtualenv, the project) adds to a plan. Parts are made side by side, and know nothing of
/// each other until [`super::merge`] finds what two of them want to write.
pub(super) struct PlanPart<'a> {
    /// As errors name it.
    pub owner: String,
    pub directories: Vec<String>,
    pub links: Vec<(String, String)>,
    pub files: Vec<PlannedFile<'a>>,
    pub frames: Vec<PlannedFrame<'a>>,
    pub linked: Vec<LinkedDirectory<'a>>,
    /// Files of the store in directories that other parts write to as well.
    pub shared: Vec<LinkedFile<'a>>,
    pub batches: Vec<CompileBatch>,
}

/// A file in the store.
pub(super) struct LinkedFile<'a> {
    pub path: String,
    pub entry: &'a Entry,
    /// Its directory in the index.
    pub source: &'a str,
    pub file: IndexFile,
}

impl<'a> PlanPart<'a> {
    pub(super) fn new(owner: impl Into<String>) -> Self {
        let owner = owner.into();
        Self {
            owner,
            directories: Vec::new(),
            links: Vec::new(),
            files: Vec::new(),
            frames: Vec::new(),
            linked: Vec::new(),
            shared: Vec::new(),
            batches: Vec::new(),
        }
    }

    pub(super) fn bytes(&mut self, path: String, contents: Vec<u8>, executable: bool) {
        self.files.push(PlannedFile::of_bytes(path, contents, executable));
    }
}

impl LinkedFile<'_> {
    pub(super) fn is_executable(&self) -> bool {
        self.file.kind != FileKind::Plain
    }
}
