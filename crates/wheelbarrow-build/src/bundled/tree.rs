//! The files of a standalone Python that a site needs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fs_err as fs;
use walkdir::WalkDir;

use crate::project::{FileContent, ProjectFile};
use crate::{Error, Result};

/// Below `lib/pythonX.Y`: tests, programs with windows, what installs and builds packages.
const NOT_IN_LIBRARY: [&str; 7] =
    ["ensurepip", "idlelib", "site-packages", "test", "tests", "tkinter", "turtledemo"];
/// What names of files and directories below `lib` begin with: Tcl and Tk.
const NOT_IN_LIB: [&str; 8] = ["Tix", "itcl", "libtcl", "libtk", "pkgconfig", "tcl", "thread", "tk"];
/// Modules of the standard library that only its own tests and windows use.
const NOT_LOADED: [&str; 4] = ["_test", "_tkinter", "_ctypes_test", "xxlimited"];

/// Where a tree comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A directory of this machine. A file that a link leads to, wherever it is, is a part of that Python.
    Directory,
    /// Whoever made the archive knows nothing of the files of this machine.
    Archive,
}

/// Copies what a site needs.
pub(super) fn copy(from: &Path, to: &Path, origin: Origin) -> Result<()> {
    let walk = WalkDir::new(from).sort_by_file_name().into_iter();
    let wanted = |entry: &walkdir::DirEntry| {
        entry.path().strip_prefix(from).is_ok_and(|path| path.as_os_str().is_empty() || is_wanted(path))
    };
    for entry in walk.filter_entry(wanted) {
        let entry = entry.map_err(|error| Error::io("read", from)(error.into()))?;
        let path = entry.path();
        let place = to.join(path.strip_prefix(from).unwrap_or(path));
        if entry.file_type().is_dir() {
            fs::create_dir_all(&place).map_err(Error::io("make", &place))?;
        } else if entry.file_type().is_symlink() {
            let target = fs::read_link(path).map_err(Error::io("read", path))?;
            // One that leads out of the tree is not of it.
            let leads_to =
                path.parent().map(|parent| parent.join(&target)).and_then(|to| to.canonicalize().ok());
            let inside =
                from.canonicalize().ok().zip(leads_to).is_some_and(|(from, to)| to.starts_with(from));
            if inside && target.is_relative() {
                fs::os::unix::fs::symlink(target, &place).map_err(Error::io("link", &place))?;
            } else if path.is_file() && (inside || origin == Origin::Directory) {
                copy_file(path, &place)?;
            }
        } else if entry.file_type().is_file() {
            copy_file(path, &place)?;
        }
    }
    Ok(())
}

/// Of the mode, only whether the file is executable.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map_err(Error::io("copy", from))?;
    let mode = fs::metadata(to).map_err(Error::io("read", to))?.permissions().mode();
    let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
    fs::set_permissions(to, Permissions::from_mode(mode)).map_err(Error::io("change the mode of", to))
}

fn is_wanted(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let name = parts.last().map(|name| &**name).unwrap_or_default();
    if name == "__pycache__" || name.ends_with(".a") || name.ends_with(".pyc") {
        return false;
    }
    match parts.iter().map(|part| &**part).collect::<Vec<_>>()[..] {
        ["bin" | "lib"] => true,
        ["bin", name] => name.starts_with("python") && !name.ends_with("-config"),
        ["lib", name] => !NOT_IN_LIB.iter().any(|start| name.starts_with(start)),
        ["lib", _, name] if NOT_IN_LIBRARY.contains(&name) || name.starts_with("config-") => false,
        ["lib", _, "lib-dynload", name] => !NOT_LOADED.iter().any(|start| name.starts_with(start)),
        ["lib", _, .., "test" | "tests"] => false,
        ["lib", ..] => true,
        _ => false,
    }
}

/// All files and links of a tree, in the order of their paths.
pub(super) fn files(tree: &Path) -> Result<Vec<ProjectFile>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(tree) {
        let entry = entry.map_err(|error| Error::io("read", tree)(error.into()))?;
        let source = entry.path().to_path_buf();
        let path = source.strip_prefix(tree).unwrap_or(&source).to_string_lossy().into_owned();
        let content = if entry.file_type().is_symlink() {
            let target = fs::read_link(&source).map_err(Error::io("read", &source))?;
            FileContent::Link { target: target.to_string_lossy().into_owned() }
        } else if entry.file_type().is_file() {
            let metadata = entry.metadata().map_err(|error| Error::io("read", &source)(error.into()))?;
            FileContent::File { size: metadata.len(), executable: metadata.permissions().mode() & 0o111 != 0 }
        } else {
            continue;
        };
        files.push(ProjectFile { path, source, content });
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn an_archive_brings_no_files_of_this_machine() {
        let place = tempfile::tempdir().unwrap();
        let path = |below: &str| place.path().join(below);
        fs::create_dir_all(path("from/lib/python3.12")).unwrap();
        fs::write(path("secret"), "x").unwrap();
        fs::write(path("from/lib/python3.12/a.py"), "").unwrap();
        let setuid = Permissions::from_mode(0o4777);
        fs::set_permissions(path("from/lib/python3.12/a.py"), setuid).unwrap();
        for (target, name) in [(path("secret"), "s.py"), (PathBuf::from("a.py"), "b.py")] {
            fs::os::unix::fs::symlink(target, path("from/lib/python3.12").join(name)).unwrap();
        }
        for (origin, to, has_secret) in [(Origin::Archive, "one", false), (Origin::Directory, "two", true)] {
            copy(&path("from"), &path(to), origin).unwrap();
            let library = path(to).join("lib/python3.12");
            assert_eq!(library.join("s.py").exists(), has_secret);
            assert!(library.join("b.py").is_symlink());
            assert_eq!(fs::metadata(library.join("a.py")).unwrap().permissions().mode() & 0o7777, 0o755);
        }
    }

    #[test]
    fn a_site_needs_no_tests_and_no_windows() {
        let wanted = |path: &str| is_wanted(Path::new(path));
        for path in
            ["bin/python3.12", "bin/python3", "lib/libpython3.12.so.1.0", "lib/python3.12/json/decoder.py"]
        {
            assert!(wanted(path), "{path}");
        }
        for path in [
            "bin/pip3",
            "bin/python3.12-config",
            "include/python3.12",
            "lib/tcl8.6",
            "lib/python3.12/test",
            "lib/python3.12/ctypes/test",
            "lib/python3.12/site-packages",
            "lib/python3.12/lib-dynload/_tkinter.cpython-312-x86_64-linux-gnu.so",
            "lib/python3.12/config-3.12-x86_64-linux-gnu",
            "share",
        ] {
            assert!(!wanted(path), "{path}");
        }
    }
}
