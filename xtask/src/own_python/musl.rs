//! The same on a host with musl and busybox, as Alpine has them. Nothing here comes from Alpine: Debian packages musl,
//! and a Python is compiled for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use super::stage::{HOST as BUSYBOX, Site, Stage};
use crate::children::{run as run_child, unavailable};
use crate::containers::images::output;

/// How it is named beside the suites of Debian.
pub(super) const MUSL: &str = "musl";
/// What runs a Python for musl on this machine, which compiles the standard library with it.
const LOADER: &str = "/lib/ld-musl-x86_64.so.1";
/// A Python does not run with an older musl than the one of its compiler, so the suite must not be newer than this machine.
const SUITE: &str = "bookworm";
const MINOR: u32 = 11;
const PACKAGES: &str = "musl-tools,gcc,linux-libc-dev,make,bzip2,busybox-static";
const DONOR: &str = "localhost/wheelbarrow-test-own-python-donor:musl";
const HOST: &str = "localhost/wheelbarrow-test-own-python:musl";
/// The Python has no OpenSSL, which gunicorn imports. MarkupSafe has an extension module for musl.
const SITE: Site =
    Site { modules: "markupsafe._speedups, os, sys, zlib", requirements: "waitress\nmarkupsafe\n" };

/// Refuses what is for the other C library, then the scene of [`MUSL`].
pub(super) fn run(stage: Stage) -> Result<()> {
    let stage = Stage { site: SITE, ..stage };
    let python = match make(&stage) {
        Ok(python) => python,
        Err(reason) => return unavailable("own-python musl", &reason),
    };
    let (glibc, musl) = (format!("3.{MINOR}"), format!("3.{MINOR}-{MUSL}"));
    for version in [1, 2] {
        let target = format!("alpine-3.22:{glibc}");
        stage.build(&format!("{version}-{musl}"), version, &["--target", &target], Some(&python))?;
    }
    let debian = stage.host(SUITE, BUSYBOX)?;
    stage.trial(&debian, &[], &["bash", "/trial.sh", "refused", &musl, "manylinux_2_36_x86_64"])?;
    stage.trial(HOST, &[], &["sh", "/trial.sh", "refused", &glibc, "musllinux_1_2_x86_64"])?;
    stage.trial(HOST, &[], &["sh", "/trial.sh", MUSL, &musl, &musl])?;
    println!("own-python: deployed, served and rolled back on musl");
    Ok(())
}

/// The Python, and the image of the host. An error is the reason why this machine cannot make them.
fn make(stage: &Stage) -> Result<PathBuf> {
    if !Path::new(LOADER).exists() {
        bail!("there is no {LOADER}; on Debian: apt-get install musl");
    }
    let made = stage.place.join(MUSL);
    if !made.exists() {
        compile(stage, &made).context("cannot compile a Python for musl")?;
    }
    let python = made.join("python");
    output(Command::new(python.join("bin/python3")).arg("--version")).context("the musl of this machine")?;
    let tar = stage.place.join("musl.tar");
    output(Command::new("tar").arg("-C").arg(made.join("root")).arg("-cf").arg(&tar).arg("."))?;
    output(stage.images.engine().arg("import").arg(&tar).arg(HOST))?;
    fs::remove_file(&tar)?;
    Ok(python)
}

/// Makes `python` and `root` in `made`.
fn compile(stage: &Stage, made: &Path) -> Result<()> {
    stage.images.make_system(&stage.place, SUITE, DONOR, PACKAGES)?;
    let work = stage.place.join("making");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir(&work)?;
    fs::write(stage.place.join("musl.sh"), include_str!("musl.sh"))?;
    let mut engine = stage.images.engine();
    engine.args(["run", "--rm"]).arg(format!("--volume={}:/made", work.display()));
    engine.arg(format!("--volume={}:/musl.sh:ro", stage.place.join("musl.sh").display()));
    run_child(engine.args([DONOR, "nice", "sh", "/musl.sh", &format!("3.{MINOR}")]))?;
    Ok(fs::rename(&work, made)?)
}
