//! The digest of a source directory: names, modes and contents of its files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;
use wheelbarrow_artifact::manifest::Sha256;

use super::repository;
use crate::above::DOT_GIT;
use crate::cache::hash_file;
use crate::own::ProjectTree;
use crate::project::{FileContent, ProjectFile};
use crate::{Error, Result};

/// Directories that no wheel is made from, at any depth.
const NOWHERE: [&str; 7] = [".git", ".hg", ".svn", "__pycache__", ".tox", ".mypy_cache", ".pytest_cache"];

/// What builds and people leave lying about at the top; a package of that name is none of it.
const NOT_ON_TOP: [&str; 4] = [".venv", "venv", "build", "dist"];

/// SHA-256 over `path NUL mode NUL sha256-or-link LF` of each file and link, in the order of their paths.
pub(super) fn digest(directory: &Path) -> Result<Sha256> {
    let mut text = Vec::new();
    for entry in walk(directory) {
        let entry = entry?;
        let path = entry.path();
        let content = if entry.file_type().is_file() {
            hash_file(path)?.0.to_string()
        } else if entry.file_type().is_symlink() {
            let target = fs_err::read_link(path).map_err(Error::io("read", path))?;
            target.to_string_lossy().into_owned()
        } else {
            continue;
        };
        let mode = entry.metadata().map_or(0, |metadata| metadata.permissions().mode() & 0o111);
        let name = path.strip_prefix(directory).unwrap_or(path).to_string_lossy();
        text.extend_from_slice(format!("{name}\0{}\0{content}\n", u8::from(mode != 0)).as_bytes());
    }
    Ok(Sha256::of(&text))
}

/// Copies what [`digest`] looks at, to where [`repository::place`] puts it in `to`. Links are copied as links.
pub(super) fn copy(from: &Path, to: &Path) -> Result<PathBuf> {
    let top = to;
    let to = repository::place(from, top)?;
    for entry in walk(from) {
        let entry = entry?;
        let place = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        let path = entry.path();
        if entry.file_type().is_dir() {
            fs_err::create_dir_all(&place).map_err(Error::io("make", &place))?;
        } else if entry.file_type().is_symlink() {
            let target = fs_err::read_link(path).map_err(Error::io("read", path))?;
            fs_err::os::unix::fs::symlink(target, &place).map_err(Error::io("link", &place))?;
        } else if entry.file_type().is_file() {
            fs_err::copy(path, &place).map_err(Error::io("copy", path))?;
        }
    }
    repository::pass_over_missing(from, top);
    Ok(to)
}

/// The digest of the project's files, as [`digest`] makes it of a directory.
pub(super) fn digest_of(project: &ProjectTree) -> Result<Sha256> {
    let mut text = Vec::new();
    for ProjectFile { path, source, content } in &project.files {
        let (content, executable) = match content {
            FileContent::File { executable, .. } => (hash_file(source)?.0.to_string(), *executable),
            FileContent::Link { target } => (target.clone(), false),
        };
        text.extend_from_slice(format!("{path}\0{}\0{content}\n", u8::from(executable)).as_bytes());
    }
    Ok(Sha256::of(&text))
}

/// Copies what [`digest_of`] looks at, as [`copy`] does.
pub(super) fn copy_of(project: &ProjectTree, to: &Path) -> Result<PathBuf> {
    let top = to;
    let to = repository::place(&project.root, top)?;
    for ProjectFile { path, source, content } in &project.files {
        let place = to.join(path);
        let parent = place.parent().unwrap_or(&to);
        fs_err::create_dir_all(parent).map_err(Error::io("make", parent))?;
        match content {
            FileContent::File { .. } => {
                fs_err::copy(source, &place).map(drop).map_err(Error::io("copy", source))?
            }
            FileContent::Link { target } => {
                fs_err::os::unix::fs::symlink(target, &place).map_err(Error::io("link", &place))?;
            }
        }
    }
    repository::pass_over_missing(&project.root, top);
    Ok(to)
}

/// Entries in the order of their names, without what is passed over.
fn walk(directory: &Path) -> impl Iterator<Item = Result<walkdir::DirEntry>> {
    let directory = directory.to_path_buf();
    WalkDir::new(&directory).sort_by_file_name().into_iter().filter_entry(is_source).map(move |entry| {
        entry.map_err(|error| {
            let path = error.path().unwrap_or(&directory).to_path_buf();
            Error::Io { action: "read", path, source: error.into() }
        })
    })
}

fn is_source(entry: &walkdir::DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    let on_top =
        entry.depth() == 1 && NOT_ON_TOP.contains(&&*name) && !entry.path().join("__init__.py").exists();
    let passed_over = on_top || NOWHERE.contains(&&*name) || name.ends_with(".egg-info");
    // In a submodule or a worktree, it is a file.
    entry.depth() == 0 || !(name == DOT_GIT || (entry.file_type().is_dir() && passed_over))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_file_is_not_copied() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs_err::create_dir(&from).unwrap();
        fs_err::write(from.join(DOT_GIT), "gitdir: ../elsewhere\n").unwrap();
        fs_err::write(from.join("a.py"), "").unwrap();
        assert_eq!(copy(&from, &to).unwrap(), to);
        assert!(to.join("a.py").exists() && !to.join(DOT_GIT).exists());
    }
}
