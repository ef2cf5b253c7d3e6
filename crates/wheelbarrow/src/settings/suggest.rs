//! Proposes settings for a project. Detected settings are written; decisions that the user has to make are
//! comments.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use wheelbarrow_build::inputs::{Inputs, workspace};
use wheelbarrow_build::project::{self, FileContent, ProjectError, ProjectFile, Walk, WalkRules};
use wheelbarrow_build::{BuildError, Error, own};

use super::Settings;
use super::detect::{self, DetectedSettings, Facts};

/// Whether a pyproject.toml has `[tool.wheelbarrow]`.
pub(crate) fn has_table(text: &str) -> bool {
    let document: toml::Table = text.parse().unwrap_or_default();
    document.get("tool").and_then(|tool| tool.get("wheelbarrow")).is_some()
}

/// The projects in a directory that is not a project itself, such as the parent of several checkouts. Empty if there are
/// fewer than two.
pub(crate) fn projects_below(project: &Path) -> Vec<String> {
    const MARKS: [&str; 6] =
        [".git", "manage.py", "pyproject.toml", "requirements.txt", "setup.py", "uv.lock"];
    let is_project = !matches!(Inputs::discover(project, ""), Err(Error::NoInputs { .. }));
    if is_project || project.join("manage.py").exists() {
        return Vec::new();
    }
    let entries = fs_err::read_dir(project).into_iter().flatten().flatten();
    let projects = entries.filter(|entry| MARKS.iter().any(|mark| entry.path().join(mark).exists()));
    let mut names: Vec<_> = projects.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    if names.len() > 1 { names } else { Vec::new() }
}

/// The text of a table of settings; `table` is its name, empty for a whole file.
pub(crate) fn text(project: &Path, table: &str) -> Result<String, BuildError> {
    let settings = Settings::load(project).unwrap_or_default();
    let rules = WalkRules::Project { exclude: Vec::new() };
    let (mut files, _) = project::walk(&Walk { root: project.to_path_buf(), rules, ..Walk::default() })?;
    let others: Vec<_> = projects_below(project).into_iter().skip(1).collect();
    files.retain(|file| !others.iter().any(|other| Path::new(&file.path).starts_with(other)));
    let mut text = String::new();
    if !table.is_empty() {
        let _ = writeln!(text, "[{table}]");
    }
    let real = project.canonicalize().unwrap_or_default();
    if settings.name.is_none() {
        match own::declared_name(&real).or_else(|| project::site_name(&real)) {
            Some(name) => setting(&mut text, "", "name", &quoted(&name)),
            None => {
                setting(
                    &mut text,
                    "",
                    "name",
                    "\"mysite\"  # that of the directory has no letter that is allowed",
                );
            }
        }
    }
    if settings.version.is_none() {
        setting(&mut text, "# ", "version", "\"1.0\"");
    }
    inputs(&mut text, project, settings.name.as_deref().unwrap_or_default())?;
    match detect::python(project) {
        Some(version) => setting(&mut text, "", "python", &format!("[{}]", quoted(&version))),
        None => setting(
            &mut text,
            "# ",
            "python",
            "[\"3.12\"]  # the Pythons of the servers; without it, the python3 found here",
        ),
    }
    let import_path = import_path(&mut text, project, &files)?;
    let members = workspace::members_of(project);
    let is_of_member =
        |file: &ProjectFile| members.iter().any(|member| Path::new(&file.path).starts_with(member));
    let files: Vec<_> = files.into_iter().filter(|file| !is_of_member(file)).collect();
    let mut found = detect::detect(&files, &import_path);
    let shared = SharedPaths::new(std::mem::take(&mut found.facts.shared), &files);
    match &shared.emptied[..] {
        [] => {
            setting(&mut text, "# ", "exclude", "[\"/docs/\", \"/tests/\"]  # beside what .gitignore names")
        }
        emptied => setting(
            &mut text,
            "",
            "exclude",
            &format!("{}  # beside what .gitignore names; the site writes there", list(emptied)),
        ),
    }
    let dot = if table.is_empty() { String::new() } else { format!("{table}.") };
    for (path, names) in project::env_files(&real, &files) {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "# {path} is not packed; on servers its variables belong into environment.json: {names}"
        );
    }
    sections(&mut text, &dot, &found, &shared);
    Ok(text)
}

/// Paths that the site writes to. A build refuses files of the project below a shared one.
#[derive(Default)]
struct SharedPaths {
    shared: Vec<String>,
    /// Of those, directories that have nothing but what keeps them in a checkout (`.gitignore`, `.gitkeep`), and empty
    /// files: for `exclude`.
    emptied: Vec<String>,
    /// Each with the first file of the project in it.
    occupied: Vec<(String, String)>,
}

impl SharedPaths {
    fn new(found: BTreeSet<String>, files: &[ProjectFile]) -> Self {
        let mut paths = Self::default();
        for path in found {
            let below = format!("{path}/");
            let mut inside =
                files.iter().filter(|file| file.path == path || file.path.starts_with(&below)).peekable();
            let first = inside.peek().map(|file| if file.path == path { &path } else { &below });
            let emptied = first.map(|first| format!("/{first}"));
            match inside.find(|file| !keeps_directory(file)) {
                Some(file) => paths.occupied.push((path, file.path.clone())),
                None => {
                    paths.emptied.extend(emptied);
                    paths.shared.push(path);
                }
            }
        }
        paths
    }
}

