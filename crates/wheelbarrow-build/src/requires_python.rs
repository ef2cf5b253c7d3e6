//! The project's own limits on Python: `requires-python` or its equivalents in other tools, and
//! `.python-version` or its.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use fs_err as fs;
use pep440_rs::{Version, VersionSpecifiers};
use toml::{Table, Value};

use crate::target::BuildTarget;
use crate::{Error, Result};

/// Which Pythons the project is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiresPython {
    /// As the file says.
    pub text: String,
    pub file: PathBuf,
    /// One of them must hold.
    sets: Vec<VersionSpecifiers>,
}

const PYTHON_VERSION: &str = ".python-version";

/// Finds the rule in a file's text.
type Find = fn(&str) -> Option<String>;

impl RequiresPython {
    /// Of pyproject.toml, setup.cfg, setup.py or Pipfile, whichever says it first.
    pub fn read(project: &Path) -> Result<Option<Self>> {
        let sources: [(&str, Find); 5] = [
            ("pyproject.toml", of_pyproject),
            ("pyproject.toml", of_poetry),
            ("setup.cfg", of_setup_cfg),
            ("setup.py", of_setup_py),
            ("Pipfile", of_pipfile),
        ];
        for (name, find) in sources {
            let file = project.join(name);
            let Ok(content) = fs::read_to_string(&file) else { continue };
            let Some(text) = find(&content) else { continue };
            let line = content.lines().position(|line| line.contains(&text)).map_or(1, |line| line + 1);
            let sets = parse(&text).ok_or_else(|| Error::Requirements {
                path: file.clone(),
                line,
                reason: format!("`{text}` is not a set of Python versions such as >=3.10,<3.14"),
            })?;
            return Ok(Some(Self { text, file, sets }));
        }
        Ok(None)
    }

    /// What a uv.lock or a pylock.toml says of itself, at its top.
    pub fn of_lock(file: &Path) -> Option<Self> {
        let content = fs::read_to_string(file).ok()?;
        let mut top = content.lines().take_while(|line| !line.starts_with('['));
        let value =
            top.find_map(|line| line.strip_prefix("requires-python")?.trim_start().strip_prefix('='))?;
        let text = value.trim().trim_matches('"').to_owned();
        Some(Self { sets: parse(&text)?, text, file: file.to_path_buf() })
    }

    /// Both must hold.
    pub(crate) fn and(&self, other: Option<&Self>) -> Self {
        let Some(other) = other else { return self.clone() };
        let both = |one: &VersionSpecifiers, other: &VersionSpecifiers| {
            one.iter().chain(other.iter()).cloned().collect()
        };
        let sets =
            self.sets.iter().flat_map(|one| other.sets.iter().map(move |other| both(one, other))).collect();
        Self { text: format!("{},{}", self.text, other.text), file: self.file.clone(), sets }
    }

    /// Where only the minor version of a target is known, any micro version may do.
    pub fn allows(&self, target: &BuildTarget) -> bool {
        let last = target.own_interpreter().is_none().then(|| format!("{}.99", target.python));
        self.contains([Some(target.full_version()), last].into_iter().flatten())
    }

    /// Whether a micro version of `minor`, such as `3.12`, is allowed.
    pub fn allows_some_of(&self, minor: &str) -> bool {
        self.contains([format!("{minor}.0"), format!("{minor}.99")].into_iter())
    }

    fn contains(&self, versions: impl Iterator<Item = String>) -> bool {
        let versions: Vec<Version> = versions.filter_map(|text| text.parse().ok()).collect();
        self.sets.iter().any(|set| versions.iter().any(|version| set.contains(version)))
    }
}

fn of_pyproject(text: &str) -> Option<String> {
    let document: Table = text.parse().ok()?;
    document.get("project")?.get("requires-python")?.as_str().map(str::to_owned)
}

fn of_poetry(text: &str) -> Option<String> {
    let document: Table = text.parse().ok()?;
    let python = document.get("tool")?.get("poetry")?.get("dependencies")?.get("python")?;
    python.as_str().or_else(|| python.get("version").and_then(Value::as_str)).map(str::to_owned)
}

fn of_setup_cfg(text: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| line.trim() != "[options]").skip(1);
    let mut options = lines.by_ref().take_while(|line| !line.starts_with('['));
    let value =
        options.find_map(|line| line.strip_prefix("python_requires")?.trim_start().strip_prefix('='))?;
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// A literal of text only: what a script computes is not known.
fn of_setup_py(text: &str) -> Option<String> {
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let value = lines.find_map(|line| {
        let rest = line.split_once("python_requires")?.1.trim_start_matches(['"', '\'']).trim_start();
        rest.strip_prefix(['=', ':']).map(str::trim_start)
    })?;
    let quote = value.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
    let value = value[1..].split(quote).next()?;
    parse(value).map(|_| value.to_owned()).filter(|value| !value.is_empty())
}

