//! Plans wheels in the store: as wheels in the artifact, but linked.

use std::borrow::Cow;
use std::collections::HashSet;

use wheelbarrow_artifact::bytecode::pyc_path;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::wheel::WheelError;
use wheelbarrow_wheel::entry_points;
use wheelbarrow_wheel::filename::WheelFilename;
use wheelbarrow_wheel::layout::{steering, steers_python};
use wheelbarrow_wheel::record::{self, RecordRow};
use wheelbarrow_wheel::script;

use super::context::Planner;
use super::part::PlanPart;
use super::wheel::Distribution;
use crate::InstallError;
use crate::plan::LinkedDirectory;
use crate::store::{Entry, FileKind, IndexFile, Kind, Store, StoredWheel};

impl<'a> Planner<'_, 'a> {
    /// 1 to 5, for a wheel in the store.
    pub(super) fn stored(
        &self,
        store: &Store,
        stored: &'a StoredWheel<'a>,
    ) -> Result<PlanPart<'a>, InstallError> {
        let filename = stored.wanted.path.rsplit('/').next().unwrap_or_default();
        let rules = |source| WheelError::Rules { wheel: filename.to_owned(), source };
        let wheel = WheelFilename::parse(filename).map_err(rules)?;
        let mut part = PlanPart::new(wheel.to_string());
        part.linked = self.directories(&stored.wheel, &wheel.distribution);
        let mut lost = self.remove_lost(&stored.wanted.path, &mut part.linked);
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
            lost.extend(remove_links(&mut compiled, |path| made.contains(path)));
            for directory in compiled.iter().filter(|directory| !is_in_site_packages(directory)) {
                let paths = directory.paths().map(|(path, _)| self.relative_to_site_packages(&path));
                rows.extend(paths.map(|path| RecordRow { path, hash: None, size: None }));
            }
            part.linked.extend(compiled);
        }
        let Kind::Wheel { dist_info, entry_points, .. } = &stored.wheel.index.header.kind else {
            return Err(store.altered(&stored.wheel, "its index is not the index of a wheel"));
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
    fn remove_lost(&self, wheel: &str, linked: &mut [LinkedDirectory<'_>]) -> HashSet<String> {
        if self.winners.is_empty() {
            return HashSet::new();
        }
        remove_links(linked, |path| self.loses(wheel, path))
    }

    /// The rows of what goes elsewhere, and the scripts that get another first line.
    fn outside_site_packages(
        &self,
        store: &Store,
        part: &mut PlanPart<'a>,
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
            for (path, file) in directory.paths() {
                // An older version may have unpacked it.
                if steers_python(path.strip_prefix("venv/").unwrap_or(&path)) {
                    let (wheel, source) = (part.owner.clone(), steering(&path));
                    return Err(WheelError::Rules { wheel, source }.into());
                }
                rows.push(self.row(&path, file.sha256, file.size));
            }
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

/// Takes files out of `linked`; gives their paths.
fn remove_links(linked: &mut [LinkedDirectory<'_>], is_taken: impl Fn(&str) -> bool) -> HashSet<String> {
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
