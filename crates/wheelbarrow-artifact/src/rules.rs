//! Rules for the contents of a manifest and the places of members: `docs/reference/format.md`, "The
//! manifest".
//!
//! `artifact.py` has the same rules.

use std::collections::{BTreeMap, BTreeSet};

use wheelbarrow_base::{SafePath, UnsafePath};
use wheelbarrow_wheel::WheelFilename;
use wheelbarrow_wheel::text::is_control;

use crate::manifest::{
    Collision, INTERPRETER, INTERPRETER_FACTS, Manifest, Member, MemberKind, Project, Target,
};

/// What Python starts, and that compiled.
pub const DOORS: [&str; 2] = ["__main__.py", "__main__.pyc"];

/// What is at the top of an artifact or an install and not the project's.
const TAKEN: [&str; 6] =
    [".wheelbarrow", "bootstrap_wheels", "environment.json", "static.in", "venv", "wheels"];

/// Where an install puts a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below the destination, under its own path: code and static files.
    Own,
    SitePackages,
    /// Nowhere.
    None,
}

/// Where the member `path` goes, if format 1 knows its place.
pub fn place(path: &str, project: &str) -> Option<Place> {
    let Some((top, _)) = path.split_once('/') else {
        let is_for_site_packages =
            ["loadenv.py", "loadenv-init.pth", "loadenv.start"].contains(&path) || path.ends_with(".pth");
        return match () {
            () if is_for_site_packages => Some(Place::SitePackages),
            () if DOORS.contains(&path) => Some(Place::None),
            () => None,
        };
    };
    match top {
        "static.in" | INTERPRETER => Some(Place::Own),
        ".wheelbarrow" | "wheels" | "bootstrap_wheels" => Some(Place::None),
        top if top == project => Some(Place::Own),
        _ => None,
    }
}

/// Refuses a name of a member that leads elsewhere, or in which some programs drop characters, so that two names are one.
pub fn check_name(name: &str) -> Result<(), UnsafePath> {
    SafePath::new(name)?;
    match name.contains(is_control) {
        true => Err(UnsafePath { path: name.to_owned(), reason: "it has a control character in it" }),
        false => Ok(()),
    }
}

/// What is wrong with a manifest, if something is.
pub(crate) fn check(manifest: &Manifest) -> Result<(), String> {
    let members = manifest.members_by_path();
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if !manifest.name.split('-').all(is_part) {
        return Err("its name is not normalised".to_owned());
    }
    check_project(manifest)?;
    check_interpreter(manifest, &members)?;
    for member in &manifest.members {
        match place(&member.path, &manifest.project.directory) {
            None => return Err(format!("{} is in a place that format 1 does not have", member.path)),
            Some(place) if member.kind == MemberKind::Link && place != Place::Own => {
                return Err(format!("{} is a link", member.path));
            }
            Some(_) => {}
        }
    }
    let names = check_wheels(manifest, &members)?;
    if manifest.targets.is_empty() {
        return Err("the manifest names no target".to_owned());
    }
    manifest.targets.iter().try_for_each(|target| check_target(target, &names))
}

fn check_project(manifest: &Manifest) -> Result<(), String> {
    let project = &manifest.project;
    let directory = project.directory.as_str();
    if check_name(directory).is_err() || directory.contains('/') || TAKEN.contains(&directory) {
        return Err(format!("project.directory is {directory:?}, which cannot be the directory of the code"));
    }
    let import_path = project.import_path.as_str();
    let below =
        import_path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !below || check_name(import_path).is_err() {
        return Err(format!(
            "project.import_path is {import_path:?}, which is not in the directory of the code"
        ));
    }
    check_static_root(project)
}

/// Nothing is imported from there, and no code is in there.
fn check_static_root(project: &Project) -> Result<(), String> {
    let Some(static_root) = project.static_root.as_deref() else { return Ok(()) };
    let is_in = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let below = is_in(static_root, &project.directory) && static_root != project.directory;
    if !below || is_in(&project.import_path, static_root) || check_name(static_root).is_err() {
        return Err(format!(
            "project.static_root is {static_root:?}, which cannot be the directory of static files"
        ));
    }
    Ok(())
}

/// Only an artifact that says that it has an interpreter has one, and no code of that name.
fn check_interpreter(manifest: &Manifest, members: &BTreeMap<&str, &Member>) -> Result<(), String> {
    let is_own = manifest.project.directory == INTERPRETER;
    if manifest.interpreter.is_some() {
        let has_facts = members.get(INTERPRETER_FACTS).is_some_and(|member| member.kind == MemberKind::File);
        return match (is_own, has_facts) {
            (true, _) => Err(format!("the code and the interpreter are both in {INTERPRETER}")),
            (false, false) => Err(format!("its interpreter has no {INTERPRETER_FACTS}")),
            (false, true) => Ok(()),
        };
    }
    let is_below = |path: &&&str| path.split_once('/').is_some_and(|(top, _)| top == INTERPRETER);
    match members.keys().find(is_below).filter(|_| !is_own) {
        Some(path) => Err(format!("{path} is in no place that format 1 knows")),
        None => Ok(()),
    }
}

/// Gives the names of the wheels by their paths.
fn check_wheels<'m>(
    manifest: &'m Manifest,
    members: &BTreeMap<&str, &Member>,
) -> Result<BTreeMap<&'m str, &'m str>, String> {
    let mut names = BTreeMap::new();
    for wheel in &manifest.wheels {
        let path = wheel.path.as_str();
        let is_member = members.get(path).is_some_and(|member| member.kind == MemberKind::File);
        let filename = ["wheels/", "bootstrap_wheels/"].iter().find_map(|top| path.strip_prefix(top));
        let Some(filename) = filename.filter(|filename| is_member && !filename.contains('/')) else {
            return Err(format!("the manifest names the wheel {path}, but the artifact has no such file"));
        };
        let name = WheelFilename::name_of(filename).map_err(|error| error.to_string())?;
        if name != wheel.name {
            return Err(format!("the manifest says that {path} is {:?}", wheel.name));
        }
        if names.insert(path, wheel.name.as_str()).is_some() {
            return Err(format!("the manifest names the wheel {path} twice"));
        }
    }
    Ok(names)
}

fn check_target(target: &Target, names: &BTreeMap<&str, &str>) -> Result<(), String> {
    if let Some(Collision { path, wheel }) = target.unsettled() {
        return Err(format!("{path} is to be written by {wheel}, which is not a wheel of its target"));
    }
    let mut seen = BTreeSet::new();
    for path in &target.wheels {
        if !names.contains_key(path.as_str()) {
            return Err(format!("the target {} names {path}, which is not one of its wheels", target.python));
        }
        if !seen.insert(path) {
            return Err(format!("the target {} names {path} twice", target.python));
        }
    }
    match names.get(target.pip.as_str()) {
        Some(&"pip") => Ok(()),
        _ => Err(format!("the target {} names {}, which is not a wheel of pip", target.python, target.pip)),
    }
}