fn of_pipfile(text: &str) -> Option<String> {
    let document: Table = text.parse().ok()?;
    let requires = document.get("requires")?;
    let version = requires.get("python_version").or_else(|| requires.get("python_full_version"));
    version.and_then(Value::as_str).map(str::to_owned)
}

/// Specifiers of PEP 440, and those of Poetry and Pipenv: `^3.10`, `~3.10`, `3.10`, `*`, and `||` between sets.
fn parse(text: &str) -> Option<Vec<VersionSpecifiers>> {
    text.split("||").map(|set| VersionSpecifiers::from_str(&translate(set)?).ok()).collect()
}

fn translate(set: &str) -> Option<String> {
    // `>= 3.8, < 4` has blanks behind its operators, and Poetry's `>=3.8 <4` between its parts.
    let glued =
        set.replace("> ", ">").replace("< ", "<").replace("= ", "=").replace("^ ", "^").replace("~ ", "~");
    let parts = glued.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty() && *part != "*");
    let parts = parts.map(|part| {
        let release = |text: &str| text.parse::<Version>().ok().map(|version| version.release().to_vec());
        if let Some(lowest) = part.strip_prefix('^') {
            return Some(format!(">={lowest},<{}", release(lowest)?.first()? + 1));
        }
        match part.strip_prefix('~') {
            Some(lowest) if !lowest.starts_with('=') => Some(match release(lowest)?.as_slice() {
                [major] => format!(">={lowest},<{}", major + 1),
                [major, minor, ..] => format!(">={lowest},<{major}.{}", minor + 1),
                [] => return None,
            }),
            _ if part.starts_with(|first: char| first.is_ascii_digit()) => {
                let is_minor = part.matches('.').count() == 1 && !part.ends_with('*');
                Some(format!("=={part}{}", if is_minor { ".*" } else { "" }))
            }
            _ => Some(part.to_owned()),
        }
    });
    Some(parts.collect::<Option<Vec<_>>>()?.join(","))
}

/// What `.python-version` says, or its like in other tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Such as `3.12` or `3.12.4`.
    Version(String),
    /// As uv allows it there, such as `>=3.12`.
    Rule(RequiresPython),
    /// Another implementation, a name of pyenv, or a version that is not supported.
    Other(String),
}

/// Of `.python-version`, as pyenv and uv write it. Without the file, the version in `runtime.txt` (Heroku) or `.tool-versions`
/// (asdf, mise).
pub fn pinned(project: &Path) -> Option<Pin> {
    let file = project.join(PYTHON_VERSION);
    let read = |file: &Path| fs::read_to_string(file).ok();
    match read(&file) {
        Some(text) => of_python_version(&text, file),
        None => {
            of_words(&read(&project.join("runtime.txt")).unwrap_or_default().replace("python-", "python "))
                .or_else(|| of_words(&read(&project.join(".tool-versions"))?))
                .map(Pin::Version)
        }
    }
}

/// A note about a `.python-version` that chooses no Python.
pub(crate) fn unused_pin(project: &Path) -> Option<String> {
    match pinned(project)? {
        Pin::Other(text) => Some(format!(
            "{PYTHON_VERSION} has no effect: `{text}` is neither a version of CPython 3, such as 3.12, nor a constraint, such as >=3.12"
        )),
        _ => None,
    }
}

/// The first version in a line `python 3.12.4`.
fn of_words(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::split_whitespace);
    let mut words = lines.find_map(|mut words| (words.next() == Some("python")).then_some(words))?;
    words.next().filter(|version| version.starts_with("3.")).map(str::to_owned)
}

