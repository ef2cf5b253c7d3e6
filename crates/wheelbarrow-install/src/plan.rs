//! What an install will write, as plain data: nothing here touches the file system.
//!
//! Paths are relative to the destination. The specification is `docs/format.md`, "What an install leaves"; the numbers
//! in comments are its own.

use std::collections::{BTreeSet, HashMap, HashSet};

use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::bytecode::{PROJECT_PACK, PYC_HEADER, Pack, pack_path, pyc_path};
use wheelbarrow_artifact::interpreter::{Interpreter, Virtualenv};
use wheelbarrow_artifact::manifest::{self, MANIFEST_PATH, MemberKind, Sha256, Target};
use wheelbarrow_artifact::wheel::{OpenWheel, WheelError, WheelFile};
use wheelbarrow_artifact::zip::{BUFFERED_LIMIT, Entry, Inflater};
use wheelbarrow_fs::SafePath;
use wheelbarrow_wheel::entry_points::EntryPoint;
use wheelbarrow_wheel::layout::Destination;
use wheelbarrow_wheel::record::{self, RecordRow};
use wheelbarrow_wheel::script;

use crate::receipt::{RECEIPT_PATH, receipt};
use crate::{InstallError, Options, Pip};

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

/// A wheel of the target.
pub(crate) struct TargetWheel<'a> {
    manifest: &'a manifest::Wheel,
    wheel: OpenWheel<'a>,
    is_pip: bool,
}

/// Reads the directories of the wheels that will be installed.
pub(crate) fn open_wheels<'a>(
    artifact: &'a VerifiedArtifact,
    target: &'a Target,
    pip: Pip,
) -> Result<Vec<TargetWheel<'a>>, InstallError> {
    let by_path = artifact.manifest().wheels_by_path();
    let entries: HashMap<&str, &Entry> =
        artifact.archive().entries().iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let pip = (pip == Pip::With).then_some(&target.pip);
    let mut wheels = Vec::with_capacity(target.wheels.len() + 1);
    for path in target.wheels.iter().chain(pip) {
        let filename = path.rsplit('/').next().unwrap_or(path);
        // The reader of the manifest has seen that both are there.
        let wheel = OpenWheel::open(filename, artifact.archive().raw(entries[path.as_str()]))?;
        wheels.push(TargetWheel { manifest: by_path[path.as_str()], wheel, is_pip: *path == target.pip });
    }
    Ok(wheels)
}

/// The bytecode of the artifact that the interpreter can use.
#[derive(Default)]
struct Packs<'a> {
    /// By the path of the member.
    members: HashMap<&'a str, &'a [u8]>,
    cache_tag: String,
    magic: [u8; 4],
}

impl<'a> Packs<'a> {
    fn find(artifact: &'a VerifiedArtifact, target: &Target, interpreter: &Interpreter) -> Self {
        let usable = |bytecode: &&manifest::Bytecode| {
            bytecode.magic == interpreter.magic && bytecode.cache_tag == interpreter.cache_tag
        };
        let magic = data_encoding::HEXLOWER.decode(interpreter.magic.as_bytes()).ok();
        let magic = magic.and_then(|magic| <[u8; 4]>::try_from(magic).ok());
        let (Some(bytecode), Some(magic)) = (target.bytecode.as_ref().filter(usable), magic) else {
            return Self::default();
        };
        let prefix = pack_path(&bytecode.cache_tag, "").trim_end_matches(".pack").to_owned();
        let entries = artifact.archive().entries().iter();
        let members = entries
            .filter(|entry| entry.name.starts_with(&prefix))
            .map(|entry| (entry.name.as_str(), artifact.archive().raw(entry)))
            .collect();
        Self { members, cache_tag: bytecode.cache_tag.clone(), magic }
    }

    /// The pack of a wheel, by its file name, or of the project.
    fn of(&self, name: &str) -> Result<Option<Pack<'a>>, InstallError> {
        let path = pack_path(&self.cache_tag, name);
        let Some(bytes) = self.members.get(path.as_str()) else { return Ok(None) };
        let pack = Pack::open(bytes);
        pack.map(Some)
            .map_err(|source| InstallError::Bytecode { path: path.into(), source: Box::new(source) })
    }
}

/// The modules in a pack.
fn modules<'p>(pack: &'p Option<Pack<'_>>) -> HashSet<&'p str> {
    let frames = pack.iter().flat_map(|pack| &pack.frames);
    frames.flat_map(|frame| frame.files.iter().map(|(path, _)| path.as_str())).collect()
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
    let receipt = receipt(artifact, target, interpreter, options.pip).map_err(std::io::Error::from);
    let receipt = receipt.map_err(InstallError::io("write", RECEIPT_PATH.as_ref()))?;
    planner.bytes("the receipt", RECEIPT_PATH.to_owned(), receipt, false)?;
    planner.bytes("the manifest", MANIFEST_PATH.to_owned(), artifact.manifest_bytes().to_vec(), false)?;
    planner.refuse_files_as_directories()?;
    Ok(planner.plan)
}

/// Where a file of a wheel goes, and whether it needs [`Plan::time`].
struct PlacedFile {
    path: String,
    timed: bool,
}

