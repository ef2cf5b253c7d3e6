//! What the benchmarks need, made once in `target/bench` and kept.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;

pub(crate) struct Setup {
    /// `target/bench`.
    pub directory: PathBuf,
    /// A CPython 3.11, which the lists of wheels are made for.
    pub python: PathBuf,
    pub floor: PathBuf,
    /// The floor of a build.
    pub copy: PathBuf,
    pub wheelbarrow: PathBuf,
}

impl Setup {
    pub(crate) fn prepare(python: Option<PathBuf>) -> Result<Self> {
        let binaries = match std::env::var_os("WHEELBARROW_PROGRAMS") {
            Some(directory) => directory.into(),
            None => std::env::current_exe()?.parent().context("no directory of programs")?.to_path_buf(),
        };
        let directory = workspace()?.join("target/bench");
        fs::create_dir_all(&directory)?;
        let setup = Self {
            python: python.map_or_else(find_python, Ok)?,
            floor: binaries.join("floor"),
            copy: binaries.join("copy"),
            wheelbarrow: binaries.join("wheelbarrow"),
            directory,
        };
        setup.tools()?;
        Ok(setup)
    }

    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.directory.join("tools/bin").join(name)
    }

    /// A command that no PIP_, UV_ or PYTHON variable of this machine steers, but for what a private network needs.
    pub(crate) fn clean(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let steers =
                ["PIP_", "UV_", "PYTHON", "PEX_", "SHIV_"].iter().any(|prefix| text.starts_with(prefix));
            if steers && !["PIP_CERT", "PIP_INDEX_URL", "UV_INDEX_URL"].contains(&text.as_ref()) {
                command.env_remove(name);
            }
        }
        command
    }

    fn tools(&self) -> Result<()> {
        if self.tool("shiv").exists() {
            return Ok(());
        }
        eprintln!("installing uv, pex and shiv into target/bench/tools");
        succeed(self.clean(&self.python).args(["-m", "venv"]).arg(self.directory.join("tools")))?;
        succeed(self.clean(&self.tool("python")).args(["-m", "pip", "install", "-q", "uv", "pex", "shiv"]))
    }
}

pub(crate) fn workspace() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?.to_path_buf())
}

pub(crate) fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn find_python() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let mut candidates = vec![PathBuf::from("python3.11")];
    if let Ok(versions) = fs::read_dir(home.join(".pyenv/versions")) {
        candidates.extend(versions.flatten().map(|version| version.path().join("bin/python3.11")));
    }
    candidates.push(PathBuf::from("/usr/bin/python3.11"));
    for candidate in candidates {
        let mut command = Command::new(&candidate);
        command.args(["-c", "import sys; print(sys.executable)"]);
        if let Ok(output) = command.output().and_then(|output| {
            if output.status.success() { Ok(output) } else { Err(std::io::ErrorKind::NotFound.into()) }
        }) {
            return Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()));
        }
    }
    bail!("the lists of wheels are made for CPython 3.11, and this machine has none")
}

pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if status.success() { Ok(()) } else { bail!("{command:?} failed: {status}") }
}

/// The processor, its cores and the kernel.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{}, {} cores, Linux {}",
        model.trim_start_matches(['\t', ' ', ':']),
        wheelbarrow_artifact::threads(),
        kernel.trim()
    )
}
