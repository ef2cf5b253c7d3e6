//! What the tests of containers have in common.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use fs_err as fs;

use super::images::Images;
use crate::children::clean;

/// What the tests have in common.
pub(super) struct Test {
    pub(super) wheelbarrow: PathBuf,
    pub(super) uv: PathBuf,
    pub(super) place: PathBuf,
    pub(super) images: Images,
}

impl Test {
    pub(super) fn wheelbarrow(&self, site: &Path) -> Command {
        self.wheelbarrow_with(site, &self.place.join("cache"))
    }

    pub(super) fn wheelbarrow_with(&self, site: &Path, cache: &Path) -> Command {
        let mut command = clean(&self.wheelbarrow);
        command.arg("build").arg(site).arg("--cache-dir").arg(cache).env("UV", &self.uv);
        self.images.configure(&mut command);
        command
    }

    /// Runs a script on a fresh server without network, the artifact at /srv/demo.zip.
    pub(super) fn on_server(
        &self,
        suite: &str,
        artifact: &Path,
        script: &str,
    ) -> Result<std::process::Output> {
        let mount = format!("{}:/srv/demo.zip:ro", artifact.display());
        let mut server = self.images.engine();
        server.args(["run", "--rm", "--network=none", "--volume", &mount, &Images::server(suite)]);
        Ok(server.args(["sh", "-c", script]).stdin(Stdio::null()).output()?)
    }
}

pub(super) fn same_bytes(one: &Path, other: &Path) -> Result<()> {
    if fs::read(one)? != fs::read(other)? {
        bail!("{} and {} differ", one.display(), other.display());
    }
    Ok(())
}

/// What containers leave behind belongs to who started them, who owns `place`.
pub(super) fn no_foreign_files(place: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let own = fs::metadata(place)?.uid();
    for entry in walkdir::WalkDir::new(place) {
        let entry = entry?;
        if entry.metadata()?.uid() != own {
            bail!("{} belongs to somebody else", entry.path().display());
        }
    }
    Ok(())
}
