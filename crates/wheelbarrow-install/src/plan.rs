//! The plan of an install, as plain data: nothing here touches the file system.
//!
//! Paths are relative to the destination. `planner` makes a plan, the engine writes it, the store links its
//! part of it, and the receipt describes it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use wheelbarrow_artifact::bytecode::PYC_HEADER;
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, Sha256};
use wheelbarrow_artifact::zip;

use crate::store::{Entry, IndexFile, Kind};
use crate::sums::sums_line;

/// Everything that an install writes but the files that tell of all others, which `planner::last` plans.
#[derive(Default)]
pub(crate) struct Plan<'a> {
    /// Parents first.
    pub directories: Vec<String>,
    /// Link, then target.
    pub links: Vec<(String, String)>,
    /// In the order in which they are written: those of a directory together.
    pub files: Vec<PlannedFile<'a>>,
    pub frames: Vec<PlannedFrame<'a>>,
    /// What comes out of the store.
    pub linked: Vec<LinkedDirectory<'a>>,
    /// The modification time of every source that comes with bytecode, in seconds since 1970: `.pyc` files name it.
    /// It is the time of the install and not a fixed one, or collectstatic would take a changed file for an old one.
    pub time: u32,
    /// What is to be compiled when all files but those that tell of others are there.
    pub batches: Vec<CompileBatch>,
    pub bytecode: Bytecode,
}

/// Where the bytecode of an install is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bytecode {
    /// It travelled in the artifact.
    Carried,
    Compiled,
    #[default]
    None,
}

/// Modules of one owner that a fresh process of the interpreter compiles in their order. How they are shared out depends on
/// nothing but the artifact, so that the bytecode does not.
pub(crate) type CompileBatch = Vec<Module>;

/// A module that the interpreter is to compile.
pub(crate) struct Module {
    pub source: String,
    pub bytecode: String,
    /// Bytes of the source.
    pub size: u64,
}

pub(crate) struct PlannedFile<'a> {
    pub path: String,
    pub executable: bool,
    /// Whether it gets [`Plan::time`].
    pub timed: bool,
    /// Of what is written.
    pub sha256: Sha256,
    pub contents: Contents<'a>,
}

pub(crate) enum Contents<'a> {
    Bytes(Vec<u8>),
    /// A static file that the store has by its content, to be linked.
    Stored,
    /// A member of the artifact or of a wheel in it, with its compressed bytes.
    Member {
        entry: &'a zip::Entry,
        raw: &'a [u8],
    },
}

/// A frame of a bytecode pack.
pub(crate) struct PlannedFrame<'a> {
    pub raw: &'a [u8],
    /// Bytes, uncompressed.
    pub size: usize,
    pub magic: [u8; 4],
    /// What is in it, in order.
    pub parts: Vec<FramePart>,
}

pub(crate) struct FramePart {
    /// Where it goes, and the size of its source; none where another file is there already.
    pub place: Option<(String, u64)>,
    /// Bytes of code.
    pub length: usize,
}

/// Files of one directory in the store, and where they go.
pub(crate) struct LinkedDirectory<'a> {
    pub entry: &'a Entry,
    /// In the index.
    pub source: &'a str,
    pub target: String,
    pub files: Cow<'a, [IndexFile]>,
}

/// What one thread takes at once.
pub(crate) enum WriteBatch<'p, 'a> {
    /// Files of one directory.
    Files(Vec<&'p PlannedFile<'a>>),
    Frame(&'p PlannedFrame<'a>),
}

impl Plan<'_> {
    /// What the file system will take, files rounded up to blocks of `block` bytes.
    pub(crate) fn bytes_on_disk(&self, block: u64) -> u64 {
        let files = self.files.iter().map(|file| file.contents.size().next_multiple_of(block)).sum::<u64>();
        let parts = self.parts().map(|part| ((part.length + PYC_HEADER) as u64).next_multiple_of(block));
        // As large as its source is what a module compiles to, by and large.
        let modules = self.modules().map(|module| (module.size + PYC_HEADER as u64).next_multiple_of(block));
        let directories = (self.directories.len() + self.caches()) as u64;
        // What the receipt says is in the manifest too.
        let manifest = self.files.iter().find(|file| file.path == MANIFEST_PATH);
        let receipt = manifest.map_or(0, |manifest| manifest.contents.size());
        let last = self.sums_size().next_multiple_of(block) + receipt.next_multiple_of(block);
        files + parts.sum::<u64>() + modules.sum::<u64>() + block * directories + last
    }

    pub(crate) fn inodes(&self) -> u64 {
        let files = self.files.len() + self.parts().count() + self.modules().count();
        (files + self.directories.len() + self.caches() + self.links.len()) as u64 + 3
    }

    pub(crate) fn modules(&self) -> impl Iterator<Item = &Module> {
        self.batches.iter().flatten()
    }

    /// How many directories compiling makes.
    fn caches(&self) -> usize {
        self.modules().map(|module| parent(&module.bytecode)).collect::<HashSet<_>>().len()
    }

    fn parts(&self) -> impl Iterator<Item = &FramePart> {
        self.frames.iter().flat_map(|frame| &frame.parts).filter(|part| part.place.is_some())
    }

    /// Bytes to be written.
    pub(crate) fn size(&self) -> u64 {
        let frames = self.frames.iter().map(|frame| frame.size as u64).sum::<u64>();
        frames + self.files.iter().map(|file| file.contents.size()).sum::<u64>()
    }

    /// Bytes of the sums.
    fn sums_size(&self) -> u64 {
        let files = self.files.iter().map(|file| sums_line(&file.path));
        let linked = self.linked.iter().filter(|directory| !directory.is_bytecode());
        let linked = linked.flat_map(|directory| {
            let index = &directory.entry.index;
            let line = sums_line(&directory.target) + 1;
            directory.files.iter().map(move |file| line + index.name(file).len())
        });
        files.chain(linked).sum::<usize>() as u64
    }
}

impl PlannedFile<'_> {
    pub(crate) fn of_bytes(path: String, contents: Vec<u8>, executable: bool) -> Self {
        let sha256 = Sha256::of(&contents);
        Self { path, executable, timed: false, sha256, contents: Contents::Bytes(contents) }
    }
}

impl Contents<'_> {
    /// Bytes of the artifact that it is read from.
    pub(crate) fn raw_size(&self) -> usize {
        match self {
            Self::Member { raw, .. } => raw.len(),
            Self::Bytes(_) | Self::Stored => 0,
        }
    }

    /// Bytes to be written.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Stored => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Member { entry, .. } => entry.size,
        }
    }
}

impl PlannedFrame<'_> {
    /// The files that it makes.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| Some(part.place.as_ref()?.0.as_str()))
    }
}

impl LinkedDirectory<'_> {
    pub(crate) fn paths(&self) -> impl Iterator<Item = (String, &IndexFile)> {
        let index = &self.entry.index;
        self.files.iter().map(|file| ([&self.target, "/", index.name(file)].concat(), file))
    }

    pub(crate) fn is_bytecode(&self) -> bool {
        matches!(self.entry.index.header.kind, Kind::Bytecode { .. })
    }
}

/// The directory of a path: everything before the last `/`.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The second that it is, since 1970.
pub(crate) fn now() -> u32 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    #[allow(clippy::cast_possible_truncation, reason = "as Python keeps it in .pyc files")]
    let time = time as u32;
    time
}
