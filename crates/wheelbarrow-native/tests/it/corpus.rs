//! One corpus of hostile and odd wheels and artifacts, for both ways to install: each artifact is taken by both or refused by both,
//! with the same exit code, and what is taken leaves the same tree.
//!
//! `docs/reference/format.md`, "Wheels" and "The manifest", has the rules.

mod artifacts;
mod release;
mod shared;
mod texts;
mod wheels;
mod zips;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use wheelbarrow_install::Pip;

use crate::both_ways::{self, Tree};
use crate::hostile_artifacts::artifact_of;
use crate::released;
use crate::site::{self, wheel_members};
use crate::zips::{Member, zip};

const WHEEL: &str = "pack-1-py3-none-any.whl";
/// Of what is broken or hostile: `docs/reference/exit-codes.md`.
const BROKEN: u8 = 3;

/// An artifact, and what must come of it.
struct Case {
    name: String,
    artifact: Vec<u8>,
    /// Whether it is installed, where somebody decided that; both ways must agree in any case.
    taken: Option<bool>,
    pip: Pip,
}

impl Case {
    fn new(name: &str, artifact: Vec<u8>, taken: impl Into<Option<bool>>) -> Self {
        Self { name: name.to_owned(), artifact, taken: taken.into(), pip: Pip::Without }
    }

    /// A wheel of these files, with a true RECORD.
    fn files(name: &str, files: &[Member], taken: bool) -> Self {
        Self::members(name, &wheel_members("pack", files), taken)
    }

    /// A wheel of exactly these members.
    fn members(name: &str, members: &[Member], taken: bool) -> Self {
        Self::wheel(name, WHEEL, &zip(members), taken)
    }

    fn wheel(name: &str, filename: &str, wheel: &[u8], taken: impl Into<Option<bool>>) -> Self {
        Self::new(name, site_of(&[(filename, wheel)]), taken)
    }
}

/// An artifact with some code and these wheels.
fn site_of(wheels: &[(&str, &[u8])]) -> Vec<u8> {
    let mut members =
        vec![Member::new("code/a.py", "a = 1\n"), Member::new("loadenv-init.pth", "import loadenv\n")];
    let path = |filename: &str| format!("wheels/{filename}");
    members
        .extend(wheels.iter().map(|(name, bytes)| Member { method: 0, ..Member::new(&path(name), *bytes) }));
    artifact_of(&members, |manifest| {
        for (filename, _) in wheels {
            let name =
                filename.split('-').next().unwrap_or_default().to_ascii_lowercase().replace(['_', '.'], "-");
            let described = json!({"path": path(filename), "name": name, "version": "1"});
            manifest["wheels"].as_array_mut().unwrap().push(described);
            manifest["targets"][0]["wheels"].as_array_mut().unwrap().push(json!(path(filename)));
        }
    })
}

#[test]
fn both_ways_agree_on_wheels() {
    compare(&wheels::cases());
}

#[test]
fn both_ways_agree_on_texts() {
    compare(&texts::cases());
}

#[test]
fn both_ways_agree_on_zips() {
    compare(&zips::cases());
}

#[test]
fn both_ways_agree_on_artifacts() {
    compare(&artifacts::cases());
}

#[test]
fn both_ways_agree_on_what_artifacts_say_of_releases() {
    compare(&release::cases());
}

#[test]
fn both_ways_agree_on_what_other_projects_are_tested_with() {
    compare(&shared::cases());
}

/// Installs each both ways: both take it or refuse it, with the same exit code, and what is taken leaves the same tree.
fn compare(cases: &[Case]) {
    let directory = wheelbarrow_testing::in_memory();
    let destination = directory.path().join("dest");
    let path = |number: usize| directory.path().join(format!("{number}.zip"));
    let mut wrong = Vec::new();
    let mut native = Vec::with_capacity(cases.len());
    for (number, case) in cases.iter().enumerate() {
        fs_err::write(path(number), &case.artifact).unwrap();
        let result = native_way(&path(number), &destination, case.pip);
        let why = match (case.taken, &result) {
            (Some(true), Err((_, why))) => Some(why.as_str()),
            (Some(false), Ok(_)) => Some("it is installed"),
            (Some(false), Err((code, why))) if *code != BROKEN => Some(why.as_str()),
            _ => None,
        };
        wrong.extend(why.map(|why| format!("{}: native: {why}", case.name)));
        native.push(result);
    }
    for python in pythons() {
        for pip in [Pip::Without, Pip::With] {
            let numbers: Vec<usize> = (0..cases.len()).filter(|&number| cases[number].pip == pip).collect();
            let artifacts: Vec<PathBuf> = numbers.iter().map(|&number| path(number)).collect();
            let (second, said) = both_ways::bootstrap_on(&python, &artifacts, &destination, pip);
            for (number, second) in numbers.into_iter().zip(second) {
                let said = told_of(&said, number);
                if let Some(difference) = differ(&native[number], &second, said) {
                    wrong.push(format!("{}: {}: {difference}", cases[number].name, python.display()));
                }
            }
            artifacts
                .iter()
                .for_each(|path| drop(fs_err::remove_dir_all(path.with_extension("zip.installed"))));
        }
    }
    println!("{} artifacts", cases.len());
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// The tree, or the exit code and what is said.
fn native_way(artifact: &Path, destination: &Path, pip: Pip) -> Result<Tree, (u8, String)> {
    released::install(artifact, destination, pip).map(|()| both_ways::take_tree(destination))
}

fn differ(native: &Result<Tree, (u8, String)>, second: &Result<Tree, u8>, said: &str) -> Option<String> {
    match (native, second) {
        (Ok(native), Ok(second)) => both_ways::difference(native, second),
        (Err((native, _)), Err(second)) if native == second => None,
        (Err((code, why)), Err(second)) => {
            Some(format!("native {code} ({why}), bootstrap {second} ({said})"))
        }
        (Ok(_), Err(second)) => Some(format!("only native takes it: {second} ({said})")),
        (Err((code, why)), Ok(_)) => Some(format!("only bootstrap takes it: {code} ({why})")),
    }
}

/// What the bootstrap way said of an artifact.
fn told_of(said: &str, number: usize) -> &str {
    let behind = said.split_once(&format!("\n{number}.zip\n")).map_or("", |(_, behind)| behind);
    behind.split("\n\n").next().unwrap_or_default().trim()
}

/// The oldest and the newest Python of pyenv that artifacts run on, and the one on PATH.
fn pythons() -> Vec<PathBuf> {
    let versions = std::env::home_dir().unwrap_or_default().join(".pyenv/versions");
    let entries = std::fs::read_dir(versions).into_iter().flatten().flatten();
    let version = |python: &Path| -> Option<(u32, u32)> {
        let code = "import sys; print('%d.%d' % sys.version_info[:2])";
        let output = Command::new(python).args(["-c", code]).stderr(Stdio::null()).output().ok()?;
        let (major, minor) = std::str::from_utf8(&output.stdout).ok()?.trim().split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?)).filter(|version| *version >= (3, 6))
    };
    let found = entries.map(|entry| entry.path().join("bin/python")).chain([PathBuf::from("python3")]);
    let mut found: Vec<_> = found.filter_map(|python| Some((version(&python)?, python))).collect();
    found.sort();
    if found.len() > 2 {
        found.drain(1..found.len() - 1);
    }
    if found.is_empty() {
        assert!(!site::has_python(), "python3 does not say its version");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI brings a Python");
    }
    found.into_iter().map(|(_, python)| python).collect()
}
