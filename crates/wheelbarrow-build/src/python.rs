//! The interpreters of this machine: by version, by name, by path.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use wheelbarrow_artifact::interpreter::{Interpreter, Libc, ProbeError};
use wheelbarrow_wheel::profile::PythonVersion;

use crate::target::{BuildTarget, TargetRequest};
use crate::{Error, Result};

/// The target that `spec` names: a version such as `3.12`, a command on PATH such as `python3.12`, or a path.
///
/// A version is looked for on PATH, in `~/.pyenv/versions` and by `uv python find`. Where no interpreter has it, the
/// target has none, and the machine and C library are those of this machine.
pub fn find(spec: &str) -> Result<BuildTarget> {
    if spec.contains('/') {
        return probe(Path::new(spec)).map(BuildTarget::of);
    }
    let Some(wanted) = PythonVersion::parse(spec) else {
        let paths = on_path(spec);
        let path = paths.first().ok_or_else(|| Error::PythonSpec { spec: spec.to_owned() })?;
        return probe(path).map(BuildTarget::of);
    };
    if let Some(interpreter) = interpreter(wanted) {
        return Ok(BuildTarget::of(interpreter));
    }
    let (machine, libc) = this_machine();
    Ok(BuildTarget {
        python: wanted.version(),
        abi: wanted.abi(),
        interpreter: None,
        machine,
        libc,
        spec: None,
        libraries: Vec::new(),
        container: None,
    })
}

/// The target that was asked for, with an interpreter of its version if this machine has one.
pub fn find_named(request: &TargetRequest) -> BuildTarget {
    BuildTarget::named(request, interpreter(request.spec.python))
}

fn interpreter(wanted: PythonVersion) -> Option<Interpreter> {
    let is = |interpreter: &Interpreter| {
        interpreter.version[..2] == [3, wanted.minor]
            && interpreter.abi.ends_with('t') == wanted.free_threaded
    };
    candidates(wanted).find_map(|path| probe(&path).ok().filter(is))
}

/// The target of the `python3` (or else `python`) on PATH, for when none is named.
pub fn find_default() -> Result<BuildTarget> {
    let mut tried = Vec::new();
    for path in ["python3", "python"].into_iter().flat_map(on_path) {
        match probe(&path) {
            Ok(interpreter) => return Ok(BuildTarget::of(interpreter)),
            Err(_) => tried.push(path.display().to_string()),
        }
    }
    Err(Error::NoPython { wanted: "3".to_owned(), tried })
}

/// What the interpreter at `path` is.
pub fn probe(path: &Path) -> Result<Interpreter> {
    let bad = |source: ProbeError| Error::BadPython { path: path.to_path_buf(), source };
    let interpreter = Interpreter::probe(path, None).map_err(bad)?;
    if interpreter.implementation == "cpython" {
        return Ok(interpreter);
    }
    Err(Error::NotCPython { path: path.to_path_buf(), what: interpreter.implementation })
}

/// Programs that may be the wanted interpreter. Each must be asked: pyenv's shims are there for versions that are not,
/// and take their time, so they come behind what they lead to. uv is asked when all others failed.
fn candidates(wanted: PythonVersion) -> impl Iterator<Item = PathBuf> {
    let (python, version) = (wanted.version(), wanted.to_string());
    let is_shim = |path: &PathBuf| path.parent().is_some_and(|parent| parent.ends_with(".pyenv/shims"));
    let exact = on_path(&format!("python{version}"));
    let (shims, others): (Vec<_>, Vec<_>) =
        ["python3", "python"].into_iter().flat_map(on_path).partition(is_shim);
    let (exact_shims, exact): (Vec<_>, Vec<_>) = exact.into_iter().partition(is_shim);
    let found = [exact, pyenv(&python), others, exact_shims, shims].concat();
    found.into_iter().chain(std::iter::once_with(move || by_uv(&version)).flatten())
}

/// The executable files called `name` on PATH, in its order.
pub(crate) fn on_path(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .filter(|program| is_executable(program))
        .collect()
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// `~/.pyenv/versions/X.Y*`, the newest first.
fn pyenv(python: &str) -> Vec<PathBuf> {
    let root = env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".pyenv")));
    let Some(entries) = root.and_then(|root| fs::read_dir(root.join("versions")).ok()) else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let micro = name.strip_prefix(python)?.strip_prefix('.')?.trim_end_matches('t').parse().ok()?;
            Some((micro, entry.path().join("bin/python")))
        })
        .collect();
    versions.sort_by_key(|(micro, _)| std::cmp::Reverse(*micro));
    versions.into_iter().map(|(_, path)| path).collect()
}

fn by_uv(version: &str) -> Option<PathBuf> {
    let uv = crate::uv::Uv::find()?;
    let output = uv
        .command()
        .args(["python", "find", "--no-python-downloads", "--no-project", "--system", version])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}

/// Machine and C library of this machine: as one of its Pythons tells, or `getconf`, or the oldest that is promised.
fn this_machine() -> (String, Libc) {
    for path in ["python3", "python"].into_iter().flat_map(on_path).chain(["/usr/bin/python3".into()]) {
        if let Ok(interpreter) = probe(&path) {
            return (interpreter.machine, interpreter.libc);
        }
    }
    let machine = env::consts::ARCH.to_owned();
    let version = glibc_version().unwrap_or([2, 17]);
    (machine, Libc { name: "glibc".to_owned(), version })
}

fn glibc_version() -> Option<[u32; 2]> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some([major.parse().ok()?, minor.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_nowhere_is_a_target_for_wheels() {
        let target = find("3.99").unwrap();
        assert_eq!((target.abi.as_str(), &target.interpreter), ("cp399", &None));
        assert_eq!(target.version(), (3, 99));
    }

    #[test]
    fn what_is_no_python_is_refused() {
        assert!(matches!(find("snake"), Err(Error::PythonSpec { .. })));
        assert!(matches!(find("/nowhere/python3"), Err(Error::BadPython { .. })));
    }
}
