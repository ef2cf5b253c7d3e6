//! Which files say what the project depends on, and what they amount to.
//!
//! A lock that a person or another tool wrote wins, then uv.lock, then requirements files, then pyproject.toml. Two
//! requirements files that could both be meant are an error that names them.

pub mod requirements;
pub mod workspace;

use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelbarrow_artifact::manifest::Sha256;

use crate::{Error, Result};

/// What is turned into the artifact's lock, or is it already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// requirements.txt and its like, taken together.
    Requirements(Vec<PathBuf>),
    /// PEP 751, used as it stands.
    Pylock(PathBuf),
    /// With pyproject.toml beside it; of the project, or of the workspace that it is a member of.
    UvLock(PathBuf),
    /// `[project] dependencies`.
    Pyproject(PathBuf),
}

/// Places of requirements files for production, the likeliest first. All are below the project.
const REQUIREMENTS: [&str; 7] = [
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements/requirements.txt",
    "requirements/base.txt",
    "requirements-prod.txt",
    "requirements-production.txt",
];

impl Inputs {
    /// Looks into `project`. `name` is the site's, for `pylock.NAME.toml`.
    pub fn discover(project: &Path, name: &str) -> Result<Self> {
        for file in [format!("pylock.{name}.toml"), "pylock.toml".to_owned()] {
            let path = project.join(file);
            if path.is_file() && !written_by_us(&path) {
                return Ok(Self::Pylock(path));
            }
        }
        let pyproject = project.join("pyproject.toml");
        let uv_lock = project.join("uv.lock");
        if uv_lock.is_file() && pyproject.is_file() {
            return Ok(Self::UvLock(uv_lock));
        }
        if pyproject.is_file()
            && let Some(uv_lock) = workspace::lock_above(project)
        {
            return Ok(Self::UvLock(uv_lock));
        }
        if let Some(path) = REQUIREMENTS.iter().map(|file| project.join(file)).find(|path| path.is_file()) {
            return Ok(Self::Requirements(vec![path]));
        }
        if has_dependencies(&pyproject) {
            return Ok(Self::Pyproject(pyproject));
        }
        let candidates = candidates(project);
        match candidates.as_slice() {
            [] => Err(Error::NoInputs { project: project.to_path_buf() }),
            [only] if !only.contains("dev") && !only.contains("test") => {
                Ok(Self::Requirements(vec![project.join(only)]))
            }
            _ => Err(Error::AmbiguousInputs { project: project.to_path_buf(), candidates }),
        }
    }

