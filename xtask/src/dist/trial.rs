//! Every package, installed by its own installer in bare containers of Debian, and used: a site is built, deployed and served.
//!
//! One container for each suite has what the wheel needs (a Python with venv) and nothing of this checkout but the
//! packages. The artifacts that the wheel and the Debian package build must be the same file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use super::release::Release;
use crate::bare::give_network;
use crate::children::{run as run_child, target_directory, unavailable};
use crate::containers::images::Images;

const SUITES: [&str; 4] = ["bullseye", "bookworm", "trixie", "forky"];
/// What a server of Python sites has; curl, cmp, rpm and cpio look at the results.
const PACKAGES: &str = "python3,python3-pip,python3-venv,ca-certificates,curl,diffutils,rpm,cpio";

/// Takes these suites, or all.
pub(super) fn run(release: &Release, suites: &[String], packages: &Path) -> Result<()> {
    if let Some(unknown) = suites.iter().find(|suite| !SUITES.contains(&suite.as_str())) {
        bail!("unknown suite {unknown}; known are {}", SUITES.join(", "));
    }
    let place = target_directory().join("dist-trial");
    fs::create_dir_all(place.join("cache"))?;
    let place = fs::canonicalize(place)?;
    fs::write(place.join("trial.sh"), include_str!("trial.sh"))?;
    let images = match Images::find(&place) {
        Ok(images) => images,
        Err(reason) => return unavailable("dist --try", &reason),
    };
    let is_wanted = |suite: &&&str| suites.is_empty() || suites.iter().any(|wanted| wanted == *suite);
    for suite in SUITES.iter().filter(is_wanted) {
        let image = format!("localhost/wheelbarrow-test-dist:{suite}-2");
        images.make_system(&place, suite, &image, PACKAGES)?;
        let mut engine = images.engine();
        // Not by timeout(1): that of forky does not run as the first process.
        engine.args(["run", "--rm", "--timeout=600"]);
        give_network(&mut engine);
        let packages = fs::canonicalize(packages)?;
        engine.arg(format!("--volume={}:/dist:ro", packages.display()));
        engine.arg(format!("--volume={}:/trial.sh:ro", place.join("trial.sh").display()));
        engine.arg(format!("--volume={}:/root/.cache", place.join("cache").display()));
        engine.args([&image, "bash", "/trial.sh", release.version]);
        run_child(&mut engine).with_context(|| format!("the packages on Debian {suite}"))?;
        println!("dist: installed and used on Debian {suite}");
    }
    Ok(())
}
