//! `cargo xtask bench`: ourselves, the peers and the floor, interleaved in one run.
//!
//! Everything it needs beside Rust and a Python 3.11 it puts into `target/bench` by itself. Each round runs every
//! contender once, in turn, so that a machine that gets slower gets slower for all; medians are reported, and their
//! ratio to ours. Memory is the largest resident set of any process of a contender.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program, not a library")]

mod cases;
mod measure;
mod setup;
mod site;

use std::path::PathBuf;

use anyhow::{Result, bail};
use fs_err as fs;

use crate::cases::{build, fetch, install, sizes, start, store, verify};
use crate::setup::Setup;
use crate::site::Site;

const USAGE: &str =
    "usage: cargo xtask bench [--rounds N] [--only install|store|verify|fetch|build|sizes|start] [--site site106|wagtail]
                    [--on tmpfs|disk] [--python PATH]";

fn main() -> Result<()> {
    let mut rounds = 5;
    let (mut only, mut of, mut on, mut python) = (None, None, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--rounds", Some(number)) => rounds = number.parse()?,
            ("--only", Some(name)) => only = Some(name),
            ("--site", Some(name)) => of = Some(name),
            ("--on", Some(name)) => on = Some(name),
            ("--python", Some(path)) => python = Some(PathBuf::from(path)),
            _ => bail!(USAGE),
        }
    }
    let is_wanted =
        |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let setup = Setup::prepare(python)?;
    println!("{}\n", setup::machine());
    for name in ["site106", "wagtail"].into_iter().filter(|name| is_wanted(&of, name)) {
        let site = Site::prepare(&setup, name)?;
        if is_wanted(&only, "sizes") {
            sizes::sizes(&site)?;
            if only.is_some() {
                continue;
            }
        }
        if is_wanted(&only, "start") {
            println!("{}", start::start(&setup, &site, rounds)?);
            if only.is_some() {
                continue;
            }
        }
        site.prepare_pex(&setup)?;
        for (disk, place) in [("tmpfs", PathBuf::from("/dev/shm")), ("disk", setup.directory.clone())] {
            if !is_wanted(&on, disk) {
                continue;
            }
            let place = place.join("wheelbarrow-bench");
            if is_wanted(&only, "install") {
                println!("{}", install::with_bytecode(&setup, &site, disk, &place, rounds)?);
                println!("{}", install::without_bytecode(&setup, &site, disk, &place, rounds)?);
            }
            if is_wanted(&only, "store") {
                println!("{}", store::cold(&setup, &site, disk, &place, rounds)?);
                println!("{}", store::warm(&setup, &site, disk, &place, rounds)?);
            }
            if is_wanted(&only, "verify") {
                println!("{}", verify::verify(&setup, &site, disk, &place, rounds)?);
            }
            if is_wanted(&only, "fetch") {
                println!("{}", fetch::fetch(&setup, &site, disk, &place, rounds)?);
            }
            if is_wanted(&only, "build") {
                println!("{}", build::build(&setup, &site, disk, &place, rounds)?);
            }
            let _ = fs::remove_dir_all(&place);
        }
    }
    Ok(())
}