struct Planner<'p, 'a> {
    /// The virtualenv's Python, absolute.
    python: String,
    interpreter: &'p Interpreter,
    packs: Packs<'a>,
    plan: Plan<'a>,
    /// Who writes a path, and what, where that is known.
    owners: HashMap<String, (String, Option<String>)>,
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

    /// 1 to 5.
    fn wheel(&mut self, target_wheel: &'a TargetWheel<'a>) -> Result<(), InstallError> {
        let wheel = &target_wheel.wheel;
        let name = wheel.filename().to_string();
        let recorded: HashMap<String, RecordRow> =
            wheel.record()?.into_iter().map(|row| (row.path.clone(), row)).collect();
        let pack = self.packs.of(&name)?;
        let compiled = modules(&pack);
        let mut sources = HashMap::with_capacity(compiled.len());
        let mut rows = Vec::with_capacity(wheel.files().len() + compiled.len() + 4);
        for file in wheel.files() {
            let path = self.path_of(&file.destination, wheel);
            let entry = wheel.entry(file);
            let timed = compiled.contains(entry.name.as_str());
            if timed {
                sources.insert(entry.name.as_str(), (path.clone(), entry.size));
            }
            let row = self.wheel_file(&name, wheel, file, PlacedFile { path, timed }, &recorded)?;
            rows.push(row);
        }
        for path in self.bytecode(pack.as_ref(), &sources)? {
            rows.push(RecordRow { path: self.relative_to_site_packages(&path), hash: None, size: None });
        }
        let generated = self.scripts(target_wheel).into_iter().chain(self.metadata(target_wheel)?);
        for (path, contents, executable) in generated.collect::<Vec<_>>() {
            rows.push(self.row(&path, &Sha256::of(&contents).to_record(), contents.len() as u64));
            self.bytes(&name, path, contents, executable)?;
        }
        let record_path = format!("venv/{}/{}/RECORD", self.interpreter.site_packages, wheel.dist_info());
        rows.push(RecordRow { path: self.relative_to_site_packages(&record_path), hash: None, size: None });
        self.bytes(&name, record_path, record::write(rows).into_bytes(), false)
    }

    fn wheel_file(
        &mut self,
        name: &str,
        wheel: &'a OpenWheel<'a>,
        file: &WheelFile,
        PlacedFile { path, timed }: PlacedFile,
        recorded: &HashMap<String, RecordRow>,
    ) -> Result<RecordRow, InstallError> {
        let entry = wheel.entry(file);
        let unpack = |source| WheelError::Zip { wheel: name.to_owned(), source };
        if matches!(file.destination, Destination::Scripts(_)) && entry.size <= BUFFERED_LIMIT {
            let contents = wheel.archive().read(entry, BUFFERED_LIMIT).map_err(unpack)?;
            if let Some(rewritten) = script::rewrite_shebang(&contents, &self.python) {
                let row = self.row(&path, &Sha256::of(&rewritten).to_record(), rewritten.len() as u64);
                self.bytes(name, path, rewritten, true)?;
                return Ok(row);
            }
        }
        // The builder has compared RECORD with the contents, and the contents with the manifest's hash of the wheel.
        let known = recorded.get(&entry.name).and_then(|row| row.hash.as_ref());
        let hash = match known {
            Some((algorithm, digest)) if algorithm == "sha256" => format!("sha256={digest}"),
            _ => {
                use sha2::Digest;
                let mut hash = sha2::Sha256::new();
                let raw = wheel.archive().raw(entry);
                Inflater::new().read(entry, raw, &mut |bytes| hash.update(bytes)).map_err(unpack)?;
                Sha256(hash.finalize().into()).to_record()
            }
        };
        let row = self.row(&path, &hash, entry.size);
        if self.claim(name, &path, Some(&hash))? {
            let contents = Contents::Member { entry, raw: wheel.archive().raw(entry) };
            self.plan.files.push(PlannedFile { path, executable: file.executable, timed, contents });
        }
        Ok(row)
    }

    /// Plans the frames of a pack; gives the files that they make. `sources` has the path and size of each module.
    fn bytecode(
        &mut self,
        pack: Option<&Pack<'a>>,
        sources: &HashMap<&str, (String, u64)>,
    ) -> Result<Vec<String>, InstallError> {
        let mut made = Vec::new();
        let Some(pack) = pack else { return Ok(made) };
        for frame in &pack.frames {
            let mut parts = Vec::with_capacity(frame.files.len());
            for (module, length) in &frame.files {
                let place = sources
                    .get(module.as_str())
                    .map(|(path, size)| (pyc_path(path, &self.packs.cache_tag), *size));
                // A wheel may bring a __pycache__ of its own.
                let place = place.filter(|(path, _)| !self.owners.contains_key(path));
                if let Some((path, _)) = &place {
                    self.claim("its bytecode", path, None)?;
                    made.push(path.clone());
                }
                parts.push(FramePart { place, length: *length });
            }
            let (raw, magic) = (pack.raw(frame), self.packs.magic);
            self.plan.frames.push(PlannedFrame { raw, size: frame.size, magic, parts });
        }
        Ok(made)
    }

