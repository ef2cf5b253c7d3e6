//! `cargo xtask dist`: everything that a release publishes, in `target/dist`, and the trial of it.
//!
//! The same commit gives the same bytes, whatever the directory: times are those of the commit (or SOURCE_DATE_EPOCH),
//! archives are sorted, and paths of this machine are mapped in the programs.

mod archive;
mod collection;
mod crates;
mod deb;
mod notices;
mod pages;
mod program;
mod release;
mod rpm;
mod sbom;
mod sums;
mod trial;
mod wheel;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::children::{target_directory, workspace};
use crate::containers::images::output;
use crate::mac;
use archive::Tree;
use crates::Contained;
use program::Program;
use release::{LICENCES, NAME, Release};

const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];

/// Where a program for macOS carries the standalone binary of, which is for Linux.
const CARRIED: &str = TARGETS[0];

#[derive(Default)]
struct Options {
    targets: Vec<String>,
    program: Option<PathBuf>,
    key: Option<PathBuf>,
    has_collection: bool,
    trial: Option<Vec<String>>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self { has_collection: true, ..Self::default() };
        let mut arguments = arguments.iter().peekable();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--target" => options.targets.push(value()?.clone()),
                "--program" => options.program = Some(value()?.into()),
                "--key" => options.key = Some(value()?.into()),
                "--no-collection" => options.has_collection = false,
                "--try" => options.trial = Some(arguments.by_ref().cloned().collect()),
                other => bail!("unknown option {other}; see the usage of `cargo xtask`"),
            }
        }
        if options.program.is_some() && !options.targets.is_empty() {
            bail!("--program is for this machine, without --target");
        }
        if options.targets.is_empty() {
            options.targets = [TARGETS, mac::TARGETS].concat().into_iter().map(str::to_owned).collect();
        }
        Ok(options)
    }
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let place = target_directory().join("dist");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let programs: Vec<Program> = match &options.program {
        Some(path) => vec![Program::ready(path)?],
        None => options.targets.iter().map(|target| Program::build(target)).collect::<Result<_>>()?,
    };
    let mut release = Release {
        version: env!("CARGO_PKG_VERSION"),
        time: source_date()?,
        pages: pages::make(true)?,
        pages_without_servers: if programs.iter().any(Program::is_for_mac) {
            pages::make(false)?
        } else {
            Tree::default()
        },
        licences: Tree::default(),
    };
    let mut documents = Vec::new();
    for program in &programs {
        let carried = if program.is_for_mac() { CARRIED } else { &program.target };
        let crates = crates::contained(&program.target, carried)?;
        release.licences = licences(&crates)?;
        package(&release, program, &place)?;
        let document = place.join(format!("{NAME}-{}-{}.cdx.json", release.version, program.target));
        fs::write(&document, sbom::make(&release, program, &crates)?)?;
        documents.push(document);
    }
    sbom::validate(&documents)?;
    if options.has_collection {
        collection::make(&release, &place)?;
    }
    wheel::audit(&programs, &place)?;
    sums::write(&place, options.key.as_deref())?;
    match options.trial {
        Some(suites) => trial::run(&release, &suites, &place),
        None => Ok(()),
    }
}

/// Writes every kind of package of one program.
fn package(release: &Release, program: &Program, place: &Path) -> Result<()> {
    let version = release.version;
    let (debian, machine) = (program.machine.debian, program.machine.name);
    let write = |name: String, bytes: Vec<u8>| fs::write(place.join(name), bytes);
    let stem = format!("{NAME}-{version}-{}", program.target);
    write(format!("{stem}.tar.gz"), tarball(release, program, &stem).tar_gz(release.time)?)?;
    write(wheel::name(release, program), wheel::make(release, program)?)?;
    if program.is_for_mac() {
        return Ok(());
    }
    write(format!("{NAME}_{version}_{debian}.deb"), deb::make(release, program)?)?;
    write(format!("{NAME}-{version}-1.{machine}.rpm"), rpm::make(release, program)?)?;
    Ok(())
}

/// Everything in one directory, for somebody who unpacks it.
fn tarball(release: &Release, program: &Program, directory: &str) -> Tree {
    let mut tree = Tree::default();
    tree.add(format!("{directory}/{NAME}"), 0o755, program.bytes.clone());
    tree.take(&format!("{directory}/"), release.pages(program));
    tree.take(&format!("{directory}/"), &release.licences);
    tree
}

/// Of this program and of the crates in it.
fn licences(crates: &BTreeMap<String, Contained>) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.add(notices::NAME.to_owned(), 0o644, notices::make(crates)?.into_bytes());
    for name in LICENCES {
        tree.add(name.to_owned(), 0o644, fs::read(workspace().join(name))?);
    }
    Ok(tree)
}

/// SOURCE_DATE_EPOCH, or the time of the commit.
fn source_date() -> Result<u32> {
    let set = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty());
    let text = match set {
        Some(text) => text,
        None => output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(workspace()))
            .context("the time of the commit is unknown; set SOURCE_DATE_EPOCH")?,
    };
    text.trim().parse().with_context(|| format!("invalid SOURCE_DATE_EPOCH {:?}", text.trim()))
}
