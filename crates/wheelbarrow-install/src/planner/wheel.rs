//! Plans a wheel: `docs/reference/format.md`, "What an install leaves", 1 to 5.

use std::collections::HashMap;

use wheelbarrow_artifact::manifest::{self, Sha256};
use wheelbarrow_artifact::wheel::{OpenWheel, WheelError, WheelFile};
use wheelbarrow_artifact::zip::BUFFERED_LIMIT;
use wheelbarrow_wheel::entry_points::{EntryPoint, EntryPoints};
use wheelbarrow_wheel::layout::Destination;
use wheelbarrow_wheel::record::{self, RecordRow};
use wheelbarrow_wheel::script;

use super::context::Planner;
use super::packs::modules;
use super::part::PlanPart;
use super::wheels::TargetWheel;
use crate::InstallError;
use crate::member::{member_sha256, untrue};
use crate::plan::{Contents, PlannedFile};

/// What of a wheel decides on the files that an installer writes for it.
pub(super) struct Distribution<'d> {
    pub manifest: &'d manifest::Wheel,
    pub dist_info: &'d str,
    pub entry_points: &'d EntryPoints,
    pub is_pip: bool,
}

/// Where a file of a wheel goes, and whether it needs [`Plan::time`](crate::plan::Plan::time).
struct PlacedFile {
    path: String,
    timed: bool,
}

impl<'a> Planner<'_, 'a> {
    /// 1 to 5.
    pub(super) fn wheel(&self, target_wheel: &'a TargetWheel<'a>) -> Result<PlanPart<'a>, InstallError> {
        let wheel = &target_wheel.wheel;
        let mut part = PlanPart::new(wheel.filename().to_string());
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
}