    /// From files that a person named: the kind of each is told by its name, and only requirements files come in
    /// numbers.
    pub fn named(files: &[PathBuf]) -> Result<Self> {
        let kind = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            match name.as_str() {
                "uv.lock" => Self::UvLock(path.to_path_buf()),
                "pyproject.toml" => Self::Pyproject(path.to_path_buf()),
                _ if name.starts_with("pylock.") && name.ends_with(".toml") => {
                    Self::Pylock(path.to_path_buf())
                }
                _ => Self::Requirements(vec![path.to_path_buf()]),
            }
        };
        for file in files {
            fs::metadata(file).map_err(Error::io("read", file))?;
        }
        let mut kinds = files.iter().map(|file| kind(file));
        let Some(first) = kinds.next() else { return Ok(Self::Requirements(Vec::new())) };
        kinds.try_fold(first, |sofar, next| match (sofar, next) {
            (Self::Requirements(mut files), Self::Requirements(more)) => {
                files.extend(more);
                Ok(Self::Requirements(files))
            }
            (one, other) => Err(Error::AmbiguousInputs {
                project: files[0].parent().unwrap_or(Path::new(".")).to_path_buf(),
                candidates: [one.files(), other.files()]
                    .concat()
                    .iter()
                    .map(|it| it.display().to_string())
                    .collect(),
            }),
        })
    }

    /// The files themselves.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Requirements(files) => files.clone(),
            Self::Pylock(file) | Self::UvLock(file) | Self::Pyproject(file) => vec![file.clone()],
        }
    }

    /// Names of the dependency groups in pyproject.toml, where that is the input.
    pub(crate) fn groups(&self) -> Vec<String> {
        let Self::Pyproject(file) = self else { return Vec::new() };
        let document: toml::Table =
            fs::read_to_string(file).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        let groups = document.get("dependency-groups").and_then(toml::Value::as_table);
        groups.map(|groups| groups.keys().cloned().collect()).unwrap_or_default()
    }

    /// For messages: `requirements.txt, more.txt`.
    pub fn describe(&self) -> String {
        self.files().iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// Whether the lock was made by Wheelbarrow from other inputs, which then are the ones to look at.
fn written_by_us(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.parse::<toml::Table>().is_ok_and(|lock| {
        lock.get("tool")
            .and_then(|tool| tool.get("wheelbarrow"))
            .is_some_and(|ours| ours.get("input").is_some())
    })
}

/// A pyproject.toml that is only there for a linter's settings says nothing of dependencies.
fn has_dependencies(pyproject: &Path) -> bool {
    let text = fs::read_to_string(pyproject).unwrap_or_default();
    text.parse::<toml::Table>().is_ok_and(|document| {
        let project = document.get("project");
        let lists = |key: &str| {
            project.and_then(|project| project.get(key)).is_some_and(|value| match value {
                toml::Value::Array(items) => !items.is_empty(),
                toml::Value::Table(items) => !items.is_empty(),
                _ => false,
            })
        };
        lists("dependencies") || lists("optional-dependencies")
    })
}

/// Requirements files under names that say nothing of production, relative to the project, ordered.
fn candidates(project: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for directory in ["", "requirements"] {
        let Ok(entries) = fs::read_dir(project.join(directory)) else { continue };
        for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
            let meant = !directory.is_empty() || name.starts_with("requirements") || name.starts_with("reqs");
            if meant && name.ends_with(".txt") {
                found.push(Path::new(directory).join(name).to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// What the inputs amount to: SHA-256 over each file's name below the project and its contents.
pub(crate) fn digest_of_files(project: &Path, files: &[PathBuf]) -> Result<Sha256> {
    let mut text = String::new();
    for file in files {
        let bytes = fs::read(file).map_err(Error::io("read", file))?;
        let name = file.strip_prefix(project).unwrap_or(Path::new(file.file_name().unwrap_or_default()));
        text.push_str(&format!("{}\0{}\n", name.display(), Sha256::of(&bytes)));
    }
    Ok(Sha256::of(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    fn found(files: &[(&str, &str)]) -> Result<String> {
        let directory = project(files);
        let inputs = Inputs::discover(directory.path(), "site")?;
        let file = inputs.files()[0].strip_prefix(directory.path()).unwrap().display().to_string();
        Ok(file)
    }

    #[test]
    fn the_surest_input_wins() {
        let project = ("pyproject.toml", "[project]\nname='x'\ndependencies=['django']");
        assert_eq!(found(&[project, ("requirements.txt", ""), ("uv.lock", "")]).unwrap(), "uv.lock");
        assert_eq!(found(&[project, ("requirements.txt", "")]).unwrap(), "requirements.txt");
        assert_eq!(found(&[project, ("requirements-dev.txt", "")]).unwrap(), "pyproject.toml");
        assert_eq!(found(&[project, ("pylock.toml", ""), ("uv.lock", "")]).unwrap(), "pylock.toml");
        let ours = ("pylock.site.toml", "[tool.wheelbarrow]\ninput = 'x'");
        assert_eq!(found(&[ours, ("requirements.txt", "")]).unwrap(), "requirements.txt");
        let linter = ("pyproject.toml", "[tool.ruff]\n");
        assert_eq!(
            found(&[linter, ("requirements/base.txt", ""), ("requirements/dev.txt", "")]).unwrap(),
            "requirements/base.txt"
        );
        assert_eq!(found(&[linter, ("requirements_web.txt", "")]).unwrap(), "requirements_web.txt");
    }

    #[test]
    fn doubt_is_an_error_that_names_the_candidates() {
        let error = found(&[("requirements/web.txt", ""), ("requirements/worker.txt", "")]).unwrap_err();
        let Error::AmbiguousInputs { candidates, .. } = error else { panic!("{error}") };
        assert_eq!(candidates, ["requirements/web.txt", "requirements/worker.txt"]);
        assert!(matches!(found(&[("manage.py", "")]), Err(Error::NoInputs { .. })));
        assert!(matches!(found(&[("requirements-dev.txt", "")]), Err(Error::AmbiguousInputs { .. })));
    }

    #[test]
    fn a_member_has_the_lock_of_its_workspace() {
        let lock = "version = 1\n[[package]]\nname = \"app\"\nsource = { editable = \"./backend\" }\n\
                    [[package]]\nname = \"a\"\nsource = { registry = \"https://h\" }\n";
        let project = "[project]\nname = \"app\"\ndependencies = [\"a\"]\n";
        let files =
            [("uv.lock", lock), ("backend/pyproject.toml", project), ("other/pyproject.toml", project)];
        let directory = self::project(&files);
        let root = directory.path().canonicalize().unwrap();
        let inputs = |member: &str| Inputs::discover(&root.join(member), "site").unwrap();
        assert_eq!(inputs("backend"), Inputs::UvLock(root.join("uv.lock")));
        assert_eq!(inputs("other"), Inputs::Pyproject(root.join("other/pyproject.toml")));
    }
}
