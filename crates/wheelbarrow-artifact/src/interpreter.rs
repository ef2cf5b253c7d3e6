//! Facts that only a running interpreter knows, as JSON from the embedded `interpreter.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use wheelbarrow_base::{Exit, Explain, json};
use wheelbarrow_platform::{AbiTag, Libc, MinorVersion};

/// The facts of one interpreter. Every path of the virtualenv is relative to it, with `/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The base interpreter, never one inside a virtualenv.
    pub executable: PathBuf,
    /// Major, minor, micro.
    pub version: [u32; 3],
    /// `sys.implementation.name`; only `cpython` is served.
    pub implementation: String,
    /// As in file names of bytecode: `cpython-312`.
    pub cache_tag: String,
    /// The magic number of its bytecode, hexadecimal.
    pub magic: String,
    /// The ABI tag: `cp312`, `cp37m`, `cp313t`.
    pub abi: AbiTag,
    /// `x86_64`, `aarch64`, `i686`: the interpreter's own, which may be narrower than the kernel's.
    pub machine: String,
    pub libc: Libc,
    /// `lib/python3.12/site-packages`.
    pub site_packages: String,
    /// Where headers go: `include/site/python3.12`.
    pub headers: String,
    /// Variables without which it does not start, such as LD_LIBRARY_PATH of a software collection.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// What `python -m venv` would make; absent when no destination was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtualenv: Option<Virtualenv>,
}

/// The virtualenv without its packages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Virtualenv {
    /// Its final absolute path, the one the texts below name.
    pub path: PathBuf,
    /// To be made, parents first.
    pub directories: Vec<String>,
    /// Link, then target.
    pub links: Vec<(String, String)>,
    pub files: Vec<VirtualenvFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VirtualenvFile {
    pub path: String,
    pub text: String,
    pub executable: bool,
}

/// In characters.
const LONGEST_REASON: usize = 300;

/// An interpreter that cannot be used.
#[derive(thiserror::Error)]
pub enum ProbeError {
    #[error("cannot run {}", path.display())]
    Run { path: PathBuf, source: std::io::Error },
    #[error("{} does not run as a Python 3: {message}", path.display())]
    Failed { path: PathBuf, message: String },
    #[error("{} gave facts that cannot be read", path.display())]
    Facts { path: PathBuf, source: serde_json::Error },
}

wheelbarrow_base::debug_error!(ProbeError);

impl Explain for ProbeError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }

    fn hint(&self) -> Option<String> {
        Some("`--python PATH` names another; it must be a CPython, from 3.6 on".to_owned())
    }
}

impl Interpreter {
    /// `3.12`.
    pub fn minor_version(&self) -> MinorVersion {
        MinorVersion::new(self.version[0], self.version[1])
    }

    /// The interpreter with `compile.py`, which says what to write to it and what it answers. The same modules get the
    /// same answers: nothing of this process's environment makes a difference.
    pub fn compiler(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.envs(&self.environment);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PYTHON") {
                command.env_remove(name);
            }
        }
        command.args(["-s", "-S", "-B", "-c", crate::python::COMPILE]);
        command.env("PYTHONHASHSEED", "0").env("PYTHONUTF8", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `python` isolated and reads what it says. With `virtualenv`, an absolute path, it also tells what a
    /// virtualenv there would hold.
    pub fn probe(python: &Path, virtualenv: Option<&Path>) -> Result<Self, ProbeError> {
        Self::probe_with(python, virtualenv, &BTreeMap::new())
    }

    /// The same with these variables beside those of this process.
    pub fn probe_with(
        python: &Path,
        virtualenv: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ProbeError> {
        let mut command = Command::new(python);
        command.envs(environment);
        command.args(["-I", "-S", "-c", crate::python::INTERPRETER]).stdin(Stdio::null());
        // Isolated mode heeds these two all the same.
        command.args(virtualenv).env_remove("PYTHONEXECUTABLE").env_remove("__PYVENV_LAUNCHER__");
        let path = || python.to_path_buf();
        let output = command.output().map_err(|source| ProbeError::Run { path: path(), source })?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            // Python's own reason comes last, that of a wrapper first.
            let mut lines = message.trim().lines();
            let first = lines.next().unwrap_or("no reason");
            let message = if first.starts_with("Traceback") { lines.last().unwrap_or(first) } else { first };
            // Another program repeats its arguments, which are long.
            let message = message.chars().take(LONGEST_REASON).collect::<String>();
            return Err(ProbeError::Failed { path: path(), message });
        }
        json::from_slice(&output.stdout).map_err(|source| ProbeError::Facts { path: path(), source })
    }
}
