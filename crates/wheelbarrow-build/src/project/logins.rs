//! Finds passwords and tokens of indexes in packed files: every user who may read an artifact or a release could read
//! them.

use std::path::Path;

use fs_err as fs;

use super::{FileContent, ProjectError, ProjectFile};

/// Files in which tools look for addresses of indexes.
const NAMES: [&str; 12] = [
    "wheelbarrow.toml",
    "pyproject.toml",
    "uv.toml",
    "uv.lock",
    "poetry.toml",
    "poetry.lock",
    "pdm.lock",
    "Pipfile",
    "Pipfile.lock",
    "pip.conf",
    "setup.cfg",
    "tox.ini",
];

/// Other files of a project that have commands with such addresses, beside [`WORKFLOWS`]. Many have a login of a test server.
const NOTED: [&str; 10] = [
    "Containerfile",
    "Dockerfile",
    "Makefile",
    ".gitlab-ci.yml",
    "environment.yaml",
    "environment.yml",
    "justfile",
    "noxfile.py",
    "pixi.toml",
    "setup.py",
];

const WORKFLOWS: &str = ".github/workflows/";

/// Bytes. Larger files are not searched: nobody writes such files by hand.
const LARGEST: u64 = 16 << 20;

/// Refuses such a file, or one of `inputs`, with a password or a token in an address. Gives a note for each file of other tools
/// that has one.
pub fn check_logins(files: &[ProjectFile], inputs: &[&Path]) -> Result<Vec<String>, ProjectError> {
    let inputs: Vec<_> = inputs.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    let mut notes = Vec::new();
    for file in files {
        let FileContent::File { size: ..=LARGEST, .. } = file.content else { continue };
        let path = &file.path;
        let is_refused = has_indexes(path) || inputs.contains(&file.source);
        if !is_refused && !path.starts_with(WORKFLOWS) && !NOTED.contains(&name_of(path)) {
            continue;
        }
        let text = fs::read(&file.source).map_err(ProjectError::read(&file.source))?;
        let line = String::from_utf8_lossy(&text).lines().position(wheelbarrow_http::has_secret);
        let Some(line) = line.map(|line| line + 1) else { continue };
        if is_refused {
            return Err(ProjectError::Login { path: path.clone(), line });
        }
        notes.push(format!(
            "line {line} of {path} has a password or a token in a URL, and every user of a host can read it in a release: \
             `/{path}` in .wheelbarrowignore leaves it out"
        ));
    }
    Ok(notes)
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn has_indexes(path: &str) -> bool {
    let name = name_of(path);
    let is_lock = name.starts_with("pylock.") && name.ends_with(".toml");
    let is_text = [".txt", ".in", ".pip"].iter().any(|end| name.ends_with(end));
    let is_requirements = || ["requirements", "constraints"].iter().any(|part| path.contains(part));
    NAMES.contains(&name) || is_lock || (is_text && is_requirements())
}
