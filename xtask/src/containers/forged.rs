//! A wheel that was built on a newer system and says that it was not: refused at build; forced in by hand, refused by
//! `--check` on the server.

use anyhow::{Context, Result, bail};
use fs_err as fs;

use super::images::{Images, SYSTEMS};
use super::site;
use super::test::Test;
use crate::children::run as run_child;

/// What the newest system makes of its name, and what it is given.
const TRUE: &str = "fast-1.0-cp39-abi3-manylinux_2_41_x86_64.whl";
const FORGED: &str = "fast-1.0-cp39-abi3-manylinux_2_17_x86_64.whl";

const CHECK: &str = "python3 /srv/demo.zip -d /srv/site --check; echo \"exit code $?\"; ls -d /srv/site";

pub(super) fn refused(test: &Test) -> Result<()> {
    let (suite, system, _) = SYSTEMS[2];
    let newest = test.place.join("newest.zip");
    let mut build = test.wheelbarrow(&test.place.join("small"));
    build.args(["--target", system, "--container", &Images::builder(suite), "--bytecode", "never"]);
    run_child(build.arg("--output").arg(&newest))?;
    let links = test.place.join("forged");
    site::remove(&links)?;
    fs::create_dir_all(&links)?;
    if !site::extract(&newest, &format!("wheels/{TRUE}"), &links.join(FORGED))? {
        bail!("there is no {TRUE} in {}: {:?}", newest.display(), site::members(&newest)?);
    }
    let project = test.place.join("forged-site");
    site::write(&project, "fast==1.0\n", "name = \"forged\"\nversion = \"1\"\n")?;

    let artifact = test.place.join("forged.zip");
    site::remove_file(&artifact)?;
    let build = |allow: &[&str]| {
        let mut build = test.wheelbarrow(&project);
        build
            .args(["--target", SYSTEMS[0].1, "--bytecode", "never", "--offline", "--find-links"])
            .arg(&links);
        build.args(allow).arg("--output").arg(&artifact).output().context("wheelbarrow build")
    };
    let output = build(&[])?;
    let said = String::from_utf8_lossy(&output.stderr);
    print!("{said}");
    let expected = "elf-glibc:fast  fast.abi3.so needs glibc 2.38; the target has 2.31";
    if output.status.code() != Some(8) || !said.contains(expected) || artifact.exists() {
        bail!("the build was not refused: {}", output.status);
    }
    let output = build(&["--allow", "elf-glibc:fast=forced in by hand"])?;
    if !output.status.success() {
        bail!("--allow did not help: {}", String::from_utf8_lossy(&output.stderr));
    }
    let output = test.on_server(SYSTEMS[0].0, &artifact, CHECK)?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    print!("{said}");
    let expected = [&format!("{FORGED} needs glibc 2.38"), "exit code 4", "cannot access '/srv/site'"];
    if expected.iter().any(|text| !said.contains(*text)) {
        bail!("the server did not refuse it");
    }
    Ok(())
}
