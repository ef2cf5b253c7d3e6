//! Settings for a project, by looking at it. What is only guessed stands in comments.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use fs_err as fs;
use wheelbarrow_build::inputs::Inputs;
use wheelbarrow_build::project::{self, ProjectError, ProjectFile, Rules, Walk};
use wheelbarrow_build::{BuildError, Error};

use super::Settings;

/// Files larger than this are no settings.
const LARGEST: u64 = 1 << 20;

/// Whether a pyproject.toml has `[tool.wheelbarrow]`.
pub(crate) fn has_table(text: &str) -> bool {
    let document: toml::Table = text.parse().unwrap_or_default();
    document.get("tool").and_then(|tool| tool.get("wheelbarrow")).is_some()
}

/// The text of a table of settings; `table` is its name, empty for a whole file.
pub(crate) fn text(project: &Path, table: &str) -> Result<String, BuildError> {
    let settings = Settings::load(project).unwrap_or_default();
    let rules = Rules::Project { exclude: Vec::new() };
    let (files, _) = project::walk(&Walk { root: project.to_path_buf(), rules, ..Walk::default() })?;
    let mut text = String::new();
    if !table.is_empty() {
        let _ = writeln!(text, "[{table}]");
    }
    let real = project.canonicalize().unwrap_or_default();
    if settings.name.is_none() {
        setting(&mut text, "", "name", &quoted(&project::directory_name(&real)));
    }
    if settings.version.is_none() {
        setting(&mut text, "# ", "version", "\"1.0\"");
    }
    inputs(&mut text, project, settings.name.as_deref().unwrap_or_default())?;
    setting(
        &mut text,
        "# ",
        "python",
        "[\"3.12\"]  # the Pythons of the servers; without it, the python3 found here",
    );
    match project::find_import_path(project, &files, None) {
        Ok(path) if path.is_empty() => {}
        Ok(path) => {
            let _ = writeln!(
                text,
                "# {path}/ goes on sys.path, since manage.py or src/ is there; to change that:"
            );
            setting(&mut text, "# ", "import-path", &quoted(&path));
        }
        Err(ProjectError::SeveralManage { found, .. }) => {
            let first = found[0].trim_end_matches("/manage.py");
            let _ = writeln!(text, "# one of {}:", found.join(", "));
            setting(&mut text, "", "import-path", &quoted(first));
        }
        Err(error) => return Err(error.into()),
    }
    setting(&mut text, "# ", "exclude", "[\"/docs/\", \"/tests/\"]  # beside what .gitignore names");
    environment(&mut text, table, &files);
    Ok(text)
}

fn setting(text: &mut String, comment: &str, key: &str, value: &str) {
    let _ = writeln!(text, "{comment}{key} = {value}");
}

/// Named only where `build` would not find it by itself.
fn inputs(text: &mut String, project: &Path, name: &str) -> Result<(), BuildError> {
    match Inputs::discover(project, name) {
        Ok(inputs) => {
            let files = inputs.files();
            let shown =
                files.iter().map(|file| file.strip_prefix(project).unwrap_or(file).display().to_string());
            let _ = writeln!(text, "# dependencies: {}", shown.collect::<Vec<_>>().join(", "));
        }
        Err(Error::AmbiguousInputs { candidates, .. }) => {
            let _ = writeln!(text, "# one or more of {}:", candidates.join(", "));
            setting(text, "", "requirements", &format!("[{}]", quoted(&candidates[0])));
        }
        Err(Error::NoInputs { .. }) => setting(text, "# ", "requirements", "[\"requirements.txt\"]"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Variables without which the site would not start, as far as its settings say so.
fn environment(text: &mut String, table: &str, files: &[ProjectFile]) {
    let names = required_variables(files);
    if names.is_empty() {
        return;
    }
    let dot = if table.is_empty() { "" } else { "." };
    let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    let _ = writeln!(text, "\n# [{table}{dot}environment]");
    let _ = writeln!(text, "# required = [{}]  # os.environ[...] in the settings", names.join(", "));
}

/// The names in `os.environ["NAME"]` in files that look like settings.
fn required_variables(files: &[ProjectFile]) -> BTreeSet<String> {
    let is_settings = |file: &&ProjectFile| file.path.ends_with(".py") && file.path.contains("settings");
    let small =
        |file: &&ProjectFile| fs::metadata(&file.source).is_ok_and(|metadata| metadata.len() <= LARGEST);
    let mut names = BTreeSet::new();
    for file in files.iter().filter(is_settings).filter(small) {
        let text = fs::read_to_string(&file.source).unwrap_or_default();
        let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        names.extend(code.flat_map(|line| line.split("environ[").skip(1)).filter_map(string_literal));
    }
    names
}

/// `"NAME"]` or `'NAME']`.
fn string_literal(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (name, rest) = text[1..].split_once(quote)?;
    let is_name = !name.is_empty()
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    // An assignment sets it, and needs nothing.
    let assigns =
        rest.strip_prefix(']')?.trim_start().strip_prefix('=').is_some_and(|after| !after.starts_with('='));
    (is_name && !assigns).then(|| name.to_owned())
}

/// A JSON string without escapes beyond TOML's is a TOML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
