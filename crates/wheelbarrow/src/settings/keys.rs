//! The known keys, and proposals for unknown ones.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::{SettingsError, line, suggestion, syntax};
use super::shape;

pub(super) const TOP: [&str; 23] = [
    "audit",
    "build",
    "bytecode",
    "environment",
    "exclude",
    "extra-index-url",
    "extras",
    "find-links",
    "groups",
    "import-path",
    "index-url",
    "install-project",
    "lock",
    "name",
    "output",
    "python",
    "release",
    "requirements",
    "shebang",
    "static",
    "target",
    "version",
    "with",
];

const AUDIT: [&str; 1] = ["allow"];
const BUILD: [&str; 5] = ["collectstatic", "container", "container-engine", "environment", "packages"];
const TARGET: [&str; 4] = ["container", "libraries", "packages", "target"];
const ENVIRONMENT: [&str; 3] = ["precedence", "private", "required"];

/// Tables of Wheelbarrow's settings at the top level of pyproject.toml, where they have no effect.
pub(super) fn misplaced(text: &str) -> Vec<&'static str> {
    let document: toml::Table = text.parse().unwrap_or_default();
    let is_table = |key: &&str| document.get(*key).is_some_and(|value| value.is_table() || value.is_array());
    ["audit", "build", "environment", "release", "target"].into_iter().filter(is_table).collect()
}

/// Refuses unknown keys in the table at `place`, going by the text, since only there they have lines.
pub(super) fn check(path: &Path, text: &str, place: &[&str]) -> Result<(), SettingsError> {
    let document = DeTable::parse(text).map_err(|error| syntax(path, text, &error))?;
    let mut table = document.get_ref();
    for key in place {
        match table.get(*key).and_then(|value| value.get_ref().as_table()) {
            Some(inner) => table = inner,
            None => return Ok(()),
        }
    }
    check_table(path, text, table, &TOP, "")?;
    for (name, known) in
        [("audit", &AUDIT[..]), ("environment", &ENVIRONMENT), ("build", &BUILD), ("target", &TARGET)]
    {
        let inner = match table.get(name).map(|value| value.get_ref()) {
            Some(DeValue::Table(inner)) => vec![inner],
            Some(DeValue::Array(list)) => {
                list.iter().filter_map(|value| value.get_ref().as_table()).collect()
            }
            _ => Vec::new(),
        };
        for inner in inner {
            check_table(path, text, inner, known, &format!("{name}."))?;
        }
    }
    shape::check(path, text, table)
}

fn check_table(
    path: &Path,
    text: &str,
    table: &DeTable<'_>,
    known: &[&str],
    prefix: &str,
) -> Result<(), SettingsError> {
    let unknown = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
    let Some(first) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
    let key = first.get_ref().as_ref();
    Err(SettingsError::Unknown {
        path: path.to_path_buf(),
        line: line(text, first.span().start),
        key: format!("{prefix}{key}"),
        suggestion: suggestion(key, known).map(|name| format!("{prefix}{name}")),
        known: known.iter().map(|name| (*name).to_owned()).collect(),
    })
}
