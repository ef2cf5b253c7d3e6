//! What wheels in the store become: the same as wheels in the artifact, but linked.
//!
//! An entry has no two files in one place, so only directories that several parts write to can hold what is in another's
//! way. Their files are claimed one by one, like all others; the rest is linked by directories.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use wheelbarrow_artifact::bytecode::pyc_path;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::wheel::WheelError;
use wheelbarrow_wheel::entry_points;
use wheelbarrow_wheel::filename::WheelFilename;
use wheelbarrow_wheel::record::{self, RecordRow};
use wheelbarrow_wheel::script;

use super::wheel::Distribution;
use super::{Contents, Part, Plan, PlannedFile, Planner};
use crate::InstallError;
use crate::store::{Entry, FileKind, IndexFile, Kind, Store, StoredWheel};

/// Files of one directory in the store, and where they go.
pub(crate) struct LinkedDirectory<'a> {
    pub entry: &'a Entry,
    /// In the index.
    pub source: &'a str,
    pub target: String,
    pub files: Cow<'a, [IndexFile]>,
}

/// A file in the store.
pub(crate) struct LinkedFile<'a> {
    pub entry: &'a Entry,
    /// Its directory in the index.
    pub source: &'a str,
    pub file: IndexFile,
}

impl<'a> Planner<'_, 'a> {
    /// 1 to 5, for a wheel in the store.
    pub(super) fn stored(
        &self,
        store: &Store,
        stored: &'a StoredWheel<'a>,
    ) -> Result<Part<'a>, InstallError> {
        let filename = stored.wanted.path.rsplit('/').next().unwrap_or_default();
        let rules = |source| WheelError::Rules { wheel: filename.to_owned(), source };
        let wheel = WheelFilename::parse(filename).map_err(rules)?;
        let mut part = Part::new(wheel.to_string());
        part.linked = self.directories(&stored.wheel, &wheel.distribution);
        let mut lost = self.take_lost(&stored.wanted.path, &mut part.linked);
        let mut rows = Vec::new();
        let has_bytecode = !stored.wanted.is_pip;
        let modules = part.linked.iter().filter(|directory| has_bytecode && is_in_site_packages(directory));
        let modules = modules.flat_map(LinkedDirectory::paths).map(|(path, file)| (path, file.size));
        let modules = modules.filter(|(path, size)| self.compiles(path, *size)).collect();
        let compiled = self.modules(&mut part, modules);
        let compiled = compiled.iter().map(|path| self.relative_to_site_packages(path));
        rows.extend(compiled.map(|path| RecordRow { path, hash: None, size: None }));
        self.outside_site_packages(store, &mut part, &mut rows)?;
        let mut recorded = Cow::Borrowed(stored.wheel.index.record());
        if let Some(bytecode) = &stored.bytecode {
            recorded = Cow::Borrowed(bytecode.index.record());
            let mut compiled = self.directories(bytecode, &wheel.distribution);
            let made: HashSet<String> =
                lost.iter().map(|path| pyc_path(path, &self.interpreter.cache_tag)).collect();
            lost.extend(take(&mut compiled, |path| made.contains(path)));
            for directory in compiled.iter().filter(|directory| !is_in_site_packages(directory)) {
                let paths = directory.paths().map(|(path, _)| self.relative_to_site_packages(&path));
                rows.extend(paths.map(|path| RecordRow { path, hash: None, size: None }));
            }
            part.linked.extend(compiled);
        }
        let Kind::Wheel { dist_info, entry_points, .. } = &stored.wheel.index.header.kind else {
            return Err(store.altered(&stored.wheel, "its index is not that of a wheel"));
        };
        let entry_points = entry_points::parse(entry_points.as_deref().unwrap_or_default()).map_err(rules)?;
        let generated = self.generated(&Distribution {
            manifest: &stored.wanted.manifest,
            dist_info,
            entry_points: &entry_points,
            is_pip: stored.wanted.is_pip,
        })?;
        for (path, contents, executable) in generated {
            rows.push(self.row(&path, Sha256::of(&contents), contents.len() as u64));
            part.bytes(path, contents, executable);
        }
        let record_path = format!("venv/{}/{dist_info}/RECORD", self.interpreter.site_packages);
        rows.push(RecordRow { path: self.relative_to_site_packages(&record_path), hash: None, size: None });
        if !lost.is_empty() {
            let lost: HashSet<_> = lost.iter().map(|path| self.relative_to_site_packages(path)).collect();
            let rows = record::parse(recorded.as_bytes()).map_err(rules)?;
            recorded = Cow::Owned(record::write(rows.into_iter().filter(|row| !lost.contains(&row.path))));
        }
        let text = record::insert(&recorded, rows).map_err(rules)?;
        part.bytes(record_path, text.into_bytes(), false);
        Ok(part)
    }

    /// Takes out the files whose paths another wheel wins; gives their paths.
    fn take_lost(&self, wheel: &str, linked: &mut [LinkedDirectory<'_>]) -> HashSet<String> {
        if self.winners.is_empty() {
            return HashSet::new();
        }
        take(linked, |path| self.loses(wheel, path))
    }

    /// The rows of what goes elsewhere, and the scripts that get another first line.
    fn outside_site_packages(
        &self,
        store: &Store,
        part: &mut Part<'a>,
        rows: &mut Vec<RecordRow>,
    ) -> Result<(), InstallError> {
        let mut scripts = Vec::new();
        for directory in part.linked.iter_mut().filter(|directory| !is_in_site_packages(directory)) {
            if directory.files.iter().any(|file| file.kind == FileKind::Script) {
                let (own, linked): (Vec<_>, Vec<_>) =
                    directory.files.iter().cloned().partition(|file| file.kind == FileKind::Script);
                for file in own {
                    let path = format!("{}/{}", directory.target, directory.entry.index.name(&file));
                    let contents = store.read(directory.entry, directory.source, &file)?;
                    let contents = script::rewrite_shebang(&contents, &self.python).unwrap_or(contents);
                    rows.push(self.row(&path, Sha256::of(&contents), contents.len() as u64));
                    scripts.push((path, contents));
                }
                directory.files = Cow::Owned(linked);
            }
            rows.extend(directory.paths().map(|(path, file)| self.row(&path, file.sha256, file.size)));
        }
        for (path, contents) in scripts {
            part.bytes(path, contents, true);
        }
        Ok(())
    }

    /// Every directory of an entry, and where it goes.
    fn directories(&self, entry: &'a Entry, distribution: &str) -> Vec<LinkedDirectory<'a>> {
        let index = &entry.index;
        let mut linked = Vec::with_capacity(index.directories.len());
        for directory in &index.directories {
            let source = index.path(directory);
            let (scheme, below) = source.split_once('/').unwrap_or((source, ""));
            // lib64 is a link to lib: a file has one path, or two wheels could write it unseen.
            let lib64 = below.strip_prefix("lib64").filter(|rest| rest.is_empty() || rest.starts_with('/'));
            let below = match lib64.filter(|_| scheme == "data" && self.has_lib64_link) {
                Some(rest) => Cow::Owned(format!("lib{rest}")),
                None => Cow::Borrowed(below),
            };
            let top = match scheme {
                "site-packages" => ["venv/", &self.interpreter.site_packages].concat(),
                "scripts" => "venv/bin".to_owned(),
                "headers" => format!("venv/{}/{distribution}", self.interpreter.headers),
                _ => "venv".to_owned(),
            };
            let target = if below.is_empty() { top } else { [&top, "/", &below].concat() };
            linked.push(LinkedDirectory {
                entry,
                source,
                target,
                files: Cow::Borrowed(index.files(directory)),
            });
        }
        linked
    }
}

impl LinkedDirectory<'_> {
    pub(super) fn paths(&self) -> impl Iterator<Item = (String, &IndexFile)> {
        let index = &self.entry.index;
        self.files.iter().map(|file| ([&self.target, "/", index.name(file)].concat(), file))
    }

    pub(crate) fn is_bytecode(&self) -> bool {
        matches!(self.entry.index.header.kind, Kind::Bytecode { .. })
    }
}

