//! What a wheel becomes: `docs/format.md`, "What an install leaves", 1 to 5.

use std::collections::HashMap;

use sha2::Digest;
use wheelbarrow_artifact::manifest::{self, Manifest, Sha256, Target};
use wheelbarrow_artifact::wheel::{OpenWheel, WheelError, WheelFile};
use wheelbarrow_artifact::zip::{BUFFERED_LIMIT, Entry, Inflater};
use wheelbarrow_artifact::{VerifiedArtifact, in_parallel};
use wheelbarrow_wheel::entry_points::{EntryPoint, EntryPoints};
use wheelbarrow_wheel::layout::Destination;
use wheelbarrow_wheel::record::{self, RecordRow};
use wheelbarrow_wheel::script;

use super::bytecode::modules;
use super::{Contents, Part, PlannedFile, Planner};
use crate::{InstallError, Pip};

/// A wheel of the target.
pub(crate) struct TargetWheel<'a> {
    manifest: &'a manifest::Wheel,
    wheel: OpenWheel<'a>,
    /// Whether it is the bundled pip, which gets no bytecode.
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
    let open = |path: &&'a str| {
        let filename = path.rsplit('/').next().unwrap_or(path);
        // The reader of the manifest has seen that both are there.
        let wheel = OpenWheel::open(filename, artifact.archive().raw(entries[path]))?;
        Ok(TargetWheel { manifest: by_path[path], wheel, is_pip: *path == target.pip })
    };
    in_parallel(&wheel_paths(artifact.manifest(), target, pip), open).into_iter().collect()
}

/// The wheels that are installed for a target, in order. A site that depends on pip brings its own.
pub(crate) fn wheel_paths<'m>(manifest: &Manifest, target: &'m Target, pip: Pip) -> Vec<&'m str> {
    let by_path = manifest.wheels_by_path();
    let has_own = target.wheels.iter().any(|path| by_path[path.as_str()].name == "pip");
    let pip = (pip == Pip::With && !has_own).then_some(&target.pip);
    target.wheels.iter().chain(pip).map(String::as_str).collect()
}

/// What a file of a wheel holds, by RECORD where that says it. Whether it is true shows when the file is written.
pub(crate) fn member_sha256(
    wheel: &OpenWheel<'_>,
    entry: &Entry,
    recorded: &HashMap<String, RecordRow>,
) -> Result<Sha256, WheelError> {
    let known = recorded.get(&entry.name).and_then(|row| row.hash.as_ref());
    if let Some((_, digest)) = known.filter(|(algorithm, _)| algorithm == "sha256") {
        return Sha256::from_record(digest).ok_or_else(|| untrue(wheel, entry));
    }
    contents_sha256(wheel, entry)
}

/// What a file of a wheel is found to hold.
fn contents_sha256(wheel: &OpenWheel<'_>, entry: &Entry) -> Result<Sha256, WheelError> {
    let mut hash = sha2::Sha256::new();
    let raw = wheel.archive().raw(entry);
    Inflater::new()
        .read(entry, raw, &mut |bytes| hash.update(bytes))
        .map_err(|source| WheelError::Zip { wheel: wheel.filename().to_string(), source })?;
    Ok(Sha256(hash.finalize().into()))
}

fn untrue(wheel: &OpenWheel<'_>, entry: &Entry) -> WheelError {
    let source =
        wheelbarrow_wheel::Error::Untrue { path: entry.name.clone(), what: "the file has another hash" };
    WheelError::Rules { wheel: wheel.filename().to_string(), source }
}

/// What of a wheel decides on the files that an installer writes for it.
pub(super) struct Distribution<'d> {
    pub manifest: &'d manifest::Wheel,
    pub dist_info: &'d str,
    pub entry_points: &'d EntryPoints,
    pub is_pip: bool,
}

/// Where a file of a wheel goes, and whether it needs [`Plan::time`].
struct PlacedFile {
    path: String,
    timed: bool,
}

