//! Putting the parts of a plan together, where it shows what two of them want to write.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use wheelbarrow_wheel::order;

use super::{Part, Plan, PlannedFrame, stored};
use crate::InstallError;

/// A path that a part writes, ordered by the path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claim<'p> {
    path: &'p str,
    /// Its place among the parts.
    part: usize,
    /// Its place among the part's files; none for a link, and for what the plan adds itself.
    file: Option<usize>,
}

/// The plan that `parts` make. What several parts write alike is written once; what they write differently is refused. The
/// paths of `reserved` will be written by the last part.
pub(super) fn merge<'a>(mut parts: Vec<Part<'a>>, reserved: &[&str]) -> Result<Plan<'a>, InstallError> {
    let mut claims = claims(&parts, reserved);
    let repeated = take_repeated(&mut claims, &parts)?;
    for &(part, file) in &repeated {
        parts[part].files[file].check_unwritten()?;
    }
    let directories = directories(&claims, &parts)?;
    let is_bytecode = |claim: &&Claim<'_>| claim.path.ends_with(".pyc");
    let bytecode: HashSet<String> =
        claims.iter().filter(is_bytecode).map(|claim| claim.path.to_owned()).collect();
    for (part, files) in parts.iter_mut().enumerate().filter(|_| !repeated.is_empty()) {
        let mut places = 0..;
        files.files.retain(|_| places.next().is_none_or(|file| !repeated.contains(&(part, file))));
    }
    let mut plan = Plan { directories, time: now(), ..Plan::default() };
    for mut part in parts {
        plan.links.append(&mut part.links);
        plan.files.append(&mut part.files);
        plan.frames.append(&mut part.frames);
        plan.linked.append(&mut part.linked);
        plan.batches.append(&mut part.batches);
    }
    stored::take_linked(&mut plan);
    if !(repeated.is_empty() && bytecode.is_empty()) {
        leave_out(&mut plan, bytecode);
    }
    Ok(plan)
}

fn claims<'p>(parts: &'p [Part<'_>], reserved: &[&'p str]) -> Vec<Claim<'p>> {
    let mut claims = Vec::with_capacity(parts.iter().map(|part| part.files.len() + part.links.len()).sum());
    for (index, part) in parts.iter().enumerate() {
        let claim = |path, file| Claim { path, part: index, file };
        claims.extend(part.links.iter().map(|(link, _)| claim(link.as_str(), None)));
        claims.extend(part.files.iter().enumerate().map(|(file, planned)| claim(&planned.path, Some(file))));
    }
    let part = parts.len() - 1;
    claims.extend(reserved.iter().map(|&path| Claim { path, part, file: None }));
    order::sort(&mut claims);
    claims
}

/// Takes out every file that says the same as one before it, and gives them by part and place. Of two of which one is
/// executable, that one stays.
fn take_repeated(
    claims: &mut Vec<Claim<'_>>,
    parts: &[Part<'_>],
) -> Result<HashSet<(usize, usize)>, InstallError> {
    let sha256 = |claim: &Claim<'_>| claim.file.map(|file| parts[claim.part].files[file].sha256);
    let is_executable =
        |claim: &Claim<'_>| claim.file.is_some_and(|file| parts[claim.part].files[file].executable);
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
fn directories(claims: &[Claim<'_>], parts: &[Part<'_>]) -> Result<Vec<String>, InstallError> {
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

fn collide(path: &str, first: &Part<'_>, second: &str) -> InstallError {
    let (first, second) = (first.owner.clone(), second.to_owned());
    InstallError::Collision { path: path.to_owned(), first, second }
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

/// The second that it is, since 1970.
pub(crate) fn now() -> u32 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    #[allow(clippy::cast_possible_truncation, reason = "as Python keeps it in .pyc files")]
    let time = time as u32;
    time
}
