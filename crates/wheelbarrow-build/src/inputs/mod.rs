//! Finds the files that name the project's dependencies.
//!
//! The order is: `pylock.NAME.toml` or `pylock.toml` by another tool, `uv.lock` (also of the workspace),
//! requirements files, pyproject.toml, setup.cfg, setup.py. The content of a file determines its kind
//! (`kind`). A lock of an unsupported tool is an error, and so are two requirements files of the same rank.

pub(crate) mod formats;
pub(crate) mod hashes;
mod kind;
pub mod requirements;
pub mod workspace;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelbarrow_artifact::manifest::Sha256;

use crate::{Error, Result};
use kind::{InputKind, OTHER_LOCKS, PYPROJECT, SETUP};

/// What is turned into the artifact's lock, or already is a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// requirements.txt and its like, taken together.
    Requirements(Vec<PathBuf>),
    /// PEP 751, used as it stands.
    Pylock(PathBuf),
    /// With pyproject.toml beside it; of the project, or of the workspace that it is a member of.
    UvLock(PathBuf),
    /// pyproject.toml, setup.cfg or setup.py. uv asks the build backend for what is dynamic.
    Project(PathBuf),
}

/// Files that a person named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedInputs {
    pub requirements: Vec<PathBuf>,
    pub lock: Option<PathBuf>,
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
        let file = |name: &str| Some(project.join(name)).filter(|path| path.is_file());
        let pylocks = [format!("pylock.{name}.toml"), "pylock.toml".to_owned()];
        if let Some(path) = pylocks.iter().filter_map(|name| file(name)).find(|path| !written_by_us(path)) {
            return Ok(Self::Pylock(path));
        }
        let pyproject = project.join(PYPROJECT);
        match file("uv.lock") {
            Some(uv_lock) if pyproject.is_file() => return Ok(Self::UvLock(uv_lock)),
            Some(uv_lock) => return Err(kind::without_project(&uv_lock)),
            None => {}
        }
        if pyproject.is_file()
            && let Some(uv_lock) = workspace::lock_above(project)
        {
            return Ok(Self::UvLock(uv_lock));
        }
        if let Some(error) = OTHER_LOCKS.iter().find_map(|name| kind::refusal(&file(name)?)) {
            return Err(error);
        }
        if let Some(path) = REQUIREMENTS.iter().find_map(|name| file(name)) {
            return Ok(Self::Requirements(vec![path]));
        }
        if kind::has_dependencies(&pyproject)? {
            return Ok(Self::Project(pyproject));
        }
        let candidates = candidates(project);
        match candidates.as_slice() {
            [] if kind::needs_nothing(&pyproject) => Ok(Self::Project(pyproject)),
            [] => match SETUP.iter().find_map(|name| file(name)) {
                Some(setup) => Ok(Self::Project(setup)),
                None => Err(file("Pipfile").and_then(|path| kind::refusal(&path)).unwrap_or_else(|| {
                    Error::NoInputs { project: project.to_path_buf(), below: below(project) }
                })),
            },
            [only] if !only.contains("dev") && !only.contains("test") => {
                Ok(Self::Requirements(vec![project.join(only)]))
            }
            _ => Err(Error::AmbiguousInputs { project: project.to_path_buf(), candidates }),
        }
    }

    /// From files that a person named. Only requirements files may be several. With nothing named there are no
    /// requirements.
    pub fn named(named: &NamedInputs) -> Result<Self> {
        if let Some(lock) = &named.lock {
            return match InputKind::of(lock)? {
                InputKind::Pylock => Ok(Self::Pylock(lock.clone())),
                InputKind::UvLock => kind::uv_lock(lock).map(Self::UvLock),
                InputKind::Unsupported => {
                    Err(kind::refusal(lock).unwrap_or(Error::NotALock { path: lock.clone() }))
                }
                InputKind::Project | InputKind::Requirements => Err(Error::NotALock { path: lock.clone() }),
            };
        }
        let mut found = Vec::new();
        for path in &named.requirements {
            found.push(match InputKind::of(path)? {
                InputKind::Requirements => Self::Requirements(vec![path.clone()]),
                InputKind::Pylock => Self::Pylock(path.clone()),
                InputKind::UvLock => Self::UvLock(kind::uv_lock(path)?),
                InputKind::Project => Self::Project(path.clone()),
                InputKind::Unsupported => {
                    return Err(kind::refusal(path).unwrap_or(Error::NotALock { path: path.clone() }));
                }
            });
        }
        let mut found = found.into_iter();
        let Some(first) = found.next() else { return Ok(Self::Requirements(Vec::new())) };
        found.try_fold(first, |sofar, next| match (sofar, next) {
            (Self::Requirements(mut files), Self::Requirements(more)) => {
                files.extend(more);
                Ok(Self::Requirements(files))
            }
            (one, other) => Err(Error::AmbiguousInputs {
                project: one.files()[0].parent().unwrap_or(Path::new(".")).to_path_buf(),
                candidates: [one.files(), other.files()]
                    .concat()
                    .iter()
                    .map(|it| it.display().to_string())
                    .collect(),
            }),
        })
    }

    /// A setup.cfg that neither uv nor pip takes for a project.
    pub(crate) fn lone_setup_cfg(&self) -> Option<&Path> {
        let Self::Project(file) = self else { return None };
        let beside = |name: &str| file.with_file_name(name).exists();
        (file.ends_with(SETUP[0]) && ![PYPROJECT, SETUP[1]].into_iter().any(beside)).then_some(file)
    }

    /// The files themselves.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Requirements(files) => files.clone(),
            Self::Pylock(file) | Self::UvLock(file) | Self::Project(file) => vec![file.clone()],
        }
    }

    /// The files, and those beside them that decide what the files amount to.
    pub(crate) fn deciding_files(&self) -> Vec<PathBuf> {
        let mut files = self.files();
        match self {
            Self::Requirements(_) | Self::Pylock(_) => {}
            Self::UvLock(lock) => files.extend(workspace::projects(lock)),
            Self::Project(file) => {
                let directory = file.parent().unwrap_or(Path::new(""));
                files.extend([PYPROJECT, SETUP[0], SETUP[1]].map(|name| directory.join(name)));
                // A build backend may read its requirements from any of them.
                files.extend(REQUIREMENTS.map(|name| directory.join(name)));
                files.extend(candidates(directory).iter().map(|name| directory.join(name)));
                files.extend(kind::dynamic_files(file));
                files.retain(|path| path.is_file());
                files.sort();
                files.dedup();
            }
        }
        files
    }

    /// Whether a change of this file, one of the [`deciding`](Self::deciding_files) ones, is a change of requirements.
    pub(crate) fn is_comparable(&self, path: &Path) -> bool {
        match self {
            Self::Requirements(_) => true,
            Self::Pylock(_) | Self::UvLock(_) => self.files().iter().any(|file| file == path),
            Self::Project(file) => {
                path.ends_with(PYPROJECT) || kind::dynamic_files(file).iter().any(|file| file == path)
            }
        }
    }

    /// Names of the dependency groups in pyproject.toml, where that is the input.
    pub(crate) fn groups(&self) -> Vec<String> {
        let Self::Project(file) = self else { return Vec::new() };
        let document: toml::Table =
            fs::read_to_string(file).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        let groups = document.get("dependency-groups").and_then(toml::Value::as_table);
        groups.map(|groups| groups.keys().cloned().collect()).unwrap_or_default()
    }

    /// What pyproject.toml names beside requirements files, which then count alone.
    pub(crate) fn other_dependencies(&self, project: &Path) -> BTreeSet<String> {
        match self {
            Self::Requirements(_) => kind::dependencies(&project.join(PYPROJECT)),
            _ => BTreeSet::new(),
        }
    }

    /// For messages: `requirements.txt, more.txt`.
    pub fn describe(&self) -> String {
        self.files().iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// Whether the lock was made by Wheelbarrow from other inputs, which then are the ones to look at. It may be broken since.
pub(crate) fn written_by_us(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    match text.parse::<toml::Table>() {
        Ok(lock) => lock.get("tool").and_then(|tool| tool.get("wheelbarrow")?.get("input")).is_some(),
        Err(_) => has_our_table(&text),
    }
}

/// Whether Wheelbarrow wrote this text of a lock, as far as can be seen without reading it as one.
pub(crate) fn has_our_table(text: &str) -> bool {
    text.contains("[tool.wheelbarrow]")
}

pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let found = |path: &Path| fs::canonicalize(path).ok();
    found(one).is_some_and(|one| Some(one) == found(other))
}