/// Takes files out of `linked`; gives their paths.
fn take(linked: &mut [LinkedDirectory<'_>], is_taken: impl Fn(&str) -> bool) -> HashSet<String> {
    let mut taken = HashSet::new();
    for directory in linked {
        let paths: HashSet<String> =
            directory.paths().map(|(path, _)| path).filter(|path| is_taken(path)).collect();
        if !paths.is_empty() {
            let (target, index) = (&directory.target, &directory.entry.index);
            let is_left = |file: &IndexFile| !paths.contains(&format!("{target}/{}", index.name(file)));
            directory.files =
                Cow::Owned(directory.files.iter().filter(|file| is_left(file)).cloned().collect());
            taken.extend(paths);
        }
    }
    taken
}

fn is_in_site_packages(directory: &LinkedDirectory<'_>) -> bool {
    directory.source.split('/').next() == Some("site-packages")
}

/// Makes the files of directories that several parts write to files of their parts, so that they are claimed.
pub(super) fn share(parts: &mut [Part<'_>]) {
    let shared = shared_directories(parts);
    let mut compiled: HashSet<String> = HashSet::new();
    for part in parts.iter_mut() {
        let Border { inside, at } = Border::of(&part.linked, &shared);
        // Somebody else may have a file there.
        let known = inside.iter().chain(&at).map(|&place| part.linked[place].target.clone());
        part.directories.extend(known);
        for place in inside {
            let directory = &mut part.linked[place];
            if directory.is_bytecode() {
                continue;
            }
            let index = &directory.entry.index;
            for file in std::mem::take(&mut directory.files).into_owned() {
                let path = format!("{}/{}", directory.target, index.name(&file));
                if path.ends_with(".pyc") {
                    compiled.insert(path.clone());
                }
                let (sha256, executable) = (file.sha256, file.kind != FileKind::Plain);
                let linked = LinkedFile { entry: directory.entry, source: directory.source, file };
                let contents = Contents::Stored(linked);
                part.files.push(PlannedFile { path, executable, timed: false, sha256, contents });
            }
        }
    }
    // Bytecode that is in a wheel, or comes with a source that two wheels have alike, is there already.
    for part in parts.iter_mut() {
        for place in Border::of(&part.linked, &shared).inside {
            let directory = &mut part.linked[place];
            if directory.is_bytecode() {
                let index = &directory.entry.index;
                let place = |file: &IndexFile| format!("{}/{}", directory.target, index.name(file));
                let fresh = directory.files.iter().filter(|file| compiled.insert(place(file)));
                directory.files = Cow::Owned(fresh.cloned().collect());
            }
        }
    }
}

/// The directories of a part that are shared, and the outermost that are not: below those, none is. By their places.
struct Border {
    inside: Vec<usize>,
    at: Vec<usize>,
}

impl Border {
    /// Parents stand before what is in them.
    fn of(linked: &[LinkedDirectory<'_>], shared: &HashSet<String>) -> Self {
        let mut border = Self { inside: Vec::new(), at: Vec::new() };
        let mut outermost: Option<&str> = None;
        for (place, LinkedDirectory { target, .. }) in linked.iter().enumerate() {
            let below = outermost.and_then(|outermost| target.strip_prefix(outermost));
            if below.is_some_and(|below| below.starts_with('/')) {
                continue;
            }
            if shared.contains(target) {
                border.inside.push(place);
            } else {
                border.at.push(place);
                outermost = Some(target);
            }
        }
        border
    }
}

/// Those that more than one part has, or that something else is in.
fn shared_directories(parts: &[Part<'_>]) -> HashSet<String> {
    let mut shared = HashSet::new();
    let planned = planned_directories(parts);
    loop {
        let mut owners: HashMap<&str, usize> = HashMap::new();
        let mut found = Vec::new();
        for (owner, part) in parts.iter().enumerate() {
            for place in Border::of(&part.linked, &shared).at {
                let target = part.linked[place].target.as_str();
                if planned.contains(target) || *owners.entry(target).or_insert(owner) != owner {
                    found.push(target.to_owned());
                }
            }
        }
        if found.is_empty() {
            return shared;
        }
        shared.extend(found);
    }
}

/// Every directory that something other than a store's file is in.
fn planned_directories<'p>(parts: &'p [Part<'_>]) -> HashSet<&'p str> {
    let mut planned: HashSet<&str> = HashSet::new();
    if parts.iter().all(|part| part.linked.is_empty()) {
        return planned;
    }
    for part in parts {
        let paths = part.files.iter().map(|file| file.path.as_str());
        let paths = paths.chain(part.links.iter().map(|(link, _)| link.as_str()));
        // Headers have directories above them that no index names.
        let tops = part.linked.iter().filter(|directory| !directory.source.contains('/'));
        let paths = paths.chain(tops.map(|directory| directory.target.as_str()));
        let directories = paths.filter_map(|path| Some(path.rsplit_once('/')?.0));
        for directory in directories.chain(part.directories.iter().map(String::as_str)) {
            let mut above = Some(directory);
            while let Some(directory) = above.filter(|directory| planned.insert(directory)) {
                above = directory.rsplit_once('/').map(|(parent, _)| parent);
            }
        }
    }
    planned
}

/// The sums of the files that are linked, in no order.
pub(super) fn sums(linked: &[LinkedDirectory<'_>]) -> Vec<(String, Sha256)> {
    let own = linked.iter().filter(|directory| !directory.is_bytecode());
    own.flat_map(|directory| directory.paths().map(|(path, file)| (path, file.sha256))).collect()
}

/// Gives the claimed files of the store back to their directories.
pub(super) fn take_linked(plan: &mut Plan<'_>) {
    let files = std::mem::take(&mut plan.files);
    for planned in files {
        let Contents::Stored(LinkedFile { entry, source, file }) = planned.contents else {
            plan.files.push(planned);
            continue;
        };
        let target = planned.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        match plan.linked.last_mut() {
            Some(last) if std::ptr::eq(last.entry, entry) && last.source == source => {
                last.files.to_mut().push(file);
            }
            _ => plan.linked.push(LinkedDirectory {
                entry,
                source,
                target: target.to_owned(),
                files: Cow::Owned(vec![file]),
            }),
        }
    }
}