fn of_python_version(text: &str, file: PathBuf) -> Option<Pin> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let version =
        line.trim_start_matches("cpython").trim_start_matches("python").trim_start_matches(['-', '@']);
    let version = version.split(['-', ' ']).next().unwrap_or_default();
    if version.starts_with("3.") {
        return Some(Pin::Version(version.to_owned()));
    }
    // Any Python, and pyenv's word for the one that it did not make.
    if ["3", "system"].contains(&version) {
        return None;
    }
    let sets = parse(line).filter(|_| line.starts_with(['<', '>', '=', '!', '~', '^']));
    let rule = sets.map(|sets| Pin::Rule(RequiresPython { text: line.to_owned(), file, sets }));
    Some(rule.unwrap_or_else(|| Pin::Other(line.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Option<RequiresPython> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(name), text).unwrap();
        RequiresPython::read(directory.path()).unwrap()
    }

    #[test]
    fn requires_python_is_read_from_every_tool() {
        for (name, text, allowed) in [
            ("pyproject.toml", "[project]\nrequires-python = '>= 3.11, <3.13'", &[11, 12][..]),
            ("pyproject.toml", "[tool.poetry.dependencies]\npython = '^3.13'", &[13, 14]),
            ("pyproject.toml", "[tool.poetry.dependencies]\npython = '~3.11 || 3.13.*'", &[11, 13]),
            ("pyproject.toml", "[tool.poetry.dependencies]\npython = '>=3.12 <4.0'", &[12, 13, 14]),
            ("setup.cfg", "[metadata]\nname = x\n[options]\npython_requires = >=3.13\n", &[13, 14]),
            (
                "setup.py",
                "# python_requires='>=3.8'\nsetup(\n    python_requires=\">=3.12, <4\",\n)",
                &[12, 13, 14],
            ),
            ("setup.py", "setup(**{'python_requires': '>=3.13'})", &[13, 14]),
            ("Pipfile", "[requires]\npython_version = '3.11'", &[11]),
        ] {
            let rule = read(name, text).unwrap();
            let found: Vec<u32> =
                (11..15).filter(|minor| rule.contains([format!("3.{minor}.0")].into_iter())).collect();
            assert_eq!(found, allowed, "{text}");
        }
        assert_eq!(read("pyproject.toml", "[tool.ruff]"), None);
        assert_eq!(read("setup.py", "setup(python_requires=f'>={LOWEST}')"), None);
        assert_eq!(read("setup.py", "setup(python_requires=REQUIRES)"), None);
    }

    #[test]
    fn a_pin_is_a_version() {
        let directory = tempfile::tempdir().unwrap();
        for (text, version) in [
            ("3.12\n", Some("3.12")),
            ("# x\n3.11.4\n", Some("3.11.4")),
            ("cpython-3.12.3-linux-x86_64-gnu", Some("3.12.3")),
            ("cpython@3.13", Some("3.13")),
            ("python3.12", Some("3.12")),
            ("3.12.1 3.11.4", Some("3.12.1")),
            ("", None),
            ("3", None),
            ("system", None),
        ] {
            fs::write(directory.path().join(".python-version"), text).unwrap();
            assert_eq!(pinned(directory.path()), version.map(|text| Pin::Version(text.to_owned())), "{text}");
            assert_eq!(unused_pin(directory.path()), None);
        }
        for text in ["pypy3.10", "2.7.18", "shop-3.12", ">=x"] {
            fs::write(directory.path().join(".python-version"), text).unwrap();
            assert_eq!(pinned(directory.path()), Some(Pin::Other(text.to_owned())));
            let note = unused_pin(directory.path()).unwrap();
            assert!(note.starts_with(&format!(".python-version has no effect: `{text}` ")), "{note}");
        }
        fs::write(directory.path().join(".python-version"), ">= 3.12, <3.14\n").unwrap();
        let Some(Pin::Rule(rule)) = pinned(directory.path()) else { panic!() };
        let other = read("pyproject.toml", "[project]\nrequires-python = '<3.12 || >=3.13'").unwrap();
        let both = rule.and(Some(&other));
        let allowed = |rule: &RequiresPython| {
            (11..15).filter(|minor| rule.allows_some_of(&format!("3.{minor}"))).collect::<Vec<_>>()
        };
        assert_eq!((allowed(&rule), allowed(&both)), (vec![12, 13], vec![13]));
    }

    #[test]
    fn other_tools_pin_a_version_too() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let pin = || match pinned(directory.path()) {
            Some(Pin::Version(version)) => Some(version),
            _ => None,
        };
        write(".tool-versions", "nodejs 22.1.0\npython 3.11.9 3.10.2 # both\n");
        assert_eq!(pin().as_deref(), Some("3.11.9"));
        write("runtime.txt", "the runtime\n");
        assert_eq!(pin().as_deref(), Some("3.11.9"));
        write("runtime.txt", "python-3.12.4\n");
        assert_eq!(pin().as_deref(), Some("3.12.4"));
        write(".python-version", "pypy3.10\n");
        assert_eq!(pin(), None);
    }
}
