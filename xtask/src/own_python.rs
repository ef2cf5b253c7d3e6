//! `cargo xtask own-python`: artifacts that bundle a Python, on hosts without any: Debian 11 to sid, and musl with busybox, in bare
//! containers.
//!
//! The Pythons are Debian's own, out of containers of two suites, laid out as python-build-standalone does with the libraries
//! that they need: no standalone build can be had everywhere. The host has what `mmdebstrap --variant=minbase` makes, and
//! busybox. Which time the Python costs, and how large it is, is measured at the end.

mod measure;
mod musl;
mod stage;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::children::{target_directory, unavailable, wheelbarrow};
use crate::containers::images::Images;
use crate::tools;

use musl::MUSL;
pub(crate) use stage::make_tree;
use stage::{HOST, PYTHONS, SITE, Stage};

const SUITES: [&str; 5] = ["bullseye", "bookworm", "trixie", "forky", "sid"];
/// The one whose glibc is too old for the second Python.
const OLDEST: &str = "bullseye";

/// Takes these suites, or all.
pub(crate) fn run(suites: &[String]) -> Result<()> {
    let is_known = |suite: &&String| SUITES.contains(&suite.as_str()) || *suite == MUSL;
    if let Some(unknown) = suites.iter().find(|suite| !is_known(suite)) {
        bail!("unknown suite {unknown}; known are {}, {MUSL}", SUITES.join(", "));
    }
    let place = target_directory().join("own-python");
    fs::create_dir_all(&place)?;
    let place = fs::canonicalize(place)?;
    let images = match Images::find(&place) {
        Ok(images) => images,
        Err(reason) => return unavailable("own-python", &reason),
    };
    let stage = Stage { wheelbarrow: wheelbarrow()?, uv: tools::uv(&[])?, place, images, site: SITE };
    for (suite, minor, system) in PYTHONS {
        let tree = make_tree(&stage.images, &stage.place, suite, minor)?;
        for version in [1, 2] {
            stage.build(&format!("{version}-3.{minor}"), version, &["--target", system], Some(&tree))?;
        }
    }
    let is_wanted = |suite: &&str| suites.is_empty() || suites.iter().any(|wanted| wanted == suite);
    for suite in SUITES.into_iter().filter(is_wanted) {
        trial(&stage, suite).with_context(|| format!("Debian {suite}"))?;
        println!("own-python: deployed, served and rolled back on Debian {suite}");
    }
    if suites != [MUSL] {
        measure::sizes(&stage)?;
        measure::times(&stage)?;
    }
    if is_wanted(&MUSL) { musl::run(stage) } else { Ok(()) }
}

/// One release with each Python that this suite's glibc suffices for; then where no program may run in temporary directories.
fn trial(stage: &Stage, suite: &str) -> Result<()> {
    let image = stage.host(suite, HOST)?;
    let second = if suite == OLDEST { PYTHONS[0].1 } else { PYTHONS[1].1 };
    let (first, second) = (format!("3.{}", PYTHONS[0].1), format!("3.{second}"));
    let no_programs = ["/tmp", "/var/tmp", "/run"].map(|path| format!("--tmpfs={path}:rw,noexec,mode=1777"));
    for (scene, flags) in [("releases", &[][..]), ("noexec", &no_programs)] {
        stage.trial(&image, flags, &["bash", "/trial.sh", scene, &first, &second])?;
    }
    Ok(())
}
