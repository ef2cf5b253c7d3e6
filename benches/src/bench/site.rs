//! The sites that are built and installed, made once in `target/bench/SITE` and kept.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use fs_err as fs;

use crate::setup::{Setup, succeed, workspace};

pub(crate) struct Site {
    pub name: &'static str,
    /// Of every wheel, with hashes.
    pub requirements: PathBuf,
    /// Every wheel of the site, and nothing else.
    pub wheels: PathBuf,
    pub artifact: PathBuf,
    pub artifact_without_bytecode: PathBuf,
    /// The same wheels, as PEX packs them.
    pub pex: PathBuf,
    project: PathBuf,
    /// Has every wheel and its bytecode.
    pub cache: PathBuf,
}

impl Site {
    /// `name` is that of a list in `benches/`.
    pub(crate) fn prepare(setup: &Setup, name: &'static str) -> Result<Self> {
        let directory = setup.directory.join(name);
        let site = Self {
            name,
            requirements: workspace()?.join("benches").join(format!("{name}.txt")),
            wheels: directory.join("wheels"),
            artifact: directory.join("site.zip"),
            artifact_without_bytecode: directory.join("site-without-bytecode.zip"),
            pex: directory.join("site.pex"),
            project: directory.join("project"),
            cache: setup.directory.join("cache"),
        };
        fs::create_dir_all(&site.project)?;
        fs::write(site.project.join("manage.py"), "print('a site')\n")?;
        site.download(setup, &directory.join("wheels.complete"))?;
        // Fills the cache, compiles the bytecode and writes the lock.
        eprintln!("building the artifact of {name}");
        succeed(site.build(setup, &site.artifact).args(["--bytecode", "always"]))?;
        succeed(site.build(setup, &site.artifact_without_bytecode).args(["--bytecode", "never"]))?;
        Ok(site)
    }

    /// For those who compare with it.
    pub(crate) fn prepare_pex(&self, setup: &Setup) -> Result<()> {
        if self.pex.exists() {
            return Ok(());
        }
        eprintln!("building the PEX of {}", self.name);
        succeed(self.build_pex(setup, &self.pex).arg("--include-tools"))
    }

    /// `wheelbarrow build` of the site, offline.
    pub(crate) fn build(&self, setup: &Setup, output: &Path) -> Command {
        let mut command = setup.clean(&setup.wheelbarrow);
        command.arg("build").arg(&self.project).arg("-r").arg(&self.requirements);
        command.arg("--python").arg(&setup.python).arg("--cache-dir").arg(&self.cache);
        command.args(["--quiet", "-o"]).arg(output).env("UV", setup.tool("uv"));
        command
    }

    /// `wheelbarrow build` from the lock that [`Site::prepare`] left.
    pub(crate) fn build_from_lock(&self, setup: &Setup, cache: &Path, output: &Path) -> Command {
        let mut command = setup.clean(&setup.wheelbarrow);
        command.arg("build").arg(&self.project).arg("--lock");
        command.arg(self.artifact.with_file_name("pylock.project.toml"));
        command.arg("--python").arg(&setup.python).arg("--cache-dir").arg(cache);
        command.args(["--quiet", "-o"]).arg(output).env("UV", setup.tool("uv"));
        command
    }

    /// `pex --venv` of the same wheels.
    pub(crate) fn build_pex(&self, setup: &Setup, output: &Path) -> Command {
        let mut pex = setup.clean(&setup.tool("pex"));
        pex.args(["--no-pypi", "--intransitive", "-f"]).arg(&self.wheels).arg("-r").arg(&self.requirements);
        pex.arg("--python").arg(&setup.python).arg("--pex-root").arg(setup.directory.join("pex-root"));
        pex.args(["--venv", "-o"]).arg(output);
        pex
    }

    fn download(&self, setup: &Setup, complete: &Path) -> Result<()> {
        if complete.exists() {
            return Ok(());
        }
        eprintln!("fetching the wheels of {}", self.name);
        let mut pip = setup.clean(&setup.python);
        pip.args(["-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "-r"])
            .arg(&self.requirements);
        succeed(pip.arg("-d").arg(&self.wheels))?;
        Ok(fs::write(complete, "")?)
    }
}
