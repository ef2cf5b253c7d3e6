//! `cargo xtask bench`: ourselves, the peers and the floor, interleaved in one run.
//!
//! Everything it needs beside Rust and a Python 3.11 it puts into `target/bench` by itself. Each round runs every
//! contender once, in turn, so that a machine that gets slower gets slower for all; medians are reported, and their
//! ratio to ours. Memory is the largest resident set of any process of a contender.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program, not a library")]

mod measure;
mod setup;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use fs_err as fs;

use crate::measure::{Contender, Table};
use crate::setup::Setup;

fn main() -> Result<()> {
    let mut rounds = 5;
    let mut only = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--rounds", Some(number)) => rounds = number.parse()?,
            ("--only", Some(name)) => only = Some(name),
            _ => bail!("usage: cargo xtask bench [--rounds N] [--only install|build]"),
        }
    }
    let setup = Setup::prepare()?;
    println!("{}\n", setup::machine());
    if only.as_deref().is_none_or(|only| only == "install") {
        for (name, place) in [("tmpfs", PathBuf::from("/dev/shm")), ("disk", setup.directory.clone())] {
            let place = place.join("wheelbarrow-bench");
            for bytecode in [Bytecode::Without, Bytecode::With] {
                println!("{}", installs(&setup, name, &place, bytecode, rounds)?);
            }
            let _ = fs::remove_dir_all(&place);
        }
    }
    if only.as_deref().is_none_or(|only| only == "build") {
        println!("{}", builds(&setup, rounds.min(3))?);
    }
    Ok(())
}

/// Installs of the 106 wheels from files on this machine, every cache cold.
fn installs(setup: &Setup, name: &str, place: &Path, bytecode: Bytecode, rounds: usize) -> Result<Table> {
    let (destination, cache) = (place.join("site"), place.join("cache"));
    let virtualenv = destination.join("venv");
    let fresh = {
        let place = place.to_path_buf();
        move || {
            let _ = fs::remove_dir_all(&place);
            fs::create_dir_all(&place)
        }
    };
    let (with, artifact) = match bytecode {
        Bytecode::With => (true, &setup.artifact),
        Bytecode::Without => (false, &setup.artifact_without_bytecode),
    };
    let wheels = setup.wheels.as_os_str();
    let mut ours = Command::new(&setup.python);
    ours.arg(artifact).arg("-d").arg(&destination).arg("--quiet");
    let mut floor = Command::new(&setup.floor);
    floor.arg(artifact).arg(&destination);
    let uv = |compile: bool| {
        let mut venv = setup.clean(&setup.tool("uv"));
        venv.args(["venv", "--quiet", "--offline", "--python"]).arg(&setup.python).arg(&virtualenv);
        let mut uv = setup.clean(&setup.tool("uv"));
        uv.args(["pip", "install", "--quiet", "--offline", "--no-index", "--no-deps", "--require-hashes"]);
        uv.arg("--find-links").arg(wheels).arg("--cache-dir").arg(&cache);
        uv.arg("--python").arg(virtualenv.join("bin/python")).arg("-r").arg(&setup.requirements);
        uv.args(compile.then_some("--compile-bytecode"));
        vec![venv, uv]
    };
    let mut venv = setup.clean(&setup.python);
    venv.args(["-m", "venv"]).arg(&virtualenv);
    let mut pip = setup.clean(&virtualenv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--require-hashes"]);
    pip.args((!with).then_some("--no-compile"));
    pip.arg("--no-cache-dir").arg("--find-links").arg(wheels).arg("-r").arg(&setup.requirements);
    let mut contenders = vec![
        Contender::new("wheelbarrow: ./site.zip -d DEST", vec![ours]),
        Contender::new("the floor: inflate and write", vec![floor]),
        Contender::new("uv venv, uv pip install, cold cache, no bytecode", uv(false)),
    ];
    if with {
        let name = "uv venv, uv pip install --compile-bytecode, cold cache";
        contenders.push(Contender::new(name, uv(true)).at_most(2));
        contenders.push(Contender::new("python -m venv, pip install", vec![venv, pip]).at_most(2));
    } else {
        let mut bootstrap = Command::new(&setup.python);
        bootstrap.arg(artifact).arg("-d").arg(&destination).args(["--quiet", "--bootstrap"]);
        contenders
            .push(Contender::new("wheelbarrow: ./site.zip -d DEST --bootstrap", vec![bootstrap]).at_most(2));
        contenders
            .push(Contender::new("python -m venv, pip install --no-compile", vec![venv, pip]).at_most(2));
    }
    let without = if with { "with" } else { "without" };
    let title = format!("Install of site106 on {name}, {without} bytecode, virtualenv included");
    measure::interleave(&title, contenders, rounds, fresh)
}

#[derive(Clone, Copy)]
enum Bytecode {
    With,
    Without,
}

/// Builds from the same wheels on disk, without network, whatever a tool caches warm.
fn builds(setup: &Setup, rounds: usize) -> Result<Table> {
    let place = setup.directory.join("builds");
    let fresh = {
        let place = place.clone();
        move || {
            let _ = fs::remove_dir_all(&place);
            fs::create_dir_all(&place)
        }
    };
    let mut build = setup.build(&place.join("site.zip"));
    build.args(["--offline", "--bytecode", "never"]);
    let mut with_bytecode = setup.build(&place.join("site.zip"));
    with_bytecode.args(["--offline", "--bytecode", "always"]);
    let mut pex = setup.clean(&setup.tool("pex"));
    pex.args(["--no-pypi", "--intransitive", "-f"]).arg(&setup.wheels).arg("-r").arg(&setup.requirements);
    pex.arg("--python").arg(&setup.python).arg("--pex-root").arg(setup.directory.join("pex-root"));
    pex.args(["--venv", "-o"]).arg(place.join("site.pex"));
    let mut shiv = setup.clean(&setup.tool("shiv"));
    shiv.args(["--no-index", "--no-deps", "--find-links"])
        .arg(&setup.wheels)
        .arg("-r")
        .arg(&setup.requirements);
    shiv.arg("-o").arg(place.join("site.pyz"));
    let contenders = vec![
        Contender::new("wheelbarrow build --offline, without bytecode", vec![build]),
        Contender::new("wheelbarrow build --offline, bytecode included", vec![with_bytecode]),
        Contender::new("pex --venv, warm PEX_ROOT", vec![pex]),
        Contender::new("shiv", vec![shiv]),
    ];
    measure::interleave(
        "Build of site106 from a warm cache, on disk, without network",
        contenders,
        rounds,
        fresh,
    )
}
