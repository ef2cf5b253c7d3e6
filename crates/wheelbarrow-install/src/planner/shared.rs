//! Directories of the store that several parts of a plan write to.
//!
//! An entry has no two files at one path, so conflicts can occur only in such directories. Their files are
//! claimed one by one, like all other files; everything else is linked by directories.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::part::{LinkedFile, PlanPart};
use crate::plan::{LinkedDirectory, parent};
use crate::store::IndexFile;

/// Takes the files out of directories that several parts write to, so that each is claimed.
pub(super) fn share(parts: &mut [PlanPart<'_>]) {
    let shared = shared_directories(parts);
    let mut compiled: HashSet<String> = HashSet::new();
    for part in parts.iter_mut() {
        let SharedDirectories { inside, at } = SharedDirectories::of(&part.linked, &shared);
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
                part.shared.push(LinkedFile { path, entry: directory.entry, source: directory.source, file });
            }
        }
    }
    // Bytecode that is in a wheel, or comes with a source that two wheels have alike, is there already.
    for part in parts.iter_mut() {
        for place in SharedDirectories::of(&part.linked, &shared).inside {
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
struct SharedDirectories {
    inside: Vec<usize>,
    at: Vec<usize>,
}

impl SharedDirectories {
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
fn shared_directories(parts: &[PlanPart<'_>]) -> HashSet<String> {
    let mut shared = HashSet::new();
    let planned = planned_directories(parts);
    loop {
        let mut owners: HashMap<&str, usize> = HashMap::new();
        let mut found = Vec::new();
        for (owner, part) in parts.iter().enumerate() {
            for place in SharedDirectories::of(&part.linked, &shared).at {
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
fn planned_directories<'p>(parts: &'p [PlanPart<'_>]) -> HashSet<&'p str> {
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

/// Gives the claimed files back to their directories.
pub(super) fn give_back<'a>(linked: &mut Vec<LinkedDirectory<'a>>, files: Vec<LinkedFile<'a>>) {
    for LinkedFile { path, entry, source, file } in files {
        match linked.last_mut() {
            Some(last) if std::ptr::eq(last.entry, entry) && last.source == source => {
                last.files.to_mut().push(file);
            }
            _ => linked.push(LinkedDirectory {
                entry,
                source,
                target: parent(&path).to_owned(),
                files: Cow::Owned(vec![file]),
            }),
        }
    }
}
