//! How large a bundled Python is, and how long a deploy takes with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;
use walkdir::WalkDir;

use super::stage::{HOST, PYTHONS, Stage};
use crate::children::{run as run_child, succeeds};
use crate::containers::images::output;
use crate::pythons;

/// The Python that the goal is about, of 3.
const MINOR: u32 = 12;
/// In bytes.
const MOST: u64 = 25_000_000;
const ROUNDS: usize = 7;
/// How much longer a deploy may take where there is no Python, in milliseconds.
const LONGER: u64 = 300;

/// Prints how much larger an artifact is with each Python, and refuses one above the goal.
pub(super) fn sizes(stage: &Stage) -> Result<()> {
    let mut trees: Vec<_> = PYTHONS
        .map(|(_, minor, system)| {
            (minor, vec!["--target", system], stage.place.join(format!("python-3.{minor}")))
        })
        .into();
    match pythons::find_all().into_iter().find(|python| python.minor == MINOR) {
        Some(python) => trees.push((MINOR, vec!["--python"], stripped(stage, &python.path)?)),
        None => println!("skipped: there is no Python 3.{MINOR} here to bundle"),
    }
    for (minor, flags, tree) in trees {
        let flag = format!("3.{minor}");
        let with = stage.build("with", 1, &of_target(&flags, &flag, false), Some(&tree))?;
        let without = stage.build("without", 1, &of_target(&flags, &flag, true), None)?;
        let more = fs::metadata(&with)?.len().saturating_sub(fs::metadata(&without)?.len());
        println!("own-python: Python {flag} makes an artifact {:.1} MB larger", more as f64 / 1e6);
        if more > MOST {
            bail!("Python {flag} takes {more} bytes of an artifact, and at most {MOST} are allowed");
        }
    }
    Ok(())
}

/// Names the system and the Python, or the Python of this machine, which a bundled one is itself.
fn of_target<'f>(flags: &[&'f str], minor: &'f str, is_plain: bool) -> Vec<&'f str> {
    match flags {
        ["--python"] if is_plain => vec!["--python", minor],
        ["--python"] => Vec::new(),
        flags => flags.to_vec(),
    }
}

/// A copy of an interpreter of this machine without symbols for debugging.
fn stripped(stage: &Stage, python: &Path) -> Result<PathBuf> {
    let tree = stage.place.join(format!("python-3.{MINOR}"));
    if tree.exists() {
        return Ok(tree);
    }
    let from = fs::canonicalize(python)?;
    let prefix = from.parent().and_then(Path::parent).context("a Python in no directory")?;
    let made = stage.place.join("making");
    if made.exists() {
        fs::remove_dir_all(&made)?;
    }
    run_child(Command::new("cp").arg("--archive").arg(prefix).arg(&made))?;
    for entry in WalkDir::new(&made) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if entry.file_type().is_file() && (name.contains(".so") || name == format!("python3.{MINOR}")) {
            // Some are scripts.
            let _ = succeeds(Command::new("strip").arg("--strip-unneeded").arg(entry.path()));
        }
    }
    fs::rename(&made, &tree)?;
    Ok(tree)
}

/// A way to deploy into an empty root, or into one that has another release with the same Python.
struct Case {
    what: &'static str,
    packages: &'static str,
    first: &'static str,
    command: &'static str,
}

const CASES: [Case; 5] = [
    Case {
        what: "bundled Python, no Python here",
        packages: HOST,
        first: "",
        command: "/artifacts/1-3.11.zip",
    },
    Case {
        what: "bundled Python, started by python3",
        packages: "python3",
        first: "",
        command: "python3 /artifacts/1-3.11.zip",
    },
    Case { what: "the host's Python", packages: "python3", first: "", command: "/artifacts/plain.zip" },
    Case {
        what: "bundled Python, second release",
        packages: HOST,
        first: "/artifacts/1-3.11.zip",
        command: "/artifacts/2-3.11.zip",
    },
    Case {
        what: "the host's Python, second release",
        packages: "python3",
        first: "/artifacts/plain.zip",
        command: "/artifacts/plain-2.zip",
    },
];

/// Of a deploy alone, on tmpfs; the second word is a deploy before it.
const TIME: &str = r#"set -eu
root="--root /srv/mysite"
[ -z "$1" ] || $1 deploy $root >/dev/null 2>&1
begun=$(date +%s%N)
$2 deploy $root >/dev/null 2>&1
echo $((($(date +%s%N) - begun) / 1000000))"#;

/// Prints medians of rounds in turn.
pub(super) fn times(stage: &Stage) -> Result<()> {
    let (suite, minor, system) = PYTHONS[1];
    for (name, version) in [("plain", 1), ("plain-2", 2)] {
        stage.build(name, version, &["--target", system], None)?;
    }
    let images: Vec<_> = CASES.iter().map(|case| stage.host(suite, case.packages)).collect::<Result<_>>()?;
    let mut times = CASES.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((case, image), times) in CASES.iter().zip(&images).zip(&mut times) {
            let mut engine = stage.images.engine();
            engine.args(["run", "--rm", "--network=none", "--timeout=120", "--tmpfs=/srv:rw,exec,mode=755"]);
            engine.arg(format!("--volume={}:/artifacts:ro", stage.artifacts()?.display()));
            engine.args([image, "sh", "-c", TIME, "sh", case.first, case.command]);
            times.push(output(&mut engine)?.trim().parse::<u64>()?);
        }
    }
    println!(
        "\nA deploy on Debian {suite} to tmpfs, Python 3.{minor}, in ms: median, least and most of {ROUNDS}"
    );
    for (case, times) in CASES.iter().zip(&mut times) {
        times.sort_unstable();
        println!("{:<40} {:>6} {:>6} {:>6}", case.what, times[ROUNDS / 2], times[0], times[ROUNDS - 1]);
    }
    for (with, without) in [(0, 2), (3, 4)] {
        // The least: other programs are at work here.
        if times[with][0] > times[without][0] + LONGER {
            println!("own-python: {} takes more than {LONGER} ms longer", CASES[with].what);
        }
    }
    Ok(())
}
