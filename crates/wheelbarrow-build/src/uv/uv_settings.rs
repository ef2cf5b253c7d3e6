//! uv's own settings that affect locking and building: `[tool.uv]`, uv.toml and variables.
//! <https://docs.astral.sh/uv/concepts/configuration-files/>

use std::env;
use std::path::{Path, PathBuf};

use fs_err as fs;
use toml::{Table, Value};
use wheelbarrow_base::{LARGEST_TEXT, read_regular, variable};
use wheelbarrow_http::without_logins;

use crate::inputs::formats::Formats;

use super::truthy;
use crate::{Error, Result};

/// Say where files come from and how they travel, not what is locked. A mirror here and none there shall not change the
/// lock back and forth.
const TRANSPORT: [&str; 24] = [
    "allow-insecure-host",
    "cache-dir",
    "cache-keys",
    "compile-bytecode",
    "concurrent-builds",
    "concurrent-downloads",
    "concurrent-installs",
    "default-index",
    "extra-index-url",
    "http-proxy",
    "https-proxy",
    "index",
    "index-url",
    "keyring-provider",
    "link-mode",
    "native-tls",
    "no-cache",
    "no-proxy",
    "offline",
    "preview",
    "python-downloads",
    "python-preference",
    "required-version",
    "system-certs",
];

/// What decides how a source is built.
const BUILD: [&str; 8] = [
    "build-constraint-dependencies",
    "config-settings",
    "config-settings-package",
    "extra-build-dependencies",
    "extra-build-variables",
    "no-build-isolation",
    "no-build-isolation-package",
    "sources",
];

/// Variables that decide what is locked; those after the first five name files.
const VARIABLES: [&str; 11] = [
    "UV_PRERELEASE",
    "UV_RESOLUTION",
    "UV_EXCLUDE_NEWER",
    "UV_FORK_STRATEGY",
    "UV_INDEX_STRATEGY",
    "UV_NO_SOURCES",
    "UV_TORCH_BACKEND",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_EXCLUDE",
    "UV_BUILD_CONSTRAINT",
];

/// The settings that uv uses for a project.
#[derive(Clone, Debug, Default)]
pub(crate) struct UvSettings {
    /// Where the project's settings stand, and what they are.
    pub(crate) project: Option<(PathBuf, Table)>,
    /// Of the user and of the system.
    machine: Vec<Table>,
}

/// The indexes among them.
#[derive(Debug, Default)]
pub(crate) struct IndexSettings {
    /// In the place of PyPI.
    pub(crate) default: Option<String>,
    pub(crate) others: Vec<String>,
}

impl UvSettings {
    pub(crate) fn read(project: &Path) -> Self {
        if variable(&["UV_NO_CONFIG"]).is_some_and(|text| truthy(&text)) {
            return Self::default();
        }
        if let Some(file) = file_variable("UV_CONFIG_FILE") {
            return Self { project: None, machine: table(&file).into_iter().collect() };
        }
        let project = std::path::absolute(project).unwrap_or_else(|_| project.to_path_buf());
        let is_workspace = |directory: &&Path| {
            of_pyproject(directory).is_some_and(|settings| settings.contains_key("workspace"))
        };
        let start = project.ancestors().find(is_workspace).unwrap_or(&project);
        let found = start.ancestors().find_map(|directory| Some((directory.to_path_buf(), of(directory)?)));
        Self { project: found, machine: of_machine() }
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        self.project.iter().map(|(_, table)| table).chain(&self.machine)
    }

    /// For a digest: everything that decides what is resolved.
    pub(crate) fn resolution(&self) -> String {
        let mut text = String::new();
        if let Some((_, table)) = &self.project {
            text.push_str(&without_logins(&table.to_string()));
        }
        for table in &self.machine {
            text.push_str(&only(table, &|key| !TRANSPORT.contains(&key)));
        }
        for name in VARIABLES {
            let Some(value) = variable(&[name]) else { continue };
            text.push_str(&format!("{name}={value}\n"));
            for file in value.split_whitespace().filter_map(|file| fs::read(file).ok()) {
                text.push_str(&wheelbarrow_artifact::manifest::Sha256::of(&file).to_string());
            }
        }
        text
    }

    /// For a digest: everything that decides how a source is built. Empty where nothing is set.
    pub(crate) fn building(&self) -> String {
        let mut text: String = self.tables().map(|table| only(table, &|key| BUILD.contains(&key))).collect();
        for name in ["UV_BUILD_CONSTRAINT", "UV_NO_BUILD_ISOLATION"] {
            let Some(value) = variable(&[name]) else { continue };
            text.push_str(&format!("{name}={value}\n"));
            for file in value.split_whitespace().filter_map(|file| fs::read(file).ok()) {
                text.push_str(&wheelbarrow_artifact::manifest::Sha256::of(&file).to_string());
            }
        }
        text
    }

    /// URLs, logins included.
    pub(crate) fn indexes(&self) -> IndexSettings {
        let mut found = IndexSettings::default();
        let text = |table: &Table, key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
        let list =
            |table: &Table, key: &str| table.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let pips = self.tables().filter_map(|table| table.get("pip").and_then(Value::as_table));
        for table in self.tables().chain(pips) {
            for index in list(table, "index").iter().filter_map(Value::as_table) {
                let Some(url) = text(index, "url") else { continue };
                match index.get("default").and_then(Value::as_bool) {
                    Some(true) if found.default.is_none() => found.default = Some(url),
                    _ => found.others.push(url),
                }
            }
            found.default = found.default.or_else(|| text(table, "index-url"));
            found
                .others
                .extend(list(table, "extra-index-url").iter().filter_map(Value::as_str).map(str::to_owned));
        }
        found
    }

