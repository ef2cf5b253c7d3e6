//! The uv.lock of the workspace that the project is a member of.
//! <https://docs.astral.sh/uv/concepts/projects/workspaces/>

use std::path::{Component, Path, PathBuf};

use fs_err as fs;

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
    let text = fs::read_to_string(&lock).unwrap_or_default();
    members(&text).iter().map(Path::new).any(|place| without_dots(place) == below)
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
