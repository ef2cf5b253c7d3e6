//! Merges the parts of a plan, and finds paths that two of them write.

use std::collections::HashSet;

use sha2::Digest;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::zip::Inflater;
use wheelbarrow_wheel::order;

use super::part::PlanPart;
use super::shared;
use crate::InstallError;
use crate::plan::{Contents, Plan, PlannedFile, PlannedFrame, now};

/// A path that a part writes, ordered by the path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PathClaim<'p> {
    path: &'p str,
    /// Its place among the parts.
    part: usize,
    /// None for a link, and for what the plan adds itself.
    file: Option<PartFile>,
}

/// A file of a part, by its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum PartFile {
    /// Among those that are written.
    Written(usize),
    /// Among those that are linked one by one.
    Shared(usize),
}

impl PartFile {
    fn sha256(self, part: &PlanPart<'_>) -> Sha256 {
        match self {
            Self::Written(place) => part.files[place].sha256,
            Self::Shared(place) => part.shared[place].file.sha256,
        }
    }

    fn is_executable(self, part: &PlanPart<'_>) -> bool {
        match self {
            Self::Written(place) => part.files[place].executable,
            Self::Shared(place) => part.shared[place].is_executable(),
        }
    }
}

/// The plan that `parts` make. What several parts write alike is written once; what they write differently is refused. The
/// paths of `reserved` will be written by the last part.
pub(super) fn merge<'a>(mut parts: Vec<PlanPart<'a>>, reserved: &[&str]) -> Result<Plan<'a>, InstallError> {
    let mut claims = claims(&parts, reserved);
    let repeated = take_repeated(&mut claims, &parts)?;
    for &(part, file) in &repeated {
        if let PartFile::Written(place) = file {
            check_unwritten(&parts[part].files[place])?;
        }
    }
    let directories = directories(&claims, &parts)?;
    let is_bytecode = |claim: &&PathClaim<'_>| claim.path.ends_with(".pyc");
    let bytecode: HashSet<String> =
        claims.iter().filter(is_bytecode).map(|claim| claim.path.to_owned()).collect();
    for (number, part) in parts.iter_mut().enumerate().filter(|_| !repeated.is_empty()) {
        let (mut written, mut shared) = (0.., 0..);
        let is_first = |file| !repeated.contains(&(number, file));
        part.files.retain(|_| written.next().map(PartFile::Written).is_none_or(is_first));
        part.shared.retain(|_| shared.next().map(PartFile::Shared).is_none_or(is_first));
    }
    let mut plan = Plan { directories, time: now(), ..Plan::default() };
    let mut claimed = Vec::new();
    for mut part in parts {
        claimed.append(&mut part.shared);
        plan.links.append(&mut part.links);
        plan.files.append(&mut part.files);
        plan.frames.append(&mut part.frames);
        plan.linked.append(&mut part.linked);
        plan.batches.append(&mut part.batches);
    }
    shared::give_back(&mut plan.linked, claimed);
    if !(repeated.is_empty() && bytecode.is_empty()) {
        leave_out(&mut plan, bytecode);
    }
    Ok(plan)
}

fn claims<'p>(parts: &'p [PlanPart<'_>], reserved: &[&'p str]) -> Vec<PathClaim<'p>> {
    let count = |part: &PlanPart<'_>| part.files.len() + part.shared.len() + part.links.len();
    let mut claims = Vec::with_capacity(parts.iter().map(count).sum());
    for (index, part) in parts.iter().enumerate() {
        let claim = |path, file| PathClaim { path, part: index, file };
        claims.extend(part.links.iter().map(|(link, _)| claim(link.as_str(), None)));
        let written = part.files.iter().enumerate();
        claims.extend(written.map(|(place, file)| claim(&file.path, Some(PartFile::Written(place)))));
        let shared = part.shared.iter().enumerate();
        claims.extend(shared.map(|(place, file)| claim(&file.path, Some(PartFile::Shared(place)))));
    }
    let part = parts.len() - 1;
    claims.extend(reserved.iter().map(|&path| PathClaim { path, part, file: None }));
    order::sort(&mut claims);
    claims
}

