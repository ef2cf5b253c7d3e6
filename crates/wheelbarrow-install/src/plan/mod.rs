//! What an install will write, as plain data: nothing here touches the file system.
//!
//! Paths are relative to the destination. The specification is `docs/format.md`, "What an install leaves"; the numbers
//! in comments are its own.

mod bytecode;
mod last;
mod merge;
mod project;
mod stored;
mod wheel;

use std::collections::{HashMap, HashSet};

use sha2::Digest;
use wheelbarrow_artifact::bytecode::PYC_HEADER;
use wheelbarrow_artifact::interpreter::{Interpreter, Virtualenv};
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, Sha256, Target};
use wheelbarrow_artifact::zip::{Entry, Inflater};
use wheelbarrow_artifact::{VerifiedArtifact, in_parallel};
use wheelbarrow_fs::SafePath;

use self::bytecode::Packs;
pub(crate) use self::bytecode::usable_bytecode;
pub(crate) use self::merge::now;
pub(crate) use self::stored::{LinkedDirectory, LinkedFile};
pub(crate) use self::wheel::{TargetWheel, member_sha256, open_wheels, wheel_paths};
use crate::receipt::{RECEIPT_PATH, SUMS_PATH};
use crate::store::{Store, StoredWheel};
use crate::writer::parent;
use crate::{Bytecode, Compile, InstallError, Options};

/// Everything that an install writes but the files that tell of all others: see [`Plan::split_last`].
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
    /// What is to be compiled when all files but those of [`Plan::split_last`] are there.
    pub batches: Vec<Batch>,
    pub bytecode: Bytecode,
}

/// Modules of one owner that a fresh process of the interpreter compiles in their order. How they are shared out depends on
/// nothing but the artifact, so that the bytecode does not.
pub(crate) type Batch = Vec<Module>;

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

/// What one owner (a wheel, the virtualenv, the project) adds to a plan. Parts are made side by side, and know nothing of
/// each other until [`merge::merge`] finds what two of them want to write.
struct Part<'a> {
    /// As errors name it.
    owner: String,
    directories: Vec<String>,
    links: Vec<(String, String)>,
    files: Vec<PlannedFile<'a>>,
    frames: Vec<PlannedFrame<'a>>,
    linked: Vec<LinkedDirectory<'a>>,
    batches: Vec<Batch>,
}

/// Where the wheels are.
#[derive(Clone, Copy)]
pub(crate) enum Wheels<'a> {
    Artifact(&'a [TargetWheel<'a>]),
    Store(&'a Store, &'a [StoredWheel<'a>]),
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

pub(crate) enum Contents<'a> {
    Bytes(Vec<u8>),
    /// A member of the artifact or of a wheel in it, with its compressed bytes.
    Member {
        entry: &'a Entry,
        raw: &'a [u8],
    },
    /// A file in the store.
    Stored(LinkedFile<'a>),
}

/// Plans all of the install but what [`Plan::split_last`] gives.
pub(crate) fn plan<'a>(
    artifact: &'a VerifiedArtifact,
    target: &'a Target,
    interpreter: &Interpreter,
    options: &Options,
    wheels: &Wheels<'a>,
) -> Result<Plan<'a>, InstallError> {
    let expected = crate::virtualenv(&options.destination);
    let virtualenv = interpreter.virtualenv.as_ref().filter(|virtualenv| virtualenv.path == expected);
    let Some(virtualenv) = virtualenv else {
        let found =
            interpreter.virtualenv.as_ref().map(|virtualenv| virtualenv.path.clone()).unwrap_or_default();
        return Err(InstallError::Facts { found, expected });
    };
    let python = expected.join("bin/python").into_os_string().into_string();
    let python = python.map_err(|path| InstallError::NotUtf8 { path: path.into() })?;
    let has_lib64_link = virtualenv.links.iter().any(|(link, target)| link == "lib64" && target == "lib");
    let packs = Packs::find(artifact, target, interpreter);
    let carried = packs.usable;
    let compile = options.compile;
    let winners = target.collisions.iter().map(|it| (it.path.as_str(), it.wheel.as_str())).collect();
    let planner = Planner { artifact, python, interpreter, has_lib64_link, packs, compile, winners };
    let mut parts = vec![planner.virtualenv(virtualenv)?];
    let made = match wheels {
        Wheels::Artifact(wheels) => in_parallel(wheels, |wheel| planner.wheel(wheel)),
        Wheels::Store(store, wheels) => in_parallel(wheels, |wheel| planner.stored(store, wheel)),
    };
    for part in made {
        parts.push(part?);
    }
    parts.push(planner.project()?);
    let mut own = Part::new("wheelbarrow");
    own.bytes(MANIFEST_PATH.to_owned(), artifact.manifest_bytes().to_vec(), false);
    own.files.extend(planner.first_pth(&parts)?);
    parts.push(own);

    stored::share(&mut parts);
    let mut plan = merge::merge(parts, &[SUMS_PATH, RECEIPT_PATH])?;
    plan.bytecode = match () {
        () if carried => Bytecode::Carried,
        () if plan.batches.is_empty() => Bytecode::None,
        () => Bytecode::Compiled,
    };
    Ok(plan)
}

