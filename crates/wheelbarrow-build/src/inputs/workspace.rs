//! The uv.lock of the workspace that the project is a member of.
//! <https://docs.astral.sh/uv/concepts/projects/workspaces/>

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use wheelbarrow_base::{LARGEST_TEXT, read_regular};

/// The lock in a directory above `project` that names it as a member.
pub(super) fn lock_above(project: &Path) -> Option<PathBuf> {
    let project = project.canonicalize().ok()?;
    project
        .ancestors()
        .skip(1)
        .map(|directory| directory.join("uv.lock"))
        .find(|lock| lock.is_file() && is_member(lock, &project))
}

/// Whether the lock's packages have one that is made from the directory `project`. uv keeps, for each member, its place
/// relative to the lock: `source = { editable = "backend" }`, or `virtual` where it is no package.
pub(crate) fn is_member(lock: &Path, project: &Path) -> bool {
    let (Ok(lock), Ok(project)) = (lock.canonicalize(), project.canonicalize()) else { return false };
    let Some(directory) = lock.parent() else { return false };
    let Ok(below) = project.strip_prefix(directory) else { return false };
    let text = read_regular(&lock, LARGEST_TEXT).unwrap_or_default();
    members(&String::from_utf8_lossy(&text)).iter().map(Path::new).any(|place| without_dots(place) == below)
}

/// The members of the uv workspace whose root `project` is, relative to it and ordered, without the root itself. Empty for any
/// other project.
pub fn members_of(project: &Path) -> Vec<String> {
    let text = fs::read_to_string(project.join("pyproject.toml")).unwrap_or_default();
    let document: toml::Table = text.parse().unwrap_or_default();
    let Some(workspace) = document.get("tool").and_then(|tool| tool.get("uv")?.get("workspace")) else {
        return Vec::new();
    };
    let places = |key: &str| -> BTreeSet<String> {
        let patterns = workspace.get(key).and_then(toml::Value::as_array).into_iter().flatten();
        patterns.filter_map(toml::Value::as_str).flat_map(|pattern| directories(project, pattern)).collect()
    };
    let is_member =
        |place: &&String| !place.is_empty() && project.join(place).join("pyproject.toml").is_file();
    places("members").difference(&places("exclude")).filter(is_member).cloned().collect()
}

/// Directories that a pattern such as `packages/*` names.
fn directories(project: &Path, pattern: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !matches!(*part, "" | ".")) {
        found = found.iter().flat_map(|above| inside(project, above, part)).collect();
    }
    found
}

/// Directories in `above` whose names the part of a pattern fits; a `*` stands for any characters.
fn inside(project: &Path, above: &str, part: &str) -> Vec<String> {
    let join = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
    let Some((first, last)) = part.split_once('*') else { return vec![join(part)] };
    let entries = fs::read_dir(project.join(above)).into_iter().flatten().flatten();
    let names = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| !name.starts_with('.') && name.starts_with(first) && name.ends_with(last))
        .map(|name| join(&name))
        .collect()
}

/// Where the packages of a uv.lock are that are made from directories, relative to the lock. None of what is no uv.lock.
pub fn members(text: &str) -> Vec<String> {
    let document: toml::Table = text.parse().unwrap_or_default();
    let packages = document.get("package").and_then(toml::Value::as_array);
    let places = packages.into_iter().flatten().filter_map(|package| {
        let source = package.get("source")?;
        ["editable", "virtual"].into_iter().find_map(|kind| source.get(kind)?.as_str())
    });
    places.map(str::to_owned).collect()
}

/// The pyproject.toml of each project that the lock has a part for, and of the workspace.
pub(super) fn projects(lock: &Path) -> Vec<PathBuf> {
    let directory = lock.parent().unwrap_or(Path::new(""));
    let document: toml::Table =
        fs::read_to_string(lock).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    let packages = document.get("package").and_then(toml::Value::as_array);
    let places = packages.into_iter().flatten().filter_map(|package| {
        let source = package.get("source")?;
        ["editable", "virtual", "directory"].into_iter().find_map(|kind| source.get(kind)?.as_str())
    });
    let mut files: Vec<PathBuf> =
        [""].into_iter().chain(places).map(|place| directory.join(without_dots(Path::new(place)))).collect();
    files.iter_mut().for_each(|place| place.push("pyproject.toml"));
    files.retain(|file| file.is_file());
    files.sort();
    files.dedup();
    files
}

/// `./backend` is `backend`, and `.` nothing.
fn without_dots(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}
