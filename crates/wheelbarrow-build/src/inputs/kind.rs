//! The kind of a file by its content; users choose the names.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fs_err as fs;
use toml::{Table, Value};
use wheelbarrow_wheel::name::normalise;

use crate::{Error, Result};

pub(super) const SETUP: [&str; 2] = ["setup.cfg", "setup.py"];
pub(super) const PYPROJECT: &str = "pyproject.toml";

/// Locks that are refused, not ignored.
pub(super) const OTHER_LOCKS: [&str; 3] = ["poetry.lock", "pdm.lock", "Pipfile.lock"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputKind {
    Pylock,
    UvLock,
    /// A lock of another tool, or its input; [`refusal`] has the words.
    Unsupported,
    /// pyproject.toml, setup.cfg or setup.py.
    Project,
    Requirements,
}

/// A format that is not read, and how to get one that is.
struct UnreadFormat {
    name: &'static str,
    export: &'static str,
}

const POETRY: UnreadFormat =
    UnreadFormat { name: "Poetry", export: "poetry export -f requirements.txt -o requirements.txt" };
const PDM: UnreadFormat =
    UnreadFormat { name: "PDM", export: "pdm export --prod -f requirements -o requirements.txt" };
const PIPENV: UnreadFormat =
    UnreadFormat { name: "Pipenv", export: "pipenv requirements --hash > requirements.txt" };
const PIPFILE: UnreadFormat =
    UnreadFormat { name: "Pipenv", export: "pipenv lock && pipenv requirements --hash > requirements.txt" };

impl InputKind {
    pub(super) fn of(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => Error::NoInput { path: path.to_path_buf(), lock: lock_beside(path) },
            _ => Error::io("read", path)(source),
        })?;
        let text = String::from_utf8_lossy(&bytes);
        let name = name(path);
        let table = text.parse::<Table>().ok().filter(|table| !table.is_empty());
        Ok(match table {
            _ if tool(&text).is_some() => Self::Unsupported,
            Some(table) if table.contains_key("lock-version") => Self::Pylock,
            Some(table) if table.get("version").is_some_and(Value::is_integer) => Self::UvLock,
            // Broken ones: their readers say what is wrong.
            _ if name.starts_with("pylock.") && name.ends_with(".toml") => Self::Pylock,
            _ if name == "uv.lock" => Self::UvLock,
            Some(_) => Self::Project,
            None if SETUP.contains(&name) || name == PYPROJECT => Self::Project,
            None => Self::Requirements,
        })
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Whose format it is, if it is one of those that are not read.
fn tool(text: &str) -> Option<UnreadFormat> {
    if text.trim_start().starts_with('{') {
        let document: serde_json::Value = serde_json::from_str(text).ok()?;
        return document.get("_meta").map(|_| PIPENV);
    }
    let table: Table = text.parse().ok()?;
    let metadata = |key: &str| table.get("metadata").is_some_and(|metadata| metadata.get(key).is_some());
    if metadata("lock_version") {
        return Some(PDM);
    }
    if metadata("lock-version") || metadata("content-hash") {
        return Some(POETRY);
    }
    let is_pipfile =
        ["packages", "dev-packages"].iter().any(|key| table.get(*key).is_some_and(Value::is_table));
    is_pipfile.then_some(PIPFILE)
}

/// The error for a file of another tool; nothing for other files.
pub(super) fn refusal(path: &Path) -> Option<Error> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let named = match name(path) {
        "poetry.lock" => Some(POETRY),
        "pdm.lock" => Some(PDM),
        "Pipfile.lock" => Some(PIPENV),
        _ => None,
    };
    let UnreadFormat { name, export } = tool(&text).or(named)?;
    Some(Error::UnsupportedInput {
        path: path.to_path_buf(),
        reason: format!("the format of {name} is not supported"),
        export,
    })
}

/// The lock of another tool in the same directory, or a pyproject.toml that only another tool reads, and the command that
/// exports it.
fn lock_beside(path: &Path) -> Option<(String, &'static str)> {
    let export = |name: &str, refused: Option<Error>| match refused {
        Some(Error::UnsupportedInput { export, .. }) => Some((name.to_owned(), export)),
        _ => None,
    };
    let locks = OTHER_LOCKS
        .iter()
        .find_map(|name| export(name, refusal(&Some(path.with_file_name(name)).filter(|it| it.is_file())?)));
    locks.or_else(|| export(PYPROJECT, has_dependencies(&path.with_file_name(PYPROJECT)).err()))
}

/// uv reads its lock under one name, with the project beside it.
pub(super) fn uv_lock(path: &Path) -> Result<PathBuf> {
    let has_project = path.with_file_name(PYPROJECT).is_file();
    if name(path) == "uv.lock" && has_project { Ok(path.to_path_buf()) } else { Err(without_project(path)) }
}

