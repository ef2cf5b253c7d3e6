//! Targets: which Python, on which machine, with which C library; and the interpreter that stands for it here.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder};
use wheelbarrow_artifact::interpreter::{Interpreter, Libc, ProbeError};
use wheelbarrow_wheel::tags::{self, CompatibleTags, Platform};

use crate::{Error, Result};

/// One system that the artifact is for.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildTarget {
    /// CPython's minor version: `3.12`.
    pub python: String,
    /// `cp312`, `cp37m`, `cp313t`.
    pub abi: String,
    /// On this machine and for this target; absent where only wheels can be taken.
    pub interpreter: Option<Interpreter>,
    /// `x86_64`, `aarch64`.
    pub machine: String,
    pub libc: Libc,
}

impl BuildTarget {
    fn of(interpreter: Interpreter) -> Self {
        Self {
            python: interpreter.minor_version(),
            abi: interpreter.abi.clone(),
            machine: interpreter.machine.clone(),
            libc: interpreter.libc.clone(),
            interpreter: Some(interpreter),
        }
    }

    /// Major and minor.
    pub fn version(&self) -> (u32, u32) {
        let (major, minor) = self.python.split_once('.').unwrap_or((&self.python, "0"));
        (major.parse().unwrap_or(3), minor.parse().unwrap_or(0))
    }

    /// `3.12.1`; `.0` where there is no interpreter to ask.
    pub fn full_version(&self) -> String {
        match &self.interpreter {
            Some(interpreter) => interpreter.version.map(|part| part.to_string()).join("."),
            None => format!("{}.0", self.python),
        }
    }

    pub fn platform(&self) -> Platform {
        let [major, minor] = self.libc.version;
        let libc = match self.libc.name.as_str() {
            "musl" => tags::Libc::Musl(major, minor),
            _ => tags::Libc::Glibc(major, minor),
        };
        Platform::Linux { machine: self.machine.clone(), libc }
    }

    /// What wheels it takes, best first.
    pub fn tags(&self) -> CompatibleTags {
        CompatibleTags::new(self.version(), &self.abi, &self.platform())
    }

    /// The environment that markers are evaluated in (PEP 508). `platform_release` and `platform_version` are of a
    /// kernel that is not known yet, and empty.
    pub fn markers(&self) -> MarkerEnvironment {
        let full = self.full_version();
        MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
            implementation_name: "cpython",
            implementation_version: &full,
            os_name: "posix",
            platform_machine: &self.machine,
            platform_python_implementation: "CPython",
            platform_release: "",
            platform_system: "Linux",
            platform_version: "",
            python_full_version: &full,
            python_version: &self.python,
            sys_platform: "linux",
        })
        .expect("versions made of numbers are versions")
    }
}

/// The target that `spec` names: a version such as `3.12`, a command on PATH such as `python3.12`, or a path.
///
/// A version is looked for on PATH, in `~/.pyenv/versions` and by `uv python find`. Where no interpreter has it, the
/// target has none, and the machine and C library are those of this machine.
pub fn find(spec: &str) -> Result<BuildTarget> {
    if spec.contains('/') {
        return probe(Path::new(spec)).map(BuildTarget::of);
    }
    let Some(wanted) = Wanted::parse(spec) else {
        let paths = on_path(spec);
        let path = paths.first().ok_or_else(|| Error::PythonSpec { spec: spec.to_owned() })?;
        return probe(path).map(BuildTarget::of);
    };
    let interpreter = candidates(&wanted).find_map(|path| probe(&path).ok().filter(|it| wanted.is(it)));
    if let Some(interpreter) = interpreter {
        return Ok(BuildTarget::of(interpreter));
    }
    let (machine, libc) = this_machine();
    Ok(BuildTarget { python: wanted.python(), abi: wanted.abi(), interpreter: None, machine, libc })
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

fn probe(path: &Path) -> Result<Interpreter> {
    let bad = |source: ProbeError| Error::BadPython { path: path.to_path_buf(), source };
    let interpreter = Interpreter::probe(path, None).map_err(bad)?;
    if interpreter.implementation == "cpython" {
        return Ok(interpreter);
    }
    Err(Error::NotCPython { path: path.to_path_buf(), what: interpreter.implementation })
}

/// A version as people write it.
struct Wanted {
    minor: u32,
    /// As in 3.13t (PEP 703).
    free_threaded: bool,
}

impl Wanted {
    fn parse(spec: &str) -> Option<Self> {
        let (digits, free_threaded) = match spec.strip_suffix('t') {
            Some(digits) => (digits, true),
            None => (spec, false),
        };
        let minor = digits.strip_prefix("3.")?;
        let minor = minor.bytes().all(|byte| byte.is_ascii_digit()).then(|| minor.parse().ok())??;
        Some(Self { minor, free_threaded })
    }

    fn python(&self) -> String {
        format!("3.{}", self.minor)
    }

    fn abi(&self) -> String {
        let suffix = match self.minor {
            _ if self.free_threaded => "t",
            ..8 => "m",
            _ => "",
        };
        format!("cp3{}{suffix}", self.minor)
    }

    fn is(&self, interpreter: &Interpreter) -> bool {
        interpreter.version[..2] == [3, self.minor] && interpreter.abi.ends_with('t') == self.free_threaded
    }
}

/// Programs that may be the wanted interpreter. Each must be asked: pyenv's shims are there for versions that are not,
/// and take their time, so they come behind what they lead to. uv is asked when all others failed.
fn candidates(wanted: &Wanted) -> impl Iterator<Item = PathBuf> {
    let python = wanted.python();
    let suffix = if wanted.free_threaded { "t" } else { "" };
    let is_shim = |path: &PathBuf| path.parent().is_some_and(|parent| parent.ends_with(".pyenv/shims"));
    let exact = on_path(&format!("python{python}{suffix}"));
    let (shims, others): (Vec<_>, Vec<_>) =
        ["python3", "python"].into_iter().flat_map(on_path).partition(is_shim);
    let (exact_shims, exact): (Vec<_>, Vec<_>) = exact.into_iter().partition(is_shim);
    let found = [exact, pyenv(&python), others, exact_shims, shims].concat();
    let version = format!("{python}{suffix}");
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
    fn versions_name_their_abi() {
        for (spec, abi) in [("3.6", "cp36m"), ("3.8", "cp38"), ("3.12", "cp312"), ("3.13t", "cp313t")] {
            assert_eq!(Wanted::parse(spec).unwrap().abi(), abi);
        }
        for bad in ["2.7", "3", "3.x", "3.", "312", "python3.12", "3.+1"] {
            assert!(Wanted::parse(bad).is_none(), "{bad}");
        }
    }

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
