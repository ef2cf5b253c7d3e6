//! Installs out of a store, empty or with everything in it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use fs_err as fs;

use super::empty;
use super::install::Install;
use crate::measure::{self, Contender, Table};
use crate::setup::{Setup, succeed};
use crate::site::Site;

/// The first install, which fills the store.
pub(crate) fn cold(setup: &Setup, site: &Site, disk: &str, place: &Path, rounds: usize) -> Result<Table> {
    let install = Install::new(setup, site, place);
    let contenders = vec![
        Contender::new("`./site.zip -d DEST --store STORE`, no store yet", vec![ours(&install, site, place)]),
        Contender::new("`./site.zip -d DEST`", vec![install.ours(&site.artifact)]),
    ];
    let title = format!("Cold install of {} on {disk} into a store, with bytecode", site.name);
    measure::interleave(&title, contenders, rounds, || empty(place))
}

/// The second one, when nothing has to be unpacked.
pub(crate) fn warm(setup: &Setup, site: &Site, disk: &str, place: &Path, rounds: usize) -> Result<Table> {
    let install = Install::new(setup, site, place);
    let uv = || install.uv(Some("--link-mode=hardlink"));
    let fresh = || match fs::remove_dir_all(place.join("site")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    empty(place)?;
    succeed(&mut ours(&install, site, place))?;
    fresh()?;
    uv().iter_mut().try_for_each(succeed)?;
    let contenders = vec![
        Contender::new(
            "`./site.zip -d DEST --store STORE`, with bytecode",
            vec![ours(&install, site, place)],
        ),
        Contender::new("`uv venv`, `uv pip install --link-mode=hardlink`, no bytecode", uv()),
    ];
    let title = format!("Second install of {} on {disk}: the store, or uv's cache, is warm", site.name);
    measure::interleave(&title, contenders, rounds, fresh)
}

fn ours(install: &Install<'_>, site: &Site, place: &Path) -> Command {
    let mut ours = install.ours(&site.artifact);
    ours.arg("--store").arg(place.join("store"));
    ours
}
