//! Building, with everything at hand.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::empty;
use crate::measure::{self, Contender, Table};
use crate::setup::Setup;
use crate::site::Site;

/// Builds to `place` from a lock and the same wheels on disk, without network, whatever a tool caches warm.
pub(crate) fn build(setup: &Setup, site: &Site, disk: &str, place: &Path, rounds: usize) -> Result<Table> {
    let ours = |bytecode: &str| {
        let mut build = site.build_from_lock(setup, &site.cache, &place.join("site.zip"));
        build.args(["--offline", "--bytecode", bytecode]);
        vec![build]
    };
    let mut shiv = setup.clean(&setup.tool("shiv"));
    shiv.args(["--no-index", "--no-deps", "--find-links"]).arg(&site.wheels);
    shiv.arg("-r").arg(&site.requirements).arg("-o").arg(place.join("site.pyz"));
    let pex = site.build_pex(setup, &place.join("site.pex"));
    let copy = |arguments: &[&str]| {
        let mut copy = Command::new(&setup.copy);
        copy.arg(&site.artifact).arg(place.join("copy")).args(arguments);
        vec![copy]
    };
    let contenders = vec![
        Contender::new("`wheelbarrow build --offline`, bytecode included", ours("always")),
        Contender::new("the floor: read, hash and write the same bytes once", copy(&[])),
        Contender::new("the floor, synced", copy(&["--sync"])),
        Contender::new("`wheelbarrow build --offline --bytecode never`", ours("never")),
        Contender::new("`pex --venv`, warm `PEX_ROOT`", vec![pex]).at_most(1),
        Contender::new("`shiv`", vec![shiv]).at_most(1),
    ];
    let title = format!("Build of {} from a warm cache, on {disk}, without network", site.name);
    measure::interleave(&title, contenders, rounds, || empty(place))
}