impl<'a> Planner<'_, 'a> {
    /// 1 to 5.
    pub(super) fn wheel(&self, target_wheel: &'a TargetWheel<'a>) -> Result<Part<'a>, InstallError> {
        let wheel = &target_wheel.wheel;
        let mut part = Part::new(wheel.filename().to_string());
        let recorded = wheel.recorded()?;
        let pack = if target_wheel.is_pip { None } else { self.packs.of(&part.owner)? };
        let compiled = modules(&pack);
        let mut sources = HashMap::with_capacity(compiled.len());
        let mut to_compile = Vec::new();
        let mut rows = Vec::with_capacity(wheel.files().len() + compiled.len() + 4);
        part.files.reserve(wheel.files().len() + 4);
        for file in wheel.files() {
            let path = self.path_of(&file.destination, wheel);
            if self.loses(&target_wheel.manifest.path, &path) {
                continue;
            }
            let entry = wheel.entry(file);
            let is_module = matches!(file.destination, Destination::SitePackages(_));
            let compiles = is_module && !target_wheel.is_pip && self.compiles(&path, entry.size);
            if compiles {
                to_compile.push((path.clone(), entry.size));
            }
            let timed = compiles || compiled.contains(entry.name.as_str());
            if timed {
                sources.insert(entry.name.as_str(), (path.clone(), entry.size));
            }
            let planned = self.wheel_file(wheel, file, PlacedFile { path, timed }, &recorded)?;
            rows.push(self.row(&planned.path, planned.sha256, planned.contents.size()));
            part.files.push(planned);
        }
        let mut bytecode = self.bytecode(&mut part, pack.as_ref(), sources);
        bytecode.extend(self.modules(&mut part, to_compile));
        for path in bytecode {
            rows.push(RecordRow { path: self.relative_to_site_packages(&path), hash: None, size: None });
        }
        let distribution = Distribution {
            manifest: target_wheel.manifest,
            dist_info: wheel.dist_info(),
            entry_points: wheel.entry_points(),
            is_pip: target_wheel.is_pip,
        };
        for (path, contents, executable) in self.generated(&distribution)? {
            rows.push(self.row(&path, Sha256::of(&contents), contents.len() as u64));
            part.bytes(path, contents, executable);
        }
        let record_path = format!("venv/{}/{}/RECORD", self.interpreter.site_packages, wheel.dist_info());
        rows.push(RecordRow { path: self.relative_to_site_packages(&record_path), hash: None, size: None });
        part.bytes(record_path, record::write(rows).into_bytes(), false);
        self.artifact.was_read(wheel.archive().bytes().len());
        Ok(part)
    }

    fn wheel_file(
        &self,
        wheel: &'a OpenWheel<'a>,
        file: &WheelFile,
        PlacedFile { path, timed }: PlacedFile,
        recorded: &HashMap<String, RecordRow>,
    ) -> Result<PlannedFile<'a>, InstallError> {
        let entry = wheel.entry(file);
        let unpack = |source| WheelError::Zip { wheel: wheel.filename().to_string(), source };
        if matches!(file.destination, Destination::Scripts(_)) && entry.size <= BUFFERED_LIMIT {
            let contents = wheel.archive().read(entry, BUFFERED_LIMIT).map_err(unpack)?;
            if member_sha256(wheel, entry, recorded)? != Sha256::of(&contents) {
                return Err(untrue(wheel, entry).into());
            }
            if let Some(rewritten) = script::rewrite_shebang(&contents, &self.python) {
                return Ok(PlannedFile::of_bytes(path, rewritten, true));
            }
        }
        let sha256 = member_sha256(wheel, entry, recorded)?;
        let contents = Contents::Member { entry, raw: wheel.archive().raw(entry) };
        Ok(PlannedFile { path, executable: file.executable, timed, sha256, contents })
    }

    /// What an installer writes of its own: path, contents, and whether it is executable.
    pub(super) fn generated(
        &self,
        of: &Distribution<'_>,
    ) -> Result<Vec<(String, Vec<u8>, bool)>, InstallError> {
        let mut files = self.scripts(of);
        files.append(&mut self.metadata(of)?);
        files.retain(|(path, ..)| !self.loses(&of.manifest.path, path));
        Ok(files)
    }

    /// 4: the scripts of the entry points.
    fn scripts(&self, of: &Distribution<'_>) -> Vec<(String, Vec<u8>, bool)> {
        let entries: Vec<EntryPoint> = match of.is_pip {
            true => script::of_pip(of.entry_points, self.interpreter.version[1]).into(),
            false => of.entry_points.iter().cloned().collect(),
        };
        let script = |entry: &EntryPoint| {
            let text = script::entry_point_script(&self.python, entry);
            (format!("venv/bin/{}", entry.name), text, true)
        };
        entries.iter().map(script).collect()
    }

    /// 5: what an installer adds to the `.dist-info` directory.
    fn metadata(&self, of: &Distribution<'_>) -> Result<Vec<(String, Vec<u8>, bool)>, InstallError> {
        let dist_info = format!("venv/{}/{}", self.interpreter.site_packages, of.dist_info);
        let mut files = vec![(format!("{dist_info}/INSTALLER"), b"wheelbarrow\n".to_vec(), false)];
        if !of.is_pip {
            files.push((format!("{dist_info}/REQUESTED"), Vec::new(), false));
        }
        if let Some(direct_url) = &of.manifest.direct_url {
            // Keys come out sorted: serde_json keeps its objects in a BTreeMap.
            let text = serde_json::to_vec(direct_url).map_err(std::io::Error::from);
            let text = text.map_err(InstallError::io("write", "direct_url.json".as_ref()))?;
            files.push((format!("{dist_info}/direct_url.json"), text, false));
        }
        Ok(files)
    }

    /// Where a file of a wheel goes.
    fn path_of(&self, destination: &Destination, wheel: &OpenWheel<'_>) -> String {
        match destination {
            Destination::SitePackages(path) => format!("venv/{}/{path}", self.interpreter.site_packages),
            Destination::Scripts(path) => format!("venv/bin/{path}"),
            // lib64 is a link to lib: a file has one path, or two wheels could write it unseen.
            Destination::Data(path) => match path.strip_prefix("lib64/").filter(|_| self.has_lib64_link) {
                Some(below) => format!("venv/lib/{below}"),
                None => format!("venv/{path}"),
            },
            Destination::Headers(path) => {
                format!("venv/{}/{}/{path}", self.interpreter.headers, wheel.filename().distribution)
            }
        }
    }

    pub(super) fn row(&self, path: &str, sha256: Sha256, size: u64) -> RecordRow {
        let digest = sha256.to_record();
        let (algorithm, digest) = digest.split_once('=').unwrap_or(("sha256", ""));
        RecordRow {
            path: self.relative_to_site_packages(path),
            hash: Some((algorithm.to_owned(), digest.to_owned())),
            size: Some(size),
        }
    }

    pub(super) fn relative_to_site_packages(&self, path: &str) -> String {
        let site_packages = format!("venv/{}/", self.interpreter.site_packages);
        if let Some(inside) = path.strip_prefix(&site_packages) {
            return inside.to_owned();
        }
        // site-packages is lib/pythonX.Y/site-packages: three up from it is the virtualenv.
        let up = "../".repeat(self.interpreter.site_packages.split('/').count());
        format!("{up}{}", path.strip_prefix("venv/").unwrap_or(path))
    }
}
