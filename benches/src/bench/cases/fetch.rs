//! Building with an empty cache: every wheel comes from the index.

use std::path::Path;

use anyhow::Result;

use super::empty;
use crate::measure::{self, Contender, Table};
use crate::setup::Setup;
use crate::site::Site;

/// Ours goes on to write an artifact, uv to install; both have the exact files named, and empty caches.
pub(crate) fn fetch(setup: &Setup, site: &Site, disk: &str, place: &Path, rounds: usize) -> Result<Table> {
    let cache = place.join("cache");
    let mut ours = site.build_from_lock(setup, &cache, &place.join("site.zip"));
    ours.args(["--bytecode", "never"]);
    let mut venv = setup.clean(&setup.tool("uv"));
    venv.args(["venv", "--quiet", "--offline", "--python"]).arg(&setup.python).arg(place.join("venv"));
    let mut uv = setup.clean(&setup.tool("uv"));
    uv.args(["pip", "install", "--quiet", "--no-deps", "--require-hashes", "--cache-dir"]).arg(&cache);
    uv.arg("--python").arg(place.join("venv/bin/python")).arg("-r").arg(&site.requirements);
    let contenders = vec![
        Contender::new("`wheelbarrow build --lock`, no bytecode", vec![ours]),
        Contender::new("`uv venv`, `uv pip install`", vec![venv, uv]),
    ];
    let title = format!("Fetch of {} with empty caches, on {disk}", site.name);
    measure::interleave(&title, contenders, rounds, || empty(place))
}
