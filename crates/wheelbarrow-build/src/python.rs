//! The interpreters of this machine: by version, by name, by path.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use wheelbarrow_artifact::interpreter::{Interpreter, ProbeError};
use wheelbarrow_platform::Libc;
use wheelbarrow_platform::PythonVersion;

use crate::programs::on_path;
use crate::requires_python::{self, Pin, RequiresPython};
use crate::target::{BuildTarget, TargetRequest};
use crate::{Error, Result};

/// The first minor version of Python 3 that is supported.
pub const OLDEST_MINOR: u32 = 6;

/// The target that `spec` names: a version such as `3.12` or `3.12.4`, a command on PATH such as `python3.12`, or a path.
///
/// A version is looked for on PATH, in `~/.pyenv/versions` and by `uv python find`. Where no interpreter has a minor
/// version, the target has none, and the machine and C library are those of this machine.
pub fn find(spec: &str) -> Result<BuildTarget> {
    if spec.contains('/') {
        return probe(Path::new(spec)).map(BuildTarget::of);
    }
    if !spec.starts_with(|first: char| first.is_ascii_digit()) {
        return find_command(spec);
    }
    let unsupported = || Error::UnsupportedPython { spec: spec.to_owned(), found: found() };
    let (minor, exact) = match spec.splitn(3, '.').collect::<Vec<_>>()[..] {
        ["3"] => return find_default(),
        ["3", minor] => (minor, None),
        ["3", minor, micro] => (minor, Some(micro.parse::<u64>().map_err(|_| unsupported())?)),
        _ => return Err(unsupported()),
    };
    let wanted = PythonVersion::parse(&format!("3.{minor}")).ok_or_else(unsupported)?;
    if wanted.minor < OLDEST_MINOR {
        return Err(unsupported());
    }
    if let Some(micro) = exact {
        let is_it = |interpreter: &Interpreter| u64::from(interpreter.version[2]) == micro;
        let interpreter = interpreters(wanted).find(is_it);
        return interpreter
            .map(BuildTarget::of)
            .ok_or_else(|| Error::NoPython { wanted: spec.to_owned(), found: found() });
    }
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

/// A command on PATH. A shim of pyenv stands for versions that are not chosen too, so others come first, and then the
/// version in its name.
fn find_command(name: &str) -> Result<BuildTarget> {
    let (shims, others): (Vec<_>, Vec<_>) = on_path(name).into_iter().partition(|path| is_shim(path));
    let mut refused = None;
    for path in others.iter().chain(&shims) {
        match probe(path) {
            Ok(interpreter) => return Ok(BuildTarget::of(interpreter)),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let version = name.strip_prefix("python").and_then(PythonVersion::parse);
    match (version.and_then(interpreter), refused) {
        (Some(interpreter), _) => Ok(BuildTarget::of(interpreter)),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::PythonSpec { spec: name.to_owned() }),
    }
}

fn interpreter(wanted: PythonVersion) -> Option<Interpreter> {
    interpreters(wanted).next()
}

/// Of that minor version, on this machine.
fn interpreters(wanted: PythonVersion) -> impl Iterator<Item = Interpreter> {
    let is = move |interpreter: &Interpreter| {
        interpreter.version[..2] == [3, wanted.minor]
            && interpreter.abi.ends_with('t') == wanted.free_threaded
    };
    candidates(wanted).filter_map(move |path| probe(&path).ok().filter(is))
}

/// The Pythons on PATH and in `~/.pyenv/versions`, the newest first.
fn local() -> Vec<Interpreter> {
    let minors = (OLDEST_MINOR..=20).map(|minor| format!("3.{minor}"));
    let mut paths: Vec<PathBuf> = ["python3", "python"].into_iter().flat_map(on_path).collect();
    for python in minors {
        paths.extend(on_path(&format!("python{python}")));
        paths.extend(pyenv(&python));
    }
    paths.retain(|path| !is_shim(path));
    paths.sort();
    paths.dedup_by_key(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    let mut found: Vec<Interpreter> = paths.iter().filter_map(|path| probe(path).ok()).collect();
    found.sort_by_key(|interpreter| std::cmp::Reverse(interpreter.version));
    found.dedup_by(|one, other| one.version == other.version && one.abi == other.abi);
    found
}

/// For messages: `3.12.4 (/usr/bin/python3.12)`.
pub(crate) fn found() -> Vec<String> {
    let shown = |interpreter: Interpreter| {
        let version = interpreter.version.map(|part| part.to_string()).join(".");
        format!("{version} ({})", interpreter.executable.display())
    };
    local().into_iter().map(shown).collect()
}

/// The target when none is named: the version in `.python-version` or its like, else the `python3` on PATH if the project allows
/// it, else the newest Python of this machine that it allows. A constraint in `.python-version` is a rule too.
pub fn find_for(project: &Path, rule: Option<&RequiresPython>) -> Result<BuildTarget> {
    let rule = match requires_python::pinned(project) {
        Some(Pin::Version(pin)) => {
            let minor = pin.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
            return find(&pin).or_else(|_| find(&minor));
        }
        Some(Pin::Rule(pin)) => Some(pin.and(rule)),
        Some(Pin::Other(_)) | None => rule.cloned(),
    };
    let default = find_default();
    let Some(rule) = rule else { return default };
    if let Ok(target) = default
        && rule.allows(&target)
    {
        return Ok(target);
    }
    newest_allowed(&rule).ok_or_else(|| Error::NoPython { wanted: rule.text.clone(), found: found() })
}

/// The newest Python of this machine that the rule allows.
pub(crate) fn newest_allowed(rule: &RequiresPython) -> Option<BuildTarget> {
    let by_uv = std::iter::once_with(|| probe(&by_uv(&rule.text)?).ok()).flatten();
    let mut targets =
        local().into_iter().filter(|it| !it.abi.ends_with('t')).chain(by_uv).map(BuildTarget::of);
    targets.find(|target| rule.allows(target))
}

/// The target of the `python3` (or else `python`) on PATH.
pub fn find_default() -> Result<BuildTarget> {
    let paths: Vec<_> = ["python3", "python"].into_iter().flat_map(on_path).collect();
    let mut interpreters = paths.iter().filter_map(|path| probe(path).ok());
    let interpreter = interpreters.next();
    interpreter.map(BuildTarget::of).ok_or_else(|| Error::NoPython { wanted: "3".to_owned(), found: found() })
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
    let exact = on_path(&format!("python{version}"));
    let (shims, others): (Vec<_>, Vec<_>) =
        ["python3", "python"].into_iter().flat_map(on_path).partition(|path| is_shim(path));
    let (exact_shims, exact): (Vec<_>, Vec<_>) = exact.into_iter().partition(|path| is_shim(path));
    let found = [exact, pyenv(&python), others, exact_shims, shims].concat();
    found.into_iter().chain(std::iter::once_with(move || by_uv(&version)).flatten())
}

/// Whether pyenv finds out at each run which version it stands for.
fn is_shim(path: &Path) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with(".pyenv/shims"))
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
        // Settings of the working directory could be another user's.
        .current_dir("/")
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
    (machine, glibc().unwrap_or(Libc::Glibc(2, 17)))
}

fn glibc() -> Option<Libc> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some(Libc::Glibc(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheelbarrow_base::Explain;

    #[test]
    fn a_version_that_is_nowhere_is_a_target_for_wheels() {
        let target = find("3.99").unwrap();
        assert_eq!((target.abi.as_str(), &target.interpreter), ("cp399", &None));
        assert_eq!(target.version(), (3, 99));
    }

    #[test]
    fn programs_other_than_python_are_refused() {
        assert!(matches!(find("snake"), Err(Error::PythonSpec { .. })));
        assert!(matches!(find("/nowhere/python3"), Err(Error::BadPython { .. })));
        for spec in ["2.7", "3.5", "4.0", "3.x", "3.12.x", "312"] {
            let error = find(spec).unwrap_err();
            assert!(matches!(error, Error::UnsupportedPython { .. }), "{spec}: {error}");
            assert_eq!(error.to_string(), format!("Python {spec} is not supported"));
            let hint = error.hint().unwrap();
            assert!(hint.contains("CPython from 3.6 on") && hint.contains("found here: 3."), "{hint}");
        }
    }

    #[test]
    fn a_whole_version_is_that_very_one() {
        let own = find_default().unwrap();
        let [major, minor, micro] = own.interpreter.as_ref().unwrap().version;
        let found = find(&format!("{major}.{minor}.{micro}")).unwrap();
        assert_eq!(found.full_version(), own.full_version());
        let error = find(&format!("{major}.{minor}.98")).unwrap_err();
        let hint = error.hint().unwrap();
        assert!(hint.contains(&format!("{major}.{minor}.{micro} (/")), "{error}: {hint}");
    }

    #[test]
    fn the_project_chooses_its_python() {
        let directory = tempfile::tempdir().unwrap();
        let own = find_default().unwrap();
        let rule = |text: &str| {
            let text = format!("[project]\nrequires-python = '{text}'\n");
            fs::write(directory.path().join("pyproject.toml"), text).unwrap();
            RequiresPython::read(directory.path()).unwrap()
        };
        let chosen = |text: &str| find_for(directory.path(), rule(text).as_ref());
        assert_eq!(chosen(">=3.6").unwrap().python, own.python);
        assert!(matches!(chosen(">=3.98"), Err(Error::NoPython { .. })));
        if let Ok(other) = chosen(&format!("!={}.*", own.python)) {
            assert_ne!(other.python, own.python);
        }
        let constraint = |text: &str| fs::write(directory.path().join(".python-version"), text).unwrap();
        constraint(">=3.6");
        assert_eq!(chosen(">=3.6").unwrap().python, own.python);
        constraint(">=3.98");
        assert!(matches!(chosen(">=3.6"), Err(Error::NoPython { .. })));
        fs::write(directory.path().join(".python-version"), "3.97\n").unwrap();
        assert_eq!(chosen(">=3.6").unwrap().python, "3.97");
    }
}
