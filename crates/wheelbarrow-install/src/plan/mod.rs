//! What an install will write, as plain data: nothing here touches the file system.
//!
//! Paths are relative to the destination. The specification is `docs/format.md`, "What an install leaves"; the numbers
//! in comments are its own.

mod bytecode;
mod wheel;

use std::collections::{BTreeSet, HashMap};

use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::bytecode::{PROJECT_PACK, PYC_HEADER};
use wheelbarrow_artifact::interpreter::{Interpreter, Virtualenv};
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, MemberKind, Sha256, Target};
use wheelbarrow_artifact::zip::Entry;
use wheelbarrow_fs::SafePath;

use self::bytecode::{Packs, modules};
pub(crate) use self::wheel::{TargetWheel, open_wheels};
use crate::receipt::{RECEIPT_PATH, SUMS_PATH, receipt, sums};
use crate::{InstallError, Options};

/// Everything that an install writes.
#[derive(Default)]
pub(crate) struct Plan<'a> {
    /// Parents first.
    pub directories: BTreeSet<String>,
    /// Link, then target.
    pub links: Vec<(String, String)>,
    /// In the order in which they are written: those of a directory together.
    pub files: Vec<PlannedFile<'a>>,
    pub frames: Vec<PlannedFrame<'a>>,
    /// The modification time of every source that comes with bytecode, in seconds since 1970: `.pyc` files name it.
    /// It is the time of the install and not a fixed one, or collectstatic would take a changed file for an old one.
    pub time: u32,
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
}

/// Plans the whole install.
pub(crate) fn plan<'a>(
    artifact: &'a VerifiedArtifact,
    target: &Target,
    interpreter: &Interpreter,
    options: &Options,
    wheels: &'a [TargetWheel<'a>],
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
    let time =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    #[allow(clippy::cast_possible_truncation, reason = "as Python keeps it in .pyc files")]
    let plan = Plan { time: time as u32, ..Plan::default() };
    let packs = Packs::find(artifact, target, interpreter);
    let mut planner = Planner { python, interpreter, packs, plan, owners: HashMap::new() };
    planner.virtualenv(virtualenv)?;
    for wheel in wheels {
        planner.wheel(wheel)?;
    }
    planner.members(artifact)?;
    planner.bytes("the manifest", MANIFEST_PATH.to_owned(), artifact.manifest_bytes().to_vec(), false)?;
    let sums = sums(&planner.plan.files);
    let receipt = receipt(artifact, target, interpreter, options.pip, Sha256::of(&sums));
    let receipt = receipt.map_err(|error| InstallError::io("write", RECEIPT_PATH.as_ref())(error.into()))?;
    planner.bytes("the sums", SUMS_PATH.to_owned(), sums, false)?;
    planner.bytes("the receipt", RECEIPT_PATH.to_owned(), receipt, false)?;
    planner.refuse_files_as_directories()?;
    Ok(planner.plan)
}

struct Planner<'p, 'a> {
    /// The virtualenv's Python, absolute.
    python: String,
    interpreter: &'p Interpreter,
    packs: Packs<'a>,
    plan: Plan<'a>,
    /// Who writes a path, and what, where that is known.
    owners: HashMap<String, (String, Option<Sha256>)>,
}

