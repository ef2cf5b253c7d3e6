//! Settings of a project: `wheelbarrow.toml` or `[tool.wheelbarrow]` in pyproject.toml.
//!
//! Both have the same keys (`docs/reference/settings.md`). Paths in them are relative to the file. Flags
//! override settings; the commands do that. An unknown key is an error, since it would be ignored otherwise.

mod detect;
mod error;
mod keys;
#[cfg(test)]
mod schema;
mod shape;
pub(crate) mod suggest;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;
use wheelbarrow_artifact::manifest::EnvironmentRules;
use wheelbarrow_artifact::release::ReleaseSettings;

pub(crate) use error::SettingsError;
use error::syntax;

/// The file of settings that stands by itself.
pub(crate) const OWN_FILE: &str = "wheelbarrow.toml";
pub(crate) const PYPROJECT: &str = "pyproject.toml";

/// Everything that can be set, paths made absolute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    #[serde(default)]
    pub(crate) python: Vec<String>,
    #[serde(default)]
    pub(crate) requirements: Vec<PathBuf>,
    pub(crate) lock: Option<PathBuf>,
    #[serde(default)]
    pub(crate) with: Vec<String>,
    #[serde(default)]
    pub(crate) extras: Vec<String>,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default, rename = "static")]
    pub(crate) static_directories: Vec<PathBuf>,
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    pub(crate) import_path: Option<String>,
    pub(crate) install_project: Option<bool>,
    pub(crate) shebang: Option<String>,
    pub(crate) output: Option<PathBuf>,
    pub(crate) bytecode: Option<wheelbarrow_build::bytecode::BytecodeMode>,
    pub(crate) index_url: Option<String>,
    #[serde(default)]
    pub(crate) extra_index_url: Vec<String>,
    #[serde(default)]
    pub(crate) find_links: Vec<String>,
    #[serde(default)]
    pub(crate) environment: EnvironmentRules,
    pub(crate) release: Option<ReleaseSettings>,
    #[serde(default)]
    pub(crate) audit: Audit,
    #[serde(default)]
    pub(crate) target: Vec<TargetSettings>,
    #[serde(default)]
    pub(crate) build: BuildSettings,
}

/// `[[target]]`: what is packed for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TargetSettings {
    /// As `--target` takes it.
    pub(crate) target: String,
    /// The image to build its sources in.
    pub(crate) container: Option<String>,
    /// Instead of those of `[build]`.
    pub(crate) packages: Option<Vec<String>>,
    /// Shared libraries that its servers have beside those of the system.
    #[serde(default)]
    pub(crate) libraries: Vec<String>,
}

/// `[build]`: where sources are built, and whether static files are collected.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct BuildSettings {
    pub(crate) container: Option<String>,
    pub(crate) container_engine: Option<String>,
    #[serde(default)]
    pub(crate) packages: Vec<String>,
    #[serde(default)]
    pub(crate) collectstatic: bool,
    pub(crate) environment: Option<BuildVariables>,
}

/// The environment of what runs at build.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum BuildVariables {
    /// A file of JSON.
    File(PathBuf),
    Table(BTreeMap<String, String>),
}

/// Values are shown nowhere.
impl fmt::Debug for BuildVariables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(formatter),
            Self::Table(variables) => formatter.debug_set().entries(variables.keys()).finish(),
        }
    }
}

/// What the audit lets pass.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Audit {
    /// `RULE:NAME=REASON`.
    #[serde(default)]
    pub(crate) allow: Vec<String>,
}

#[derive(Deserialize)]
struct Pyproject {
    project: Option<ProjectTable>,
    tool: Option<Tool>,
}

#[derive(Default, Deserialize)]
struct ProjectTable {
    name: Option<String>,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Tool {
    wheelbarrow: Option<Settings>,
}

impl Settings {
    /// What the files in the project directory say; nothing where there is none. The name and version of
    /// `[project]` in pyproject.toml stand in for those not set.
    pub(crate) fn load(project: &Path) -> Result<Self, SettingsError> {
        let (own, pyproject) = (project.join(OWN_FILE), project.join(PYPROJECT));
        let own_text = read(&own)?;
        let pyproject_text = read(&pyproject)?;
        let (table, tool) = match &pyproject_text {
            Some(text) => parse_pyproject(&pyproject, text)?,
            None => Default::default(),
        };
        let mut settings = match (own_text, tool) {
            (Some(_), Some(_)) => return Err(SettingsError::Both { own, pyproject }),
            (Some(text), None) => {
                keys::check(&own, &text, &[])?;
                toml::from_str(&text).map_err(|error| syntax(&own, &text, &error))?
            }
            (None, tool) => tool.unwrap_or_default(),
        };
        settings.name = settings.name.or(table.name);
        settings.version = settings.version.or(table.version);
        settings.resolve(project);
        Ok(settings)
    }

    fn resolve(&mut self, directory: &Path) {
        let paths = self.requirements.iter_mut().chain(&mut self.static_directories);
        let variables = match &mut self.build.environment {
            Some(BuildVariables::File(path)) => Some(path),
            _ => None,
        };
        for path in paths.chain(&mut self.lock).chain(&mut self.output).chain(variables) {
            *path = directory.join(&path);
        }
        for link in self.find_links.iter_mut().filter(|link| !link.contains("://")) {
            *link = directory.join(&link).display().to_string();
        }
        // A path of an interpreter has a slash; `3.12` and `python3.12` are names.
        for python in self.python.iter_mut().filter(|python| python.contains('/')) {
            *python = directory.join(&python).display().to_string();
        }
    }
}

/// A note for each table in pyproject.toml that lacks `tool.wheelbarrow.` in its name.
pub(crate) fn misplaced(project: &Path) -> Vec<String> {
    let text = read(&project.join(PYPROJECT)).ok().flatten().unwrap_or_default();
    let note = |table: &str| {
        format!(
            "{PYPROJECT} has a table [{table}], which has no effect: settings of Wheelbarrow are in [tool.wheelbarrow.{table}]"
        )
    };
    keys::misplaced(&text).into_iter().map(note).collect()
}

fn parse_pyproject(path: &Path, text: &str) -> Result<(ProjectTable, Option<Settings>), SettingsError> {
    keys::check(path, text, &["tool", "wheelbarrow"])?;
    let parsed: Pyproject = toml::from_str(text).map_err(|error| syntax(path, text, &error))?;
    Ok((parsed.project.unwrap_or_default(), parsed.tool.and_then(|tool| tool.wheelbarrow)))
}

fn read(path: &Path) -> Result<Option<String>, SettingsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
