//! Building, with everything at hand.

use std::process::Command;

use anyhow::Result;

use super::empty;
use crate::measure::{self, Contender, Table};
use crate::setup::Setup;
use crate::site::Site;

/// Builds from the same wheels on disk, without network, whatever a tool caches warm.
pub(crate) fn build(setup: &Setup, site: &Site, rounds: usize) -> Result<Table> {
    let place = setup.directory.join("builds");
    let ours = |bytecode: &str| {
        let mut build = site.build(setup, &place.join("site.zip"));
        build.args(["--offline", "--bytecode", bytecode]);
        vec![build]
    };
    let mut shiv = setup.clean(&setup.tool("shiv"));
    shiv.args(["--no-index", "--no-deps", "--find-links"]).arg(&site.wheels);
    shiv.arg("-r").arg(&site.requirements).arg("-o").arg(place.join("site.pyz"));
    let pex = site.build_pex(setup, &place.join("site.pex"));
    let mut copy = Command::new(&setup.copy);
    copy.arg(&site.artifact).arg(place.join("copy"));
    let contenders = vec![
        Contender::new("`wheelbarrow build --offline`, bytecode included", ours("always")),
        Contender::new("the floor: read, hash and write the same bytes once", vec![copy]),
        Contender::new("`wheelbarrow build --offline --bytecode never`", ours("never")),
        Contender::new("`pex --venv`, warm `PEX_ROOT`", vec![pex]).at_most(2),
        Contender::new("`shiv`", vec![shiv]).at_most(2),
    ];
    let title = format!("Build of {} from a warm cache, on disk, without network", site.name);
    measure::interleave(&title, contenders, rounds, || empty(&place))
}