impl<'a> Planner<'_, 'a> {
    fn virtualenv(&mut self, virtualenv: &Virtualenv) -> Result<(), InstallError> {
        self.plan.directories.insert("venv".to_owned());
        for directory in &virtualenv.directories {
            let directory = SafePath::new(&format!("venv/{directory}"))?;
            self.directories_of(directory.as_str());
            self.plan.directories.insert(directory.as_str().to_owned());
        }
        for (link, target) in &virtualenv.links {
            let link = SafePath::new(&format!("venv/{link}"))?;
            self.claim("the virtualenv", link.as_str(), None)?;
            self.plan.links.push((link.as_str().to_owned(), target.clone()));
        }
        for file in &virtualenv.files {
            let path = SafePath::new(&format!("venv/{}", file.path))?.as_str().to_owned();
            self.bytes("the virtualenv", path, file.text.clone().into_bytes(), file.executable)?;
        }
        Ok(())
    }

    /// The site's code, static files, and 6: what goes to site-packages from the top of the artifact.
    fn members(&mut self, artifact: &'a VerifiedArtifact) -> Result<(), InstallError> {
        let manifest = artifact.manifest();
        let entries: HashMap<&str, &Entry> =
            artifact.archive().entries().iter().map(|entry| (entry.name.as_str(), entry)).collect();
        let code = format!("{}/", manifest.project.directory);
        let pack = self.packs.of(PROJECT_PACK)?;
        let compiled = modules(&pack);
        let mut sources = HashMap::with_capacity(compiled.len());
        for member in &manifest.members {
            let path = SafePath::new(&member.path)?;
            let entry = entries[member.path.as_str()];
            let path = match path.parent() {
                None if is_for_site_packages(path.name()) => {
                    format!("venv/{}/{path}", self.interpreter.site_packages)
                }
                Some(_) if member.path.starts_with(&code) || member.path.starts_with("static.in/") => {
                    path.as_str().to_owned()
                }
                _ => continue,
            };
            if member.kind == MemberKind::Link {
                self.project_link(artifact, entry, path)?;
                continue;
            }
            let contents = Contents::Member { entry, raw: artifact.archive().raw(entry) };
            let executable = member.kind == MemberKind::Executable;
            let timed = compiled.contains(member.path.as_str());
            if timed {
                sources.insert(member.path.as_str(), (path.clone(), member.size));
            }
            let sha256 = member.sha256;
            self.push("the artifact", PlannedFile { path, executable, timed, sha256, contents })?;
        }
        self.bytecode(pack.as_ref(), &sources)?;
        Ok(())
    }

    fn project_link(
        &mut self,
        artifact: &VerifiedArtifact,
        entry: &Entry,
        path: String,
    ) -> Result<(), InstallError> {
        const LONGEST_TARGET: u64 = 4096;
        let unpack = |source| InstallError::Unpack { path: path.clone().into(), source };
        let target = artifact.archive().read(entry, LONGEST_TARGET).map_err(unpack)?;
        let target = String::from_utf8_lossy(&target).into_owned();
        let unsafe_link = |reason| wheelbarrow_fs::UnsafePath { path: format!("{path} -> {target}"), reason };
        if !stays_inside(&path, &target) {
            return Err(unsafe_link("the link leads out of the project").into());
        }
        self.claim("the artifact", &path, None)?;
        self.plan.links.push((path, target));
        Ok(())
    }

    fn bytes(
        &mut self,
        owner: &str,
        path: String,
        contents: Vec<u8>,
        executable: bool,
    ) -> Result<(), InstallError> {
        let sha256 = Sha256::of(&contents);
        self.push(
            owner,
            PlannedFile { path, executable, timed: false, sha256, contents: Contents::Bytes(contents) },
        )
    }

    /// Adds a file, unless the very same is there already.
    fn push(&mut self, owner: &str, file: PlannedFile<'a>) -> Result<(), InstallError> {
        if self.claim(owner, &file.path, Some(file.sha256))? {
            self.plan.files.push(file);
        }
        Ok(())
    }

    /// Says who writes a path; false when somebody already writes the very same there.
    fn claim(&mut self, owner: &str, path: &str, sha256: Option<Sha256>) -> Result<bool, InstallError> {
        if let Some((first, first_sha256)) = self.owners.get(path) {
            if sha256.is_some() && *first_sha256 == sha256 {
                return Ok(false);
            }
            let (first, second) = (first.clone(), owner.to_owned());
            return Err(InstallError::Collision { path: path.to_owned(), first, second });
        }
        self.owners.insert(path.to_owned(), (owner.to_owned(), sha256));
        self.directories_of(path);
        Ok(true)
    }

    /// What is a file or a link for one cannot be a directory for another.
    fn refuse_files_as_directories(&self) -> Result<(), InstallError> {
        let taken = self.owners.iter().filter(|(path, _)| self.plan.directories.contains(*path));
        let Some((path, (first, _))) = taken.min_by_key(|(path, _)| *path) else { return Ok(()) };
        let inside = format!("{path}/");
        let below = self
            .owners
            .iter()
            .filter(|(other, _)| other.starts_with(&inside))
            .min_by_key(|(other, _)| *other);
        let second = below.map_or_else(|| "the virtualenv".to_owned(), |(_, (owner, _))| owner.clone());
        Err(InstallError::Collision { path: path.clone(), first: first.clone(), second })
    }

    /// Every directory above a path.
    fn directories_of(&mut self, path: &str) {
        let mut rest = path;
        while let Some((parent, _)) = rest.rsplit_once('/') {
            if !self.plan.directories.insert(parent.to_owned()) {
                break;
            }
            rest = parent;
        }
    }
}

impl Plan<'_> {
    /// What the file system will take, files rounded up to blocks of `block` bytes.
    pub(crate) fn bytes_on_disk(&self, block: u64) -> u64 {
        let files = self.files.iter().map(|file| file.contents.size().next_multiple_of(block)).sum::<u64>();
        let parts = self.parts().map(|part| ((part.length + PYC_HEADER) as u64).next_multiple_of(block));
        files + parts.sum::<u64>() + block * self.directories.len() as u64
    }

    pub(crate) fn inodes(&self) -> u64 {
        (self.files.len() + self.parts().count() + self.directories.len() + self.links.len()) as u64 + 1
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
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Member { entry, .. } => entry.size,
        }
    }
}

fn is_for_site_packages(name: &str) -> bool {
    name != "__main__.py" && [".py", ".pth", ".start"].iter().any(|suffix| name.ends_with(suffix))
}

/// Whether a link at `path` to `target` leads to something below the first part of `path`.
fn stays_inside(path: &str, target: &str) -> bool {
    let mut depth = path.split('/').count() as i64 - 2;
    !target.starts_with('/')
        && target.split('/').all(|part| {
            depth += match part {
                "" | "." => 0,
                ".." => -1,
                _ => 1,
            };
            depth >= 0
        })
}
