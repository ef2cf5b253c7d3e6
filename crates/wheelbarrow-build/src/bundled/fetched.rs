//! A standalone Python that uv fetches.

use std::path::{Path, PathBuf};

use wheelbarrow_base::progress::Progress;

use crate::cache::{Cache, PYTHONS};
use crate::uv::{Uv, run, stderr_of};
use crate::{Error, Result};

/// `3.12`, `3.12.11`, `3.13t`.
pub(super) fn is_version(source: &Path) -> bool {
    let minor = source.to_str().and_then(|text| text.strip_prefix("3."));
    let minor = minor.map(|minor| minor.strip_suffix('t').unwrap_or(minor));
    minor.is_some_and(|minor| minor.split('.').all(|part| part.parse::<u32>().is_ok()))
}

/// The directory of a standalone build that uv fetches, from where uv's own settings say.
pub(super) fn fetch(
    version: &Path,
    project: &Path,
    cache: &Cache,
    offline: bool,
    progress: &dyn Progress,
) -> Result<PathBuf> {
    let uv = Uv::needed(String::new).map_err(|error| match error {
        Error::NoUv { .. } => Error::NoStandalone {
            path: version.to_path_buf(),
            reason: "uv, which fetches it, was not found".to_owned(),
        },
        error => error,
    })?;
    let directory = cache.root().join(PYTHONS);
    let command = |words: &[&str]| {
        let mut command = uv.command();
        command.args(words).arg(version).env("UV_PYTHON_DOWNLOADS", "manual");
        command.env("UV_PYTHON_INSTALL_DIR", &directory).current_dir(project);
        if offline {
            command.env("UV_OFFLINE", "1");
        }
        command
    };
    let find = || -> Result<Option<PathBuf>> {
        let output = run(&mut command(&["python", "find", "--managed-python", "--no-project"]))?;
        let program = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let prefix =
            program.canonicalize().ok().and_then(|program| Some(program.parent()?.parent()?.to_path_buf()));
        Ok(prefix.filter(|_| output.status.success()))
    };
    if let Some(found) = find()? {
        return Ok(found);
    }
    progress.note(&format!("fetching Python {} by uv", version.display()));
    let output = run(&mut command(&["python", "install", "--no-bin"]))?;
    match find()? {
        Some(found) if output.status.success() => Ok(found),
        _ => Err(Error::FetchPython { version: version.display().to_string(), stderr: stderr_of(&output) }),
    }
}
