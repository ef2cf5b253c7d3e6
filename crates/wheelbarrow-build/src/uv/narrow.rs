//! Resolves for the targets alone.
//!
//! `uv pip compile --universal` resolves for every later Python and every system, and fails if one of them
//! has no solution. Its settings can name the environments that count, but no flag or variable can; so uv
//! runs on a project in a temporary directory, which has the real project's settings and the environments of
//! the targets. <https://docs.astral.sh/uv/reference/settings/#environments>

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use pep508_rs::MarkerTree;
use toml::{Table, Value};
use url::Url;
use wheelbarrow_wheel::name::is_plain_marker;

use super::uv_settings::UvSettings;
use crate::target::BuildTarget;
use crate::{Error, Result};

/// Parts of a project that mean nothing, or something else, in another directory.
const LEFT_OUT: [&str; 7] =
    ["workspace", "sources", "package", "managed", "default-groups", "dev-dependencies", "build-backend"];

/// The directory that uv is pointed at. Dropped, it is removed.
pub(crate) struct Narrowed(tempfile::TempDir);

impl Narrowed {
    /// For `targets`, with the settings of `project`.
    pub(crate) fn new(project: &Path, targets: &[&BuildTarget]) -> Result<Self> {
        let (base, mut settings) = UvSettings::read(project).project.unwrap_or_default();
        settings.retain(|key, _| !LEFT_OUT.contains(&key));
        absolute_places(&mut settings, &base);
        if let Some(pip) = settings.get_mut("pip").and_then(Value::as_table_mut) {
            absolute_places(pip, &base);
        }
        let environments = environments(&settings, targets);
        settings.insert("environments".to_owned(), environments.into());
        let within = |key: &str, table: Table| Table::from_iter([(key.to_owned(), Value::Table(table))]);
        let document = within("tool", within("uv", settings));
        let text = toml::to_string(&document).unwrap_or_default();
        let directory = tempfile::Builder::new().prefix("wheelbarrow-").tempdir();
        let directory = directory.map_err(Error::io("write in", &std::env::temp_dir()))?;
        let path = directory.path().join("pyproject.toml");
        fs::write(&path, text).map_err(Error::io("write", &path))?;
        Ok(Self(directory))
    }

    /// Without the name of this directory, which nobody knows.
    pub(crate) fn replace_in(&self, stderr: &str) -> String {
        stderr.replace(&*self.0.path().join("pyproject.toml").to_string_lossy(), "the settings of uv")
    }

    pub(crate) fn point(&self, command: &mut Command) {
        command.arg("--project").arg(self.0.path());
    }
}

/// One marker for each Python. Those of the project's own settings must hold too.
fn environments(settings: &Table, targets: &[&BuildTarget]) -> Vec<Value> {
    let mut pythons: Vec<_> = targets.iter().map(|target| (target.version(), &target.python)).collect();
    pythons.sort();
    pythons.dedup();
    let ours: Vec<String> = pythons
        .iter()
        .map(|(_, python)| format!("python_version == '{python}' and sys_platform == 'linux'"))
        .collect();
    let theirs = settings.get("environments").map(|value| match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        other => other.as_str().map(str::to_owned).into_iter().collect::<Vec<_>>(),
    });
    let both = theirs.filter(|theirs| !theirs.is_empty()).map(|theirs| {
        let pairs =
            theirs.iter().flat_map(|their| ours.iter().map(move |our| format!("({their}) and {our}")));
        pairs
            .filter(|marker| {
                is_plain_marker(marker) && marker.parse().is_ok_and(|tree: MarkerTree| !tree.is_false())
            })
            .collect::<Vec<_>>()
    });
    // Where nothing is left the lock would be empty: uv shall say what the project's settings say.
    both.filter(|both| !both.is_empty()).unwrap_or(ours).into_iter().map(Value::from).collect()
}

/// Relative paths start where the settings stand.
fn absolute_places(settings: &mut Table, base: &Path) {
    let absolute = |value: &mut Value| {
        let Some(text) = value.as_str().filter(|text| Url::parse(text).is_err()) else { return };
        let path: PathBuf = base.join(text);
        *value = path.to_string_lossy().into_owned().into();
    };
    for key in ["find-links", "extra-index-url"] {
        let items = settings.get_mut(key).and_then(Value::as_array_mut);
        items.into_iter().flatten().for_each(absolute);
    }
    for key in ["index-url", "cache-dir"] {
        settings.get_mut(key).into_iter().for_each(absolute);
    }
    let indexes = settings.get_mut("index").and_then(Value::as_array_mut);
    indexes.into_iter().flatten().filter_map(|index| index.get_mut("url")).for_each(absolute);
}