    /// Whether wheels and sources may be used: `no-binary-package` and its like.
    pub(crate) fn formats(&self) -> Formats {
        let mut formats = Formats::default();
        // The nearest comes last, and so wins.
        for table in self.tables().collect::<Vec<_>>().into_iter().rev() {
            let pip = table.get("pip").and_then(Value::as_table);
            for table in [Some(table), pip].into_iter().flatten() {
                add(&mut formats, table);
            }
        }
        let set = |name: &str| variable(&[name]);
        let is_set = |name: &str| set(name).is_some_and(|text| truthy(&text));
        if is_set("UV_NO_BUILD") {
            formats.only_binary(":all:");
        }
        if is_set("UV_NO_BINARY") {
            formats.no_binary(":all:");
        }
        formats.only_binary(&set("UV_NO_BUILD_PACKAGE").unwrap_or_default());
        formats.no_binary(&set("UV_NO_BINARY_PACKAGE").unwrap_or_default());
        formats
    }
}

fn add(formats: &mut Formats, table: &Table) {
    let is_true = |key: &str| table.get(key).and_then(Value::as_bool) == Some(true);
    let list = |key: &str| {
        let items = table.get(key).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>().join(",")
    };
    if is_true("no-build") {
        formats.only_binary(":all:");
    }
    if is_true("no-binary") {
        formats.no_binary(":all:");
    }
    ["no-build-package", "only-binary"].iter().for_each(|key| formats.only_binary(&list(key)));
    ["no-binary-package", "no-binary"].iter().for_each(|key| formats.no_binary(&list(key)));
}

/// The wanted keys of a table, and of `pip` in it, as text.
fn only(table: &Table, is_wanted: &dyn Fn(&str) -> bool) -> String {
    let mut kept: Table =
        table.clone().into_iter().filter(|(key, _)| key != "pip" && is_wanted(key)).collect();
    if let Some(pip) = table.get("pip").and_then(Value::as_table) {
        let pip: Table = pip.clone().into_iter().filter(|(key, _)| is_wanted(key)).collect();
        if !pip.is_empty() {
            kept.insert("pip".to_owned(), pip.into());
        }
    }
    if kept.is_empty() { String::new() } else { kept.to_string() }
}

/// The tables of uv's settings for a project, of the directories above it, of the user and of the system, the nearest
/// first: more than uv uses. What cannot be read is uv's to complain of.
pub(crate) fn all(project: &Path) -> Vec<Table> {
    let project = project.canonicalize().unwrap_or_else(|_| project.to_path_buf());
    let mut found: Vec<Table> = project.ancestors().filter_map(of).collect();
    found.extend(file_variable("UV_CONFIG_FILE").and_then(|file| table(&file)));
    found.extend(of_machine());
    found
}

/// Refuses a uv.toml that is not TOML, as uv does: settings that are passed over could be the project's own index.
pub(crate) fn check(project: &Path) -> Result<()> {
    if variable(&["UV_NO_CONFIG"]).is_some_and(|text| truthy(&text)) {
        return Ok(());
    }
    if let Some(file) = file_variable("UV_CONFIG_FILE") {
        return check_file(&file);
    }
    let project = std::path::absolute(project).unwrap_or_else(|_| project.to_path_buf());
    for directory in project.ancestors() {
        check_file(&directory.join("uv.toml"))?;
        if of(directory).is_some() {
            break;
        }
    }
    files_of_machine().try_for_each(|file| check_file(&file))
}

fn check_file(file: &Path) -> Result<()> {
    let Some(text) = read(file) else { return Ok(()) };
    let Err(error) = text.parse::<Table>() else { return Ok(()) };
    let start = error.span().map_or(0, |span| span.start);
    let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
    // Not the text of the line: it may have a login.
    Err(Error::UvSettings { path: file.to_path_buf(), line, reason: error.message().to_owned() })
}

/// A uv.toml hides the table beside it.
fn of(directory: &Path) -> Option<Table> {
    table(&directory.join("uv.toml")).or_else(|| of_pyproject(directory))
}

/// Whether the pyproject.toml of a directory has settings of uv.
pub(crate) fn is_in_pyproject(directory: &Path) -> bool {
    of_pyproject(directory).is_some()
}

fn of_pyproject(directory: &Path) -> Option<Table> {
    table(&directory.join("pyproject.toml"))?.get("tool")?.get("uv")?.as_table().cloned()
}

fn of_machine() -> Vec<Table> {
    files_of_machine().filter_map(|file| table(&file)).collect()
}

fn files_of_machine() -> impl Iterator<Item = PathBuf> {
    let user = file_variable("XDG_CONFIG_HOME").or_else(|| Some(file_variable("HOME")?.join(".config")));
    [user.map(|user| user.join("uv/uv.toml")), Some("/etc/uv/uv.toml".into())].into_iter().flatten()
}

fn table(file: &Path) -> Option<Table> {
    read(file)?.parse().ok()
}

/// A FIFO is not waited for.
fn read(file: &Path) -> Option<String> {
    String::from_utf8(read_regular(file, LARGEST_TEXT).ok()?).ok()
}

fn file_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from)
}
