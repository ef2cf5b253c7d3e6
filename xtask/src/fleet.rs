//! `cargo xtask fleet`: what docs/guides/fleet.md tells, done by Ansible with hosts in containers: a balancer, three hosts of
//! three generations of Debian, a database. They are reached by ssh over a network of their own that leads nowhere else.
//!
//! What was served is known by asking the balancer all the time, and what was sent by the counters of the network.

mod controller;
mod files;
mod hosts;
mod network;
mod scenes;
mod versions;

use anyhow::{Result, bail};
use fs_err as fs;

use crate::ansible::{Controller, install};
use crate::children::{target_directory, unavailable};
use crate::containers::images::Images;

use controller::Desk;
use hosts::Hosts;
use scenes::{Fleet, SCENES, Scene};
use versions::Versions;

/// `--all` adds the scenes that take long; `--oldest` takes the oldest ansible-core instead of the newest.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if arguments.iter().any(|argument| !["--all", "--oldest"].contains(&argument.as_str())) {
        bail!("`cargo xtask fleet` knows `--all` and `--oldest`");
    }
    let place = target_directory().join("fleet");
    fs::create_dir_all(&place)?;
    let place = fs::canonicalize(place)?;
    let images = match Images::find(&place) {
        Ok(images) => images,
        Err(reason) => return unavailable("fleet", &reason),
    };
    let controller = if has("--oldest") { Controller::oldest()? } else { Controller::newest()? };
    let Some(controller) = controller else { bail!("no Python here can have such an ansible-core") };
    install(&controller)?;
    hosts::make_images(&images, &place)?;
    let versions = Versions::new(&place)?;
    versions.build(1)?;
    let key = hosts::make_key(&place)?;
    let hosts = match Hosts::start(&images, &key) {
        Ok(hosts) => hosts,
        Err(reason) => return unavailable("fleet", &reason),
    };
    let desk = Desk::new(controller, place.join("desk"), &key.with_extension(""))?;
    let fleet = Fleet { hosts, desk, versions };
    for Scene { title, is_long, play } in SCENES {
        println!("\n-- {title}");
        if is_long && !has("--all") {
            println!("skipped: it takes long; `cargo xtask fleet --all` does it");
            continue;
        }
        play(&fleet).map_err(|error| error.context(title))?;
    }
    println!("\nfleet: all did what docs/guides/fleet.md says");
    Ok(())
}