/// Takes out every file that says the same as one before it, and gives them by part and place. Of two of which one is
/// executable, that one stays.
fn take_repeated(
    claims: &mut Vec<PathClaim<'_>>,
    parts: &[PlanPart<'_>],
) -> Result<HashSet<(usize, PartFile)>, InstallError> {
    let sha256 = |claim: &PathClaim<'_>| claim.file.map(|file| file.sha256(&parts[claim.part]));
    let is_executable =
        |claim: &PathClaim<'_>| claim.file.is_some_and(|file| file.is_executable(&parts[claim.part]));
    let mut repeated = HashSet::new();
    let mut collision = None;
    claims.dedup_by(|second, first| {
        if first.path != second.path {
            return false;
        }
        match (second.file, sha256(first) == sha256(second)) {
            (Some(_), true) => {
                if is_executable(second) && !is_executable(first) {
                    std::mem::swap(first, second);
                }
                repeated.extend(second.file.map(|file| (second.part, file)));
            }
            _ => {
                collision.get_or_insert((*first, *second));
            }
        }
        true
    });
    match collision {
        None => Ok(repeated),
        Some((first, second)) => Err(collide(first.path, &parts[first.part], &parts[second.part].owner)),
    }
}

/// Every directory above a path, parents first. What is a file or a link for one part cannot be a directory for another.
fn directories(claims: &[PathClaim<'_>], parts: &[PlanPart<'_>]) -> Result<Vec<String>, InstallError> {
    let mut directories: HashSet<&str> = HashSet::new();
    let mut last = "";
    let named = parts.iter().flat_map(|part| &part.directories);
    let compiled = parts.iter().flat_map(|part| &part.frames).flat_map(PlannedFrame::paths);
    let parents = claims.iter().map(|claim| claim.path).chain(compiled).filter_map(parent);
    for directory in named.map(String::as_str).chain(parents) {
        if directory == last {
            continue;
        }
        last = directory;
        let mut above = Some(directory);
        while let Some(directory) = above.filter(|directory| directories.insert(directory)) {
            above = parent(directory);
        }
    }
    if let Some(claim) = claims.iter().find(|claim| directories.contains(claim.path)) {
        let inside = format!("{}/", claim.path);
        let below = claims.iter().find(|other| other.path.starts_with(&inside));
        let second = below.map_or("the virtualenv", |below| &parts[below.part].owner);
        return Err(collide(claim.path, &parts[claim.part], second));
    }
    let mut directories: Vec<String> = directories.into_iter().map(str::to_owned).collect();
    order::sort(&mut directories);
    Ok(directories)
}

/// Leaves out the bytecode that is in `taken`, or comes twice, with a source that two wheels have alike.
fn leave_out(plan: &mut Plan<'_>, mut taken: HashSet<String>) {
    for batch in &mut plan.batches {
        batch.retain(|module| taken.insert(module.bytecode.clone()));
    }
    plan.batches.retain(|batch| !batch.is_empty());
    for part in plan.frames.iter_mut().flat_map(|frame| &mut frame.parts) {
        part.place.take_if(|(path, _)| !taken.insert(path.clone()));
    }
}

fn collide(path: &str, first: &PlanPart<'_>, second: &str) -> InstallError {
    let (first, second) = (first.owner.clone(), second.to_owned());
    InstallError::Collision { path: path.to_owned(), first, second }
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

/// Compares a file that is not written with its hash: another one is there that says it holds the same.
fn check_unwritten(file: &PlannedFile<'_>) -> Result<(), InstallError> {
    let Contents::Member { entry, raw } = &file.contents else { return Ok(()) };
    let mut hash = sha2::Sha256::new();
    let unpack = |source| InstallError::Unpack { path: file.path.as_str().into(), source };
    Inflater::new().read(entry, raw, &mut |bytes| hash.update(bytes)).map_err(unpack)?;
    match Sha256(hash.finalize().into()) == file.sha256 {
        true => Ok(()),
        false => Err(InstallError::Changed { path: file.path.as_str().into() }),
    }
}
