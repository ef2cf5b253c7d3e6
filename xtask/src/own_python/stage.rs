//! What the trials and the measurements need: Pythons of Debian's, artifacts, images of hosts.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;

use crate::children::{clean, run as run_child};
use crate::containers::images::Images;

/// Where a Python comes from, its minor version, and the system that its glibc is of. Both run on this machine, which builds.
pub(super) const PYTHONS: [(&str, u32, &str); 2] =
    [("bullseye", 9, "debian-11"), ("bookworm", 11, "debian-12")];
/// What makes a tree of it.
const DONOR: &str = "python3,patchelf,binutils";
/// Another `sh`. Nothing has Python.
pub(super) const HOST: &str = "busybox";
const APP: &str = r#"import MODULES

VERSION = 0


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    # Python 3.9 follows the links of the virtualenv to it.
    python = os.path.realpath(sys.base_prefix)
    return ["site {}, Python 3.{} in {}".format(VERSION, sys.version_info[1], python).encode()]
"#;

/// What the site imports, and its requirements file.
pub(super) struct Site {
    pub(super) modules: &'static str,
    pub(super) requirements: &'static str,
}

pub(super) const SITE: Site =
    Site { modules: "bz2, ctypes, lzma, os, sqlite3, ssl, sys, zlib", requirements: "gunicorn\n" };

/// What is made once, and used by the containers.
pub(super) struct Stage {
    pub(super) place: PathBuf,
    pub(super) wheelbarrow: PathBuf,
    pub(super) uv: PathBuf,
    pub(super) images: Images,
    pub(super) site: Site,
}

/// A Python of Debian's as a directory.
pub(crate) fn make_tree(images: &Images, place: &Path, suite: &str, minor: u32) -> Result<PathBuf> {
    let tree = place.join(format!("python-3.{minor}"));
    if tree.join("bin/python3").exists() {
        return Ok(tree);
    }
    let image = format!("localhost/wheelbarrow-test-own-python-donor:{suite}");
    images.make_system(place, suite, &image, DONOR)?;
    let made = place.join("making");
    if made.exists() {
        fs::remove_dir_all(&made)?;
    }
    fs::create_dir(&made)?;
    fs::write(place.join("tree.sh"), include_str!("tree.sh"))?;
    let mut engine = images.engine();
    engine.args(["run", "--rm", "--network=none"]);
    engine.arg(format!("--volume={}:/tree", made.display()));
    engine.arg(format!("--volume={}:/tree.sh:ro", place.join("tree.sh").display()));
    run_child(engine.args([&image, "sh", "/tree.sh", &format!("3.{minor}")]))?;
    fs::rename(&made, &tree)?;
    Ok(tree)
}

impl Stage {
    /// An artifact of this name, with a Python or without.
    pub(super) fn build(
        &self,
        name: &str,
        version: u32,
        flags: &[&str],
        python: Option<&Path>,
    ) -> Result<PathBuf> {
        let site = self.place.join("site");
        fs::create_dir_all(&site)?;
        let app = APP.replace("VERSION = 0", &format!("VERSION = {version}"));
        fs::write(site.join("app.py"), app.replace("MODULES", self.site.modules))?;
        fs::write(site.join("requirements.txt"), self.site.requirements)?;
        fs::write(site.join("wheelbarrow.toml"), format!("name = 'mysite'\nversion = '{version}'\n"))?;
        let artifact = self.artifacts()?.join(format!("{name}.zip"));
        let mut build = clean(&self.wheelbarrow);
        build.args(["--quiet", "build"]).arg(&site).args(flags).arg("--output").arg(&artifact);
        build.arg("--cache-dir").arg(self.place.join("cache")).env("UV", &self.uv);
        run_child(build.args(python.map(|_| "--with-python")).args(python))?;
        Ok(artifact)
    }

    pub(super) fn artifacts(&self) -> Result<PathBuf> {
        let artifacts = self.place.join("artifacts");
        fs::create_dir_all(&artifacts)?;
        Ok(artifacts)
    }

    /// The image of a host with these packages.
    pub(super) fn host(&self, suite: &str, packages: &str) -> Result<String> {
        let image = format!("localhost/wheelbarrow-test-own-python:{suite}-{}", packages.replace(',', "-"));
        self.images.make_system(&self.place, suite, &image, packages)?;
        Ok(image)
    }

    /// Runs a scene of `trial.sh` in a container of this image.
    pub(super) fn trial(&self, image: &str, flags: &[String], command: &[&str]) -> Result<()> {
        let trial = self.place.join("trial.sh");
        fs::write(&trial, include_str!("trial.sh"))?;
        let mut engine = self.images.engine();
        engine.args(["run", "--rm", "--network=none", "--timeout=300"]).args(flags);
        engine.arg(format!("--volume={}:/artifacts:ro", self.artifacts()?.display()));
        engine.arg(format!("--volume={}:/trial.sh:ro", trial.display()));
        run_child(engine.arg(image).args(command))
    }
}