/// What every part is made from.
struct Planner<'p, 'a> {
    artifact: &'a VerifiedArtifact,
    /// The virtualenv's Python, absolute.
    python: String,
    interpreter: &'p Interpreter,
    has_lib64_link: bool,
    packs: Packs<'a>,
    compile: Compile,
    /// The wheel that writes a path, by the path in RECORD, for paths that several wheels have.
    winners: HashMap<&'p str, &'p str>,
}

impl<'a> Planner<'_, 'a> {
    /// Whether another wheel than `wheel`, a path in the artifact, writes `path`.
    fn loses(&self, wheel: &str, path: &str) -> bool {
        !self.winners.is_empty()
            && self
                .winners
                .get(self.relative_to_site_packages(path).as_str())
                .is_some_and(|winner| *winner != wheel)
    }

    fn virtualenv(&self, virtualenv: &Virtualenv) -> Result<Part<'a>, InstallError> {
        let mut part = Part::new("the virtualenv");
        part.directories.push("venv".to_owned());
        for directory in &virtualenv.directories {
            part.directories.push(SafePath::new(&format!("venv/{directory}"))?.into());
        }
        for (link, target) in &virtualenv.links {
            part.links.push((SafePath::new(&format!("venv/{link}"))?.into(), target.clone()));
        }
        for file in &virtualenv.files {
            let path = SafePath::new(&format!("venv/{}", file.path))?;
            part.bytes(path.into(), file.text.clone().into_bytes(), file.executable);
        }
        Ok(part)
    }
}

impl<'a> Part<'a> {
    fn new(owner: impl Into<String>) -> Self {
        let owner = owner.into();
        Self {
            owner,
            directories: Vec::new(),
            links: Vec::new(),
            files: Vec::new(),
            frames: Vec::new(),
            linked: Vec::new(),
            batches: Vec::new(),
        }
    }

    fn bytes(&mut self, path: String, contents: Vec<u8>, executable: bool) {
        self.files.push(PlannedFile::of_bytes(path, contents, executable));
    }
}

impl PlannedFrame<'_> {
    /// The files that it makes.
    fn paths(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| Some(part.place.as_ref()?.0.as_str()))
    }
}

impl PlannedFile<'_> {
    fn of_bytes(path: String, contents: Vec<u8>, executable: bool) -> Self {
        let sha256 = Sha256::of(&contents);
        Self { path, executable, timed: false, sha256, contents: Contents::Bytes(contents) }
    }
}

impl PlannedFile<'_> {
    /// Compares a file that is not written with its hash: another one is there that says it holds the same.
    fn check_unwritten(&self) -> Result<(), InstallError> {
        let Contents::Member { entry, raw } = &self.contents else { return Ok(()) };
        let mut hash = sha2::Sha256::new();
        let unpack = |source| InstallError::Unpack { path: self.path.as_str().into(), source };
        Inflater::new().read(entry, raw, &mut |bytes| hash.update(bytes)).map_err(unpack)?;
        match Sha256(hash.finalize().into()) == self.sha256 {
            true => Ok(()),
            false => Err(InstallError::Changed { path: self.path.as_str().into() }),
        }
    }
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
}

impl Contents<'_> {
    /// Bytes of the artifact that it is read from.
    pub(crate) fn raw_size(&self) -> usize {
        match self {
            Self::Member { raw, .. } => raw.len(),
            Self::Bytes(_) | Self::Stored(_) => 0,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Member { entry, .. } => entry.size,
            Self::Stored(file) => file.file.size,
        }
    }
}
