//! Paths in a lock, which are relative to its directory.

use std::path::{Component, Path, PathBuf};

use url::Url;

use crate::{Error, Result};

/// The directory of a lock that is to be written.
pub(super) fn absolute_parent(lock_out: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(lock_out).map_err(Error::io("find", lock_out))?;
    Ok(absolute.parent().unwrap_or(Path::new("/")).to_path_buf())
}

/// Files of `--find-links` directories, which uv names by absolute URLs, by `path` below `directory`, so that the lock
/// holds in another checkout too.
pub(super) fn relative_files(text: &str, directory: &Path) -> String {
    const START: &str = "{ url = \"file://";
    let mut relative = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        let after = &rest[at + START.len()..];
        let end = after.find('"').unwrap_or(after.len());
        let file =
            Url::parse(&format!("file://{}", &after[..end])).ok().and_then(|url| url.to_file_path().ok());
        relative.push_str(&rest[..at]);
        match file {
            Some(file) => {
                let path = toml::Value::String(path_between(directory, &file).to_string_lossy().into_owned());
                relative.push_str(&format!("{{ path = {path}"));
                rest = after.get(end + 1..).unwrap_or_default();
            }
            None => {
                relative.push_str(START);
                rest = after;
            }
        }
    }
    relative + rest
}

/// Relative paths of packages that start at `from`, as uv writes them, by paths that start at `directory`.
pub(super) fn rebased(text: &str, from: &Path, directory: &Path) -> String {
    const START: &str = "{ path = \"";
    let mut parts = text.split(START);
    let mut rebased = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        rebased.push_str(START);
        let (path, rest) = part.split_at(part.find('"').unwrap_or(part.len()));
        // One with a character that TOML escapes stays as it is.
        match from == directory || path.starts_with('/') || path.contains('\\') {
            true => rebased.push_str(path),
            false => rebased.push_str(&path_between(directory, &from.join(path)).to_string_lossy()),
        }
        rebased.push_str(rest);
    }
    rebased
}

/// From one absolute directory to an absolute file.
pub(super) fn path_between(directory: &Path, file: &Path) -> PathBuf {
    let shared =
        directory.components().zip(file.components()).take_while(|(one, other)| one == other).count();
    let up = directory.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(file.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_uv_lock_start_at_the_new_lock() {
        let text = "directory = { path = \"packages/a\", editable = true }\nwheels = [{ path = \"/x/b.whl\" }, { path = \"c.whl\" }]";
        let expected = "directory = { path = \"../site/packages/a\", editable = true }\nwheels = [{ path = \"/x/b.whl\" }, { path = \"../site/c.whl\" }]";
        let (site, out) = (Path::new("/work/site"), Path::new("/work/out"));
        assert_eq!(rebased(text, site, out), expected);
        assert_eq!(rebased(text, site, site), text);
    }

    #[test]
    fn local_files_are_named_from_the_lock() {
        let text =
            "wheels = [{ url = \"file:///work/links/a%20b.whl\", size = 3 }, { url = \"https://h/c.whl\" }]";
        let expected = "wheels = [{ path = \"../links/a b.whl\", size = 3 }, { url = \"https://h/c.whl\" }]";
        assert_eq!(relative_files(text, Path::new("/work/out")), expected);
        let elsewhere = "{ url = \"file://host/share/a.whl\" }";
        assert_eq!(relative_files(elsewhere, Path::new("/work")), elsewhere);
        assert_eq!(path_between(Path::new("/a/b"), Path::new("/a/b/c/d")), Path::new("c/d"));
    }
}
