//! Installs from files on this machine, every cache cold.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::empty;
use crate::measure::{self, Contender, Table};
use crate::setup::Setup;
use crate::site::Site;

/// Where an install goes, and by whom.
pub(super) struct Install<'s> {
    setup: &'s Setup,
    site: &'s Site,
    destination: PathBuf,
    cache: PathBuf,
    virtualenv: PathBuf,
}

/// Everything is ready to serve: bytecode is in place, except where a name says otherwise.
pub(crate) fn with_bytecode(
    setup: &Setup,
    site: &Site,
    disk: &str,
    place: &Path,
    rounds: usize,
) -> Result<Table> {
    let install = Install::new(setup, site, place);
    let contenders = vec![
        Contender::new("`./site.zip -d DEST`", vec![install.ours(&site.artifact)]),
        Contender::new("the floor: inflate and write", vec![install.floor(&site.artifact)]),
        Contender::new("`uv venv`, `uv pip install`, no bytecode", install.uv(None)),
        Contender::new(
            "`uv venv`, `uv pip install --compile-bytecode`",
            install.uv(Some("--compile-bytecode")),
        )
        .at_most(3),
        Contender::new("`pex venv --compile` from a PEX", vec![install.pex()]).at_most(3),
        Contender::new("`python -m venv`, `pip install`", install.pip(None)).at_most(3),
    ];
    let title = format!("Cold install of {} on {disk}, with bytecode, virtualenv included", site.name);
    measure::interleave(&title, contenders, rounds, || empty(place))
}

pub(crate) fn without_bytecode(
    setup: &Setup,
    site: &Site,
    disk: &str,
    place: &Path,
    rounds: usize,
) -> Result<Table> {
    let install = Install::new(setup, site, place);
    let mut ours = install.ours(&site.artifact_without_bytecode);
    ours.arg("--compile=never");
    let mut bootstrap = install.ours(&site.artifact_without_bytecode);
    bootstrap.args(["--compile=never", "--bootstrap"]);
    let contenders = vec![
        Contender::new("`./site.zip -d DEST`", vec![ours]),
        Contender::new("the floor: inflate and write", vec![install.floor(&site.artifact_without_bytecode)]),
        Contender::new("`uv venv`, `uv pip install`", install.uv(None)),
        Contender::new("`./site.zip -d DEST --bootstrap`", vec![bootstrap]).at_most(3),
        Contender::new("`python -m venv`, `pip install --no-compile`", install.pip(Some("--no-compile")))
            .at_most(3),
    ];
    let title = format!("Cold install of {} on {disk}, without bytecode, virtualenv included", site.name);
    measure::interleave(&title, contenders, rounds, || empty(place))
}

impl<'s> Install<'s> {
    pub(super) fn new(setup: &'s Setup, site: &'s Site, place: &Path) -> Self {
        let destination = place.join("site");
        let virtualenv = destination.join("venv");
        Self { setup, site, destination, cache: place.join("cache"), virtualenv }
    }

    pub(super) fn ours(&self, artifact: &Path) -> Command {
        let mut ours = Command::new(&self.setup.python);
        ours.arg(artifact).arg("-d").arg(&self.destination).arg("--quiet");
        ours
    }

    fn floor(&self, artifact: &Path) -> Command {
        let mut floor = Command::new(&self.setup.floor);
        floor.arg(artifact).arg(&self.destination);
        floor
    }

    pub(super) fn uv(&self, argument: Option<&str>) -> Vec<Command> {
        let mut venv = self.setup.clean(&self.setup.tool("uv"));
        venv.args(["venv", "--quiet", "--offline", "--python"]).arg(&self.setup.python).arg(&self.virtualenv);
        let mut uv = self.setup.clean(&self.setup.tool("uv"));
        uv.args(["pip", "install", "--quiet", "--offline", "--no-index", "--no-deps", "--require-hashes"]);
        uv.arg("--find-links").arg(&self.site.wheels).arg("--cache-dir").arg(&self.cache);
        uv.arg("--python").arg(self.virtualenv.join("bin/python")).arg("-r").arg(&self.site.requirements);
        uv.args(argument);
        vec![venv, uv]
    }

    fn pex(&self) -> Command {
        let mut pex = self.setup.clean(&self.setup.python);
        pex.arg(&self.site.pex).env("PEX_TOOLS", "1").env("PEX_ROOT", &self.cache);
        pex.args(["venv", "--compile"]).arg(&self.virtualenv);
        pex
    }

    fn pip(&self, compile: Option<&str>) -> Vec<Command> {
        let mut venv = self.setup.clean(&self.setup.python);
        venv.args(["-m", "venv"]).arg(&self.virtualenv);
        let mut pip = self.setup.clean(&self.virtualenv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--require-hashes"]);
        pip.args(compile).arg("--no-cache-dir").arg("--find-links").arg(&self.site.wheels);
        pip.arg("-r").arg(&self.site.requirements);
        vec![venv, pip]
    }
}