    /// 4: the scripts of the entry points.
    fn scripts(&self, target_wheel: &TargetWheel<'_>) -> Vec<(String, Vec<u8>, bool)> {
        let entry_points = target_wheel.wheel.entry_points();
        let mut entries: Vec<EntryPoint> = entry_points.iter().cloned().collect();
        if let Some(first) = entries.first().filter(|_| target_wheel.is_pip).cloned() {
            let names = script::console_names_for_pip(self.interpreter.version[1]);
            entries = names.into_iter().map(|name| EntryPoint { name, ..first.clone() }).collect();
        }
        let script = |entry: &EntryPoint| {
            let text = script::entry_point_script(&self.python, entry);
            (format!("venv/bin/{}", entry.name), text.into_bytes(), true)
        };
        entries.iter().map(script).collect()
    }

    /// 5: what an installer adds to the `.dist-info` directory.
    fn metadata(&self, target_wheel: &TargetWheel<'_>) -> Result<Vec<(String, Vec<u8>, bool)>, InstallError> {
        let dist_info = format!("venv/{}/{}", self.interpreter.site_packages, target_wheel.wheel.dist_info());
        let mut files = vec![(format!("{dist_info}/INSTALLER"), b"wheelbarrow\n".to_vec(), false)];
        if !target_wheel.is_pip {
            files.push((format!("{dist_info}/REQUESTED"), Vec::new(), false));
        }
        if let Some(direct_url) = &target_wheel.manifest.direct_url {
            // Keys come out sorted: serde_json keeps its objects in a BTreeMap.
            let text = serde_json::to_vec(direct_url).map_err(std::io::Error::from);
            let text = text.map_err(InstallError::io("write", "direct_url.json".as_ref()))?;
            files.push((format!("{dist_info}/direct_url.json"), text, false));
        }
        Ok(files)
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
            if self.claim("the artifact", &path, None)? {
                let contents = Contents::Member { entry, raw: artifact.archive().raw(entry) };
                let executable = member.kind == MemberKind::Executable;
                let timed = compiled.contains(member.path.as_str());
                if timed {
                    sources.insert(member.path.as_str(), (path.clone(), member.size));
                }
                self.plan.files.push(PlannedFile { path, executable, timed, contents });
            }
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

    /// Where a file of a wheel goes.
    fn path_of(&self, destination: &Destination, wheel: &OpenWheel<'_>) -> String {
        match destination {
            Destination::SitePackages(path) => format!("venv/{}/{path}", self.interpreter.site_packages),
            Destination::Scripts(path) => format!("venv/bin/{path}"),
            // lib64 is a link to lib: a file has one path, or two wheels could write it unseen.
            Destination::Data(path) => match path.strip_prefix("lib64/").filter(|_| self.has_lib64_link()) {
                Some(below) => format!("venv/lib/{below}"),
                None => format!("venv/{path}"),
            },
            Destination::Headers(path) => {
                format!("venv/{}/{}/{path}", self.interpreter.headers, wheel.filename().distribution)
            }
        }
    }

    fn has_lib64_link(&self) -> bool {
        self.plan.links.iter().any(|(link, target)| link == "venv/lib64" && target == "lib")
    }

    fn row(&self, path: &str, hash: &str, size: u64) -> RecordRow {
        let (algorithm, digest) = hash.split_once('=').unwrap_or(("sha256", ""));
        RecordRow {
            path: self.relative_to_site_packages(path),
            hash: Some((algorithm.to_owned(), digest.to_owned())),
            size: Some(size),
        }
    }

    fn relative_to_site_packages(&self, path: &str) -> String {
        let site_packages = format!("venv/{}/", self.interpreter.site_packages);
        if let Some(inside) = path.strip_prefix(&site_packages) {
            return inside.to_owned();
        }
        // site-packages is lib/pythonX.Y/site-packages: three up from it is the virtualenv.
        let up = "../".repeat(self.interpreter.site_packages.split('/').count());
        format!("{up}{}", path.strip_prefix("venv/").unwrap_or(path))
    }

    fn bytes(
        &mut self,
        owner: &str,
        path: String,
        contents: Vec<u8>,
        executable: bool,
    ) -> Result<(), InstallError> {
        let hash = Sha256::of(&contents).to_record();
        if self.claim(owner, &path, Some(&hash))? {
            self.plan.files.push(PlannedFile {
                path,
                executable,
                timed: false,
                contents: Contents::Bytes(contents),
            });
        }
        Ok(())
    }

    /// Says who writes a path; false when somebody already writes the very same there.
    fn claim(&mut self, owner: &str, path: &str, hash: Option<&str>) -> Result<bool, InstallError> {
        if let Some((first, first_hash)) = self.owners.get(path) {
            if hash.is_some() && first_hash.as_deref() == hash {
                return Ok(false);
            }
            let (first, second) = (first.clone(), owner.to_owned());
            return Err(InstallError::Collision { path: path.to_owned(), first, second });
        }
        self.owners.insert(path.to_owned(), (owner.to_owned(), hash.map(str::to_owned)));
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
