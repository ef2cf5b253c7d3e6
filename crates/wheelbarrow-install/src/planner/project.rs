//! Plans the site's code and static files, and the files at the top of the artifact that go to site-packages:
//! `docs/reference/format.md`, "What an install leaves", 6.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use wheelbarrow_artifact::bytecode::PROJECT_PACK;
use wheelbarrow_artifact::manifest::{INTERPRETER, MemberKind};
use wheelbarrow_artifact::rules::{self, Place};
use wheelbarrow_artifact::zip::Entry;
use wheelbarrow_base::SafePath;

use super::context::Planner;
use super::packs::modules;
use super::part::PlanPart;
use super::wheels::StoredProject;
use crate::InstallError;
use crate::plan::{Contents, LinkedDirectory, PlannedFile};
use crate::store;

const LOADENV_PTH: &str = "loadenv-init.pth";
/// Bytes; it is one line.
const LONGEST_PTH: u64 = 4096;

impl<'a> Planner<'_, 'a> {
    /// `stored` is what comes out of the store.
    pub(super) fn project(&self, stored: Option<StoredProject<'a>>) -> Result<PlanPart<'a>, InstallError> {
        let python = stored.and_then(|stored| stored.python);
        let mut part = PlanPart::new("the artifact");
        let manifest = self.artifact.manifest();
        let entries: HashMap<&str, &Entry> =
            self.artifact.archive().entries().iter().map(|entry| (entry.name.as_str(), entry)).collect();
        let pack = self.packs.of(PROJECT_PACK)?;
        let compiled = modules(&pack);
        let mut sources = HashMap::with_capacity(compiled.len());
        let mut to_compile = Vec::new();
        let of_python = |path: &str| {
            let top = path.split_once('/').map(|(top, _)| top);
            manifest.interpreter.is_some() && top == Some(INTERPRETER)
        };
        for member in &manifest.members {
            let is_linked = python.is_some() && member.kind != MemberKind::Link;
            if of_python(&member.path) && (is_linked || !self.brings_python) {
                continue;
            }
            let path = SafePath::new(&member.path)?;
            let path = match rules::place(&member.path, &manifest.project.directory) {
                Some(Place::SitePackages) => format!("venv/{}/{path}", self.interpreter.site_packages),
                Some(Place::Own) => path.into(),
                Some(Place::None) | None => continue,
            };
            let is_stored =
                |statics: &BTreeSet<_>| statics.contains(&member.sha256) && store::is_kept(manifest, member);
            if stored.is_some_and(|stored| is_stored(stored.statics)) {
                let (sha256, contents) = (member.sha256, Contents::Stored);
                part.files.push(PlannedFile { path, executable: false, timed: false, sha256, contents });
                continue;
            }
            // A release that is made again collects its static files again.
            let Some(&entry) = entries.get(member.path.as_str()) else { continue };
            if member.kind == MemberKind::Link {
                let target = self.project_link(entry, &path)?;
                part.links.push((path, target));
                continue;
            }
            let contents = Contents::Member { entry, raw: self.artifact.archive().raw(entry) };
            let executable = member.kind == MemberKind::Executable;
            let is_static = path.starts_with("static.in/") || manifest.project.is_collected(&path);
            let is_code = !is_static && !of_python(&path);
            let compiles = is_code && self.compiles(&path, member.size);
            if compiles {
                to_compile.push((path.clone(), member.size));
            }
            let timed = compiles || compiled.contains(member.path.as_str());
            if timed {
                sources.insert(member.path.as_str(), (path.clone(), member.size));
            }
            let sha256 = member.sha256;
            part.files.push(PlannedFile { path, executable, timed, sha256, contents });
        }
        part.linked = python.filter(|_| self.brings_python).map(directories_of_python).unwrap_or_default();
        self.bytecode(&mut part, pack.as_ref(), sources);
        self.modules(&mut part, to_compile);
        Ok(part)
    }

    /// `loadenv-init.pth` under a name that comes before those of all `.pth` files of wheels: Python reads them in that
    /// order, and what they import may look into the environment. None where its own name does.
    pub(super) fn first_pth(&self, parts: &[PlanPart<'_>]) -> Result<Option<PlannedFile<'a>>, InstallError> {
        let directory = format!("venv/{}/", self.interpreter.site_packages);
        let names = parts.iter().flat_map(|part| &part.files).filter_map(|file| {
            let name = file.path.strip_prefix(&directory)?;
            (name.ends_with(".pth") && !name.contains('/') && name != LOADENV_PTH).then_some(name)
        });
        let own = format!("{}.pth", self.artifact.manifest().project.directory);
        let Some(name) = names.filter(|name| *name != own).min().map(name_before) else { return Ok(None) };
        let Some(entry) = self.artifact.archive().find(LOADENV_PTH).filter(|_| name != LOADENV_PTH) else {
            return Ok(None);
        };
        let unpack = |source| InstallError::Unpack { path: LOADENV_PTH.into(), source };
        let contents = self.artifact.archive().read(entry, LONGEST_PTH).map_err(unpack)?;
        Ok(Some(PlannedFile::of_bytes(format!("{directory}{name}"), contents, false)))
    }

    /// The target of the link at `path`, as it was verified.
    fn project_link(&self, entry: &Entry, path: &str) -> Result<String, InstallError> {
        const LONGEST_TARGET: u64 = 64 << 10;
        let unpack = |source| InstallError::Unpack { path: path.into(), source };
        let target = self.artifact.archive().read(entry, LONGEST_TARGET).map_err(unpack)?;
        Ok(String::from_utf8_lossy(&target).into_owned())
    }
}

/// A name for `loadenv-init.pth` that sorts before `other`.
fn name_before(other: &str) -> String {
    let usual = ["", "0-", "!"].map(|prefix| format!("{prefix}{LOADENV_PTH}"));
    let before = usual.into_iter().find(|name| name.as_str() < other);
    // Nothing but a file that begins with as many of the first character comes before it.
    let first = || other.chars().take_while(|character| *character == '\u{1}').count() + 1;
    before.unwrap_or_else(|| format!("{}{LOADENV_PTH}", "\u{1}".repeat(first())))
}

/// A Python in the store has the paths that it gets.
fn directories_of_python(entry: &store::Entry) -> Vec<LinkedDirectory<'_>> {
    let index = &entry.index;
    let linked = index.directories.iter().map(|directory| LinkedDirectory {
        entry,
        source: index.path(directory),
        target: index.path(directory).to_owned(),
        files: Cow::Borrowed(index.files(directory)),
    });
    linked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_precedes_files_of_wheels() {
        for other in ["z.pth", "early.pth", "0.pth", "0-a.pth", "!a.pth", " a.pth", "\u{1}\u{1}.pth"] {
            assert!(*name_before(other) < *other, "{other:?}");
        }
        assert_eq!(name_before("z.pth"), LOADENV_PTH);
        assert_eq!(name_before("a.pth"), "0-loadenv-init.pth");
    }
}
