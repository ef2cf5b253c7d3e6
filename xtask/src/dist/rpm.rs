//! A package for Fedora, Enterprise Linux and their relatives.

use anyhow::{Context, Result};
use rpm::{BuildConfig, CompressionWithLevel, FileOptions, PackageBuilder};

use super::program::Program;
use super::release::{DESCRIPTION, LICENCE, LICENCES, NAME, REPOSITORY, Release, SUMMARY, system};

const LEVEL: u32 = 9;

pub(super) fn make(release: &Release, program: &Program) -> Result<Vec<u8>> {
    let mut package = PackageBuilder::new(NAME, release.version, LICENCE, program.machine.name, SUMMARY);
    let config = BuildConfig::default().compression(CompressionWithLevel::Gzip(LEVEL));
    package.using_config(config.source_date(release.time));
    package.release("1").url(REPOSITORY).description(DESCRIPTION).vendor("The Wheelbarrow developers");
    package.build_host("localhost");
    for (path, mode, bytes) in system(release, program)?.files_with_modes() {
        let mode = u16::try_from(mode).context("a mode has 16 bits")?;
        // Fedora has the completions of zsh in another directory than Debian.
        let path = path.replace("zsh/vendor-completions", "zsh/site-functions");
        let options = FileOptions::new(format!("/{path}")).permissions(mode);
        let is_licence = LICENCES.iter().any(|name| path.ends_with(name));
        let options = if is_licence { options.license() } else { options };
        package.with_file_contents(bytes, options)?;
    }
    package.with_dir_entry(FileOptions::dir(format!("/etc/{NAME}")))?;
    let mut bytes = Vec::new();
    package.build()?.write(&mut bytes)?;
    Ok(bytes)
}
