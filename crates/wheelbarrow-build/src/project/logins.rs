//! Finds passwords of indexes in packed files: every user who may read an artifact or a release could read
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

/// Bytes. Larger files are not searched: nobody writes such files by hand.
const LARGEST: u64 = 16 << 20;

/// Refuses such a file, or one of `inputs`, with a password in an address.
pub fn check_logins(files: &[ProjectFile], inputs: &[&Path]) -> Result<(), ProjectError> {
    let inputs: Vec<_> = inputs.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    for file in files {
        let FileContent::File { size: ..=LARGEST, .. } = file.content else { continue };
        if !has_indexes(&file.path) && !inputs.contains(&file.source) {
            continue;
        }
        let text = fs::read(&file.source).map_err(ProjectError::read(&file.source))?;
        if wheelbarrow_http::has_password(&String::from_utf8_lossy(&text)) {
            return Err(ProjectError::Login { path: file.path.clone() });
        }
    }
    Ok(())
}

fn has_indexes(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_lock = name.starts_with("pylock.") && name.ends_with(".toml");
    let is_text = [".txt", ".in", ".pip"].iter().any(|end| name.ends_with(end));
    let is_requirements = || ["requirements", "constraints"].iter().any(|part| path.contains(part));
    NAMES.contains(&name) || is_lock || (is_text && is_requirements())
}