/// A file of git, or an empty one, which is there for the directory's sake.
fn keeps_directory(file: &ProjectFile) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    name.starts_with(".git") || matches!(file.content, FileContent::File { size: 0, .. })
}

/// Gives the directory that goes on `sys.path`.
fn import_path(text: &mut String, project: &Path, files: &[ProjectFile]) -> Result<String, BuildError> {
    match project::find_import_path(project, files, None) {
        Ok(path) if path.is_empty() => Ok(path),
        Ok(path) => {
            let _ = writeln!(
                text,
                "# {path}/ goes on sys.path, since manage.py or src/ is there; to change that:"
            );
            setting(text, "# ", "import-path", &quoted(&path));
            Ok(path)
        }
        Err(ProjectError::SeveralManage { found, .. }) => {
            let first = found[0].trim_end_matches("/manage.py");
            let _ = writeln!(text, "# one of {}:", found.join(", "));
            setting(text, "", "import-path", &quoted(first));
            Ok(first.to_owned())
        }
        Err(error) => Err(error.into()),
    }
}

/// The tables of what was found in the site's code.
fn sections(text: &mut String, dot: &str, found: &DetectedSettings, paths: &SharedPaths) {
    let Facts { required, static_root, remarks, .. } = &found.facts;
    if !required.is_empty() {
        let _ = writeln!(text, "\n[{dot}environment]");
        let names: Vec<_> = required.iter().collect();
        setting(text, "", "required", &format!("{}  # the settings have no default for them", list(&names)));
    }
    let DetectedSettings { settings, several_settings, application, candidates, prepare, workers, .. } =
        found;
    let SharedPaths { shared, occupied, .. } = paths;
    let nothing = settings.is_none()
        && application.is_none()
        && candidates.is_empty()
        && remarks.is_empty()
        && prepare.is_empty()
        && shared.is_empty();
    if !nothing {
        let _ = writeln!(text, "\n[{dot}release]");
    }
    for (key, value) in [("settings", settings), ("application", application)] {
        if let Some(value) = value {
            setting(text, "", key, &quoted(value));
        }
    }
    if !several_settings.is_empty() {
        let _ = writeln!(text, "# settings = one of {}", list(several_settings));
    }
    if !candidates.is_empty() {
        let _ = writeln!(text, "# application = one of {}", list(candidates));
    }
    if !prepare.is_empty() {
        setting(text, "", "prepare", &list(prepare));
    }
    if !shared.is_empty() {
        setting(text, "", "shared", &format!("{}  # the site writes there", list(shared)));
    }
    for (path, file) in occupied {
        let _ = writeln!(
            text,
            "# the site writes to {path}, which has files of the project ({file}): before it can be in `shared`, move them"
        );
    }
    if let Some(path) = static_root {
        setting(text, "", "static_root", &quoted(path));
    }
    for remark in remarks {
        let _ = writeln!(text, "# {remark}");
    }
    for (library, file, command) in workers {
        let _ = writeln!(text, "# {library} workers ({file}) need a unit of their own: {command}");
    }
}

fn list(items: &[impl AsRef<str>]) -> String {
    let items: Vec<_> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

fn setting(text: &mut String, comment: &str, key: &str, value: &str) {
    let _ = writeln!(text, "{comment}{key} = {value}");
}

/// Named only where `build` would not find it by itself.
fn inputs(text: &mut String, project: &Path, name: &str) -> Result<(), BuildError> {
    let real = project.canonicalize().unwrap_or_default();
    // A lock may be that of a workspace above.
    let shown = |file: &Path| {
        let below = |(up, above)| Some(Path::new(&"../".repeat(up)).join(file.strip_prefix(above).ok()?));
        let above = real.ancestors().enumerate().find_map(below);
        let shown = file.strip_prefix(project).map(Path::to_path_buf).ok().or(above);
        shown.unwrap_or_else(|| file.to_path_buf()).display().to_string()
    };
    match Inputs::discover(project, name) {
        Ok(inputs) => {
            let files = inputs.files();
            let shown: Vec<_> = files.iter().map(|file| shown(file)).collect();
            let _ = writeln!(text, "# dependencies: {}", shown.join(", "));
        }
        Err(Error::AmbiguousInputs { candidates, .. }) => {
            let _ = writeln!(text, "# one or more of {}:", candidates.join(", "));
            setting(text, "", "requirements", &format!("[{}]", quoted(&candidates[0])));
        }
        Err(Error::UnsupportedInput { path, export, .. }) => {
            let _ = writeln!(text, "# {} is not supported: `{export}`", shown(&path));
            setting(text, "", "requirements", "[\"requirements.txt\"]");
        }
        Err(Error::NoInputs { .. }) => setting(text, "# ", "requirements", "[\"requirements.txt\"]"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// A JSON string without escapes beyond TOML's is a TOML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
