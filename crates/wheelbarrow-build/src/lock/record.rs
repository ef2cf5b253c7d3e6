//! What a lock by Wheelbarrow records of its inputs for a build that is given this lock with `--lock`:
//!
//! ```toml
//! [tool.wheelbarrow]
//! with = ["gunicorn"]
//!
//! [tool.wheelbarrow.files]
//! "requirements.txt" = "SHA-256, hexadecimal"
//! ```
//!
//! Only files of the project are recorded, by their paths below it, and only files that hold requirements and
//! little else: of pyproject.toml the tables that uv reads, so that a new version of the project changes
//! nothing; setup.py and setup.cfg not at all.

use std::path::Path;

use fs_err as fs;
use toml::{Table, Value};
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::SafePath;
use wheelbarrow_http::without_logins;

use super::Pylock;
use crate::inputs::Inputs;
use crate::inputs::requirements::Requirements;

/// What counts in a pyproject.toml.
const TABLES: [&[&str]; 9] = [
    &["project", "dependencies"],
    &["project", "optional-dependencies"],
    &["project", "requires-python"],
    &["dependency-groups"],
    &["build-system"],
    &["tool", "flit", "metadata"],
    &["tool", "poetry", "dependencies"],
    &["tool", "setuptools", "dynamic"],
    &["tool", "uv"],
];

/// The end of `[tool.wheelbarrow]`, and the table below it.
pub(super) fn text(project: &Path, inputs: &Inputs, requirements: &Requirements, with: &[String]) -> String {
    let mut files = Table::new();
    for (path, sha256) in &requirements.files {
        let recorded = if path.ends_with("pyproject.toml") { digest(path) } else { Some(sha256.to_string()) };
        if inputs.is_comparable(path)
            && let Some((name, recorded)) = name_below(project, path).zip(recorded)
        {
            files.insert(name, recorded.into());
        }
    }
    let with = Value::Array(with.iter().map(|with| without_logins(with).into()).collect());
    let files = if files.is_empty() { String::new() } else { format!("\n[tool.wheelbarrow.files]\n{files}") };
    format!("with = {with}\n{files}")
}

impl Pylock {
    /// Whether the lock was made with exactly these requirements beside its input.
    pub(super) fn has_with(&self, with: &[String]) -> bool {
        let recorded = self.tool.get("wheelbarrow").and_then(|ours| ours.get("with")?.as_array());
        recorded.is_some_and(|recorded| {
            recorded.len() == with.len()
                && recorded.iter().zip(with).all(|(one, other)| one.as_str() == Some(&*without_logins(other)))
        })
    }

    /// The first file of the project that has changed since the lock was made. A file that is gone has not.
    pub(super) fn changed_file(&self, project: &Path) -> Option<&str> {
        let files = self.tool.get("wheelbarrow")?.get("files")?.as_table()?;
        let is_changed = |(name, recorded): &(&String, &Value)| {
            SafePath::new(name.as_str()).is_ok()
                && digest(&project.join(name)).is_some_and(|now| Some(&*now) != recorded.as_str())
        };
        files.iter().find(is_changed).map(|(name, _)| name.as_str())
    }
}

fn name_below(project: &Path, path: &Path) -> Option<String> {
    let (project, path) = (std::path::absolute(project).ok()?, std::path::absolute(path).ok()?);
    let name = path.strip_prefix(project).ok()?.to_str()?;
    (path.is_file() && SafePath::new(name).is_ok()).then(|| name.to_owned())
}

fn digest(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let tables =
        String::from_utf8_lossy(&bytes).parse::<Table>().ok().filter(|_| path.ends_with("pyproject.toml"));
    Some(match tables {
        Some(document) => Sha256::of(requirements_of(&document).as_bytes()).to_string(),
        None => Sha256::of(&bytes).to_string(),
    })
}

fn requirements_of(document: &Table) -> String {
    let at = |keys: &&[&str]| {
        let found = keys[1..].iter().try_fold(document.get(keys[0])?, |value, key| value.get(*key))?;
        Some(format!("{keys:?} {found}\n"))
    };
    TABLES.iter().filter_map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_pyproject_only_requirements_count() {
        let of = |text: &str| requirements_of(&text.parse().unwrap());
        let project = "[project]\nname = 'x'\nversion = '1'\ndependencies = ['a']\n";
        assert_eq!(of(project), of(&format!("{}[tool.ruff]\n", project.replace("'1'", "'2'"))));
        assert_ne!(of(project), of(&project.replace("'a'", "'a', 'b'")));
        assert_ne!(of(project), of(&format!("{project}[dependency-groups]\nweb = ['gunicorn']\n")));
    }
}