/// A directory of the project that has dependencies as the top of a project has them.
fn below(project: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(project).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_project = |path: &PathBuf| {
        let others = ["doc", "docs", "test", "tests"];
        !others.iter().any(|name| path.ends_with(name))
            && REQUIREMENTS.iter().chain(&["uv.lock"]).any(|name| path.join(name).is_file())
    };
    entries.filter(is_project).min()
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

/// What the inputs amount to: SHA-256 over each file's name below the project and the hash of its contents.
pub(crate) fn digest_of_files(project: &Path, files: &[(PathBuf, Sha256)]) -> Sha256 {
    let line = |(file, sha256): &(PathBuf, Sha256)| {
        let name = file.strip_prefix(project).unwrap_or(Path::new(file.file_name().unwrap_or_default()));
        format!("{}\0{sha256}\n", name.display())
    };
    Sha256::of(files.iter().map(line).collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheelbarrow_base::Explain;

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
        let none = ("pyproject.toml", "[project]\nname='x'\ndependencies=[]");
        assert_eq!(found(&[none]).unwrap(), "pyproject.toml");
        assert_eq!(found(&[none, ("requirements_web.txt", "")]).unwrap(), "requirements_web.txt");
    }

    #[test]
    fn doubt_is_an_error_that_names_the_candidates() {
        let error = found(&[("requirements/web.txt", ""), ("requirements/worker.txt", "")]).unwrap_err();
        let Error::AmbiguousInputs { candidates, .. } = error else { panic!("{error}") };
        assert_eq!(candidates, ["requirements/web.txt", "requirements/worker.txt"]);
        assert!(matches!(found(&[("manage.py", "")]), Err(Error::NoInputs { .. })));
        let below = found(&[("docs/requirements.txt", ""), ("web/requirements/base.txt", ""), ("a/b", "")]);
        let hint = below.unwrap_err().hint().unwrap();
        assert!(hint.ends_with("/web`") && hint.contains("has such a file: `wheelbarrow build "), "{hint}");
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
        assert_eq!(inputs("other"), Inputs::Project(root.join("other/pyproject.toml")));
    }

    #[test]
    fn dependencies_are_read_from_the_backend() {
        for text in [
            "[project]\nname='x'\ndynamic=['version', 'dependencies']",
            "[tool.poetry.dependencies]\npython='^3.9'\ndjango='*'\n[build-system]\nrequires=['poetry-core']",
            "[tool.flit.metadata]\nrequires=['django']",
        ] {
            assert_eq!(found(&[("pyproject.toml", text)]).unwrap(), "pyproject.toml", "{text}");
        }
        assert_eq!(found(&[("setup.py", ""), ("pyproject.toml", "[tool.ruff]")]).unwrap(), "setup.py");
        assert_eq!(found(&[("setup.py", ""), ("setup.cfg", "")]).unwrap(), "setup.cfg");
        assert!(found(&[("pyproject.toml", "[tool.poetry.dependencies]\npython='*'")]).is_err());
    }

    #[test]
    fn locks_of_other_tools_are_refused_with_the_way_out() {
        let project = ("pyproject.toml", "[project]\nname='x'\ndependencies=['django']");
        for (lock, command) in [
            (("poetry.lock", "[metadata]\nlock-version = '2.1'\ncontent-hash = 'x'"), "`poetry export"),
            (("pdm.lock", "[metadata]\nlock_version = '4.5.0'"), "`pdm export"),
            (("Pipfile.lock", "{\"_meta\": {}, \"default\": {}}"), "`pipenv requirements --hash"),
        ] {
            let error = found(&[project, lock, ("requirements.txt", "")]).unwrap_err();
            assert!(error.to_string().contains(lock.0), "{error}");
            let hint = error.hint().unwrap();
            assert!(hint.contains(command) && hint.contains("-r requirements.txt"), "{hint}");
            assert_eq!(found(&[project, lock, ("uv.lock", "")]).unwrap(), "uv.lock");
        }
        assert!(found(&[("Pipfile", "[packages]\n")]).unwrap_err().hint().unwrap().contains("pipenv lock"));
        assert!(found(&[("uv.lock", "version = 1")]).unwrap_err().to_string().contains("uv.lock"));
    }

    #[test]
    fn named_files_are_distinguished_by_content() {
        const UV: &str = "version = 1\nrequires-python = '>=3.9'\n";
        let files = [
            ("my.lock", "six\n"),
            ("poetry.lock", "[[package]]\nname = 'a'\n[metadata]\nlock-version = '2.1'\ncontent-hash = 'x'"),
            ("any.lock", "lock-version = '1.0'\n"),
            ("pylock.toml", "broken ="),
            ("other.lock", UV),
            ("a/uv.lock", UV),
            ("a/pyproject.toml", "[project]\nname = 'x'\n"),
        ];
        let directory = project(&files);
        let lock = |name: &str| {
            let lock = Some(directory.path().join(name));
            Inputs::named(&NamedInputs { lock, ..NamedInputs::default() })
        };
        let requirements = |names: &[&str]| {
            let requirements = names.iter().map(|name| directory.path().join(name)).collect();
            Inputs::named(&NamedInputs { requirements, lock: None })
        };
        for name in ["any.lock", "pylock.toml"] {
            assert_eq!(lock(name).unwrap(), Inputs::Pylock(directory.path().join(name)));
        }
        assert!(matches!(lock("a/uv.lock"), Ok(Inputs::UvLock(_))));
        for name in ["my.lock", "a/pyproject.toml"] {
            let error = lock(name).unwrap_err();
            assert!(error.to_string().ends_with(&format!("{name} is not a lock")), "{error}");
        }
        assert!(lock("poetry.lock").unwrap_err().hint().unwrap().contains("poetry export"));
        assert!(requirements(&["poetry.lock"]).unwrap_err().hint().unwrap().contains("poetry export"));
        assert!(lock("other.lock").unwrap_err().to_string().contains("other.lock"));
        assert!(matches!(requirements(&["my.lock"]), Ok(Inputs::Requirements(_))));
        assert!(matches!(requirements(&["a/pyproject.toml"]), Ok(Inputs::Project(_))));
        assert!(matches!(requirements(&["my.lock", "any.lock"]), Err(Error::AmbiguousInputs { .. })));
    }
}
