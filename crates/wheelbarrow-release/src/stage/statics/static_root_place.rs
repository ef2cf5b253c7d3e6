//! Whether a directory of a release may be given to the site's user for static files if no setting names it.
//!
//! A user who may write in a directory of a release may put modules there, and Python imports a directory as
//! a package by its name alone: a program of root that starts in the release would run them. The site, and so
//! the site's user, chooses the directory. So only a few names are accepted, which no program imports.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Component, Path};

use wheelbarrow_artifact::manifest::INTERPRETER;
use wheelbarrow_base::beneath::Directory;

/// What sites call the directory that collectstatic fills.
pub(super) const NAMES: [&str; 12] = [
    "static",
    "staticfiles",
    "static_files",
    "static-files",
    "static_root",
    "static-root",
    "staticroot",
    "static_collected",
    "collected",
    "collected_static",
    "collectstatic",
    "static_cdn",
];

/// Whether a path below a release is Wheelbarrow's, of the virtualenv or of a bundled Python, and so none for static files.
pub(super) fn is_own(below: &Path) -> bool {
    let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    !is_plain || [".wheelbarrow", "venv", INTERPRETER].iter().any(|own| below.starts_with(own))
}

/// Why the directory at a path below a release may not be given away; none if it may.
pub(super) fn problem(release: &Directory, below: &Path) -> io::Result<Option<String>> {
    if is_own(below) {
        return Ok(Some("it is in a part of the release that is not the site's".to_owned()));
    }
    let mut above = release.sub("")?;
    let mut parts = below.iter().peekable();
    while let Some(part) = parts.next() {
        let entries: Vec<OsString> = above.entries()?.into_iter().map(|(name, _)| name).collect();
        if entries.iter().any(|name| is_module(name, "__init__")) {
            return Ok(Some("it is in a Python package".to_owned()));
        }
        match above.sub(part) {
            Ok(found) if parts.peek().is_some() => above = found,
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            // The first that is not there yet, or the directory itself.
            found => {
                if let Ok(found) = found
                    && !found.entries()?.is_empty()
                {
                    return Ok(Some("the artifact has files there".to_owned()));
                }
                return name_problem(release, part, &entries);
            }
        }
    }
    Ok(Some("it is the release itself".to_owned()))
}

/// `beside` is what is in the directory where `name` would be.
fn name_problem(release: &Directory, name: &OsStr, beside: &[OsString]) -> io::Result<Option<String>> {
    let Some(name) = NAMES.into_iter().find(|known| name == *known) else {
        let name = name.to_string_lossy();
        return Ok(Some(format!("Python could import a package `{name}` from there")));
    };
    let mut is_taken = beside.iter().any(|entry| is_module(entry, name));
    for (python, _) in release.sub("venv/lib")?.entries()? {
        let Ok(packages) = release.sub(Path::new("venv/lib").join(python).join("site-packages")) else {
            continue;
        };
        is_taken |= packages.entries()?.iter().any(|(entry, _)| entry == name || is_module(entry, name));
    }
    Ok(is_taken.then(|| format!("the site has a module `{name}`")))
}

/// Whether a file has a module: `NAME.py`, `NAME.pyc`, `NAME.cpython-311-x86_64-linux-gnu.so`.
fn is_module(file: &OsStr, name: &str) -> bool {
    file.to_str().and_then(|file| file.strip_prefix(name)).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn what_python_could_import_is_not_given_away() {
        let release = tempfile::tempdir().unwrap();
        let at = |path: &str| release.path().join(path);
        for directory in [
            "code/pkg/sub",
            "code/plain",
            "code/static/css",
            "code/empty/collected",
            "venv/lib/python3.11/site-packages/static_cdn",
        ] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        for file in [
            "code/pkg/__init__.py",
            "code/staticfiles.py",
            "code/static/css/a.css",
            "code/collectstatic.cpython-311-x86_64-linux-gnu.so",
            "venv/lib/python3.11/site-packages/static_root.py",
        ] {
            fs::write(at(file), "").unwrap();
        }
        let open = Directory::open(release.path()).unwrap();
        let problem = |below: &str| problem(&open, Path::new(below)).unwrap();
        for refused in [
            "code",
            "code/json",
            "code/setproctitle",
            "code/sitecustomize",
            "code/__pycache__",
            "code/plain/__pycache__",
            "code/x.dist-info",
            "code/x.egg-info/static",
            "code/new/static",
            "code/pkg",
            "code/pkg/static",
            "code/pkg/sub/static",
            "code/static",
            "code/staticfiles",
            "code/static_cdn",
            "code/static_root",
            "code/collectstatic",
            "json",
            "json/static",
            "static/../json",
            "venv/lib/python3.11/site-packages/static",
            ".wheelbarrow/static",
            "python/static",
        ] {
            assert!(problem(refused).is_some(), "{refused}");
        }
        for free in [
            "static",
            "code/collected",
            "code/collected/site",
            "code/static-root",
            "code/static/collected",
            "code/plain/static",
            "code/empty/collected",
        ] {
            assert_eq!(problem(free), None, "{free}");
        }
    }
}