pub(super) fn without_project(path: &Path) -> Error {
    Error::Lock {
        path: path.to_path_buf(),
        reason: "it is a lock of uv, which needs the name uv.lock and its pyproject.toml beside it"
            .to_owned(),
    }
}

/// Whether a pyproject.toml names dependencies, or leaves them to its build backend. One that has only a linter's
/// settings does not. Those of Poetry need its build backend.
pub(super) fn has_dependencies(pyproject: &Path) -> Result<bool> {
    let text = fs::read_to_string(pyproject).unwrap_or_default();
    let Ok(document) = text.parse::<Table>() else { return Ok(false) };
    let at = |keys: &[&str]| {
        let root = document.get(keys[0]);
        keys[1..].iter().fold(root, |value, key| value.and_then(|value| value.get(*key)))
    };
    let has_items = |keys: &[&str]| match at(keys) {
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Table(items)) => !items.is_empty(),
        _ => false,
    };
    let dynamic = at(&["project", "dynamic"]).and_then(Value::as_array);
    let dynamic = dynamic.into_iter().flatten().filter_map(Value::as_str);
    let is_dynamic = dynamic.into_iter().any(|key| matches!(key, "dependencies" | "optional-dependencies"));
    let poetry = at(&["tool", "poetry", "dependencies"]).and_then(Value::as_table);
    let is_poetry = poetry.is_some_and(|table| table.keys().any(|name| name != "python"));
    let is_package = at(&["tool", "poetry", "package-mode"]).and_then(Value::as_bool) != Some(false);
    if is_poetry && (!is_package || at(&["build-system"]).is_none()) {
        return Err(Error::UnsupportedInput {
            path: pyproject.to_path_buf(),
            reason: "its [tool.poetry.dependencies] can be read only by Poetry, since it is no package"
                .to_owned(),
            export: POETRY.export,
        });
    }
    Ok(has_items(&["project", "dependencies"])
        || has_items(&["project", "optional-dependencies"])
        || has_items(&["tool", "flit", "metadata", "requires"])
        || is_dynamic
        || is_poetry)
}

/// Whether a pyproject.toml says that there are no dependencies: `dependencies = []`.
pub(super) fn needs_nothing(pyproject: &Path) -> bool {
    let text = fs::read_to_string(pyproject).unwrap_or_default();
    let document: Table = text.parse().unwrap_or_default();
    document.get("project").is_some_and(|project| project.get("dependencies").is_some_and(Value::is_array))
}

/// Names of the distributions that `[project] dependencies` of a pyproject.toml names for every system, and those of Poetry,
/// normalised.
pub(super) fn dependencies(pyproject: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(pyproject).unwrap_or_default();
    let document: Table = text.parse().unwrap_or_default();
    let listed = document.get("project").and_then(|project| project.get("dependencies")?.as_array());
    let listed = listed.into_iter().flatten().filter_map(Value::as_str);
    let named = listed.filter(|entry| !entry.contains(';')).map(|entry| {
        let is_of_name = |one: char| one.is_ascii_alphanumeric() || "._-".contains(one);
        entry.trim().split(|one| !is_of_name(one)).next().unwrap_or_default()
    });
    let poetry = document.get("tool").and_then(|tool| tool.get("poetry")?.get("dependencies")?.as_table());
    let poetry = poetry.into_iter().flatten().filter(|(name, value)| *name != "python" && !value.is_table());
    let all = named.chain(poetry.map(|(name, _)| name.as_str())).filter(|name| !name.is_empty());
    all.map(normalise).collect()
}

/// Files that `[tool.setuptools.dynamic]` of a pyproject.toml names.
pub(super) fn dynamic_files(project: &Path) -> Vec<PathBuf> {
    let directory = project.parent().unwrap_or(Path::new(""));
    let text = fs::read_to_string(directory.join(PYPROJECT)).unwrap_or_default();
    let document: Table = text.parse().unwrap_or_default();
    let dynamic = document.get("tool").and_then(|tool| tool.get("setuptools")?.get("dynamic")?.as_table());
    let mut files = Vec::new();
    for value in dynamic.into_iter().flat_map(Table::values) {
        collect_files(value, &mut files);
    }
    files.into_iter().map(|file| directory.join(file)).collect()
}

/// Of `{ file = "a" }`, `{ file = ["a"] }`, and tables of these.
fn collect_files(value: &Value, files: &mut Vec<String>) {
    let Some(table) = value.as_table() else { return };
    for (key, value) in table {
        match value {
            Value::String(file) if key == "file" => files.push(file.clone()),
            Value::Array(list) if key == "file" => {
                files.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            other => collect_files(other, files),
        }
    }
}
