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
    /// Every wheel of the site, and nothing else.
    pub wheels: PathBuf,
    pub requirements: PathBuf,
    pub artifact: PathBuf,
    pub artifact_without_bytecode: PathBuf,
    pub floor: PathBuf,
    wheelbarrow: PathBuf,
    project: PathBuf,
}

impl Setup {
    pub(crate) fn prepare() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?.to_path_buf();
        let binaries = std::env::current_exe()?.parent().context("no directory of programs")?.to_path_buf();
        let directory = root.join("target/bench");
        fs::create_dir_all(&directory)?;
        let setup = Self {
            python: find_python()?,
            wheels: directory.join("wheels"),
            requirements: root.join("benches/site106.txt"),
            artifact: directory.join("site106.zip"),
            artifact_without_bytecode: directory.join("site106-without-bytecode.zip"),
            floor: binaries.join("floor"),
            wheelbarrow: binaries.join("wheelbarrow"),
            project: directory.join("project"),
            directory,
        };
        setup.tools()?;
        setup.download()?;
        fs::create_dir_all(&setup.project)?;
        fs::write(setup.project.join("manage.py"), "print('a site')\n")?;
        // Fills the cache, compiles the bytecode and writes the lock.
        eprintln!("building the artifact of site106");
        succeed(setup.build(&setup.artifact).args(["--bytecode", "always"]))?;
        succeed(setup.build(&setup.artifact_without_bytecode).args(["--bytecode", "never"]))?;
        Ok(setup)
    }

    /// `wheelbarrow build` of the site, offline.
    pub(crate) fn build(&self, output: &Path) -> Command {
        let mut command = self.clean(&self.wheelbarrow);
        command
            .arg("build")
            .arg(&self.project)
            .arg("-r")
            .arg(&self.requirements)
            .arg("--python")
            .arg(&self.python);
        command.arg("--cache-dir").arg(self.directory.join("cache"));
        command.args(["--quiet", "-o"]).arg(output).env("UV", self.tool("uv"));
        command
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

    fn download(&self) -> Result<()> {
        if self.directory.join("wheels.complete").exists() {
            return Ok(());
        }
        eprintln!("fetching the wheels of site106 into target/bench/wheels");
        let mut pip = self.clean(&self.python);
        pip.args(["-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "-r"])
            .arg(&self.requirements);
        succeed(pip.arg("-d").arg(&self.wheels))?;
        Ok(fs::write(self.directory.join("wheels.complete"), "")?)
    }
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

fn succeed(command: &mut Command) -> Result<()> {
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
