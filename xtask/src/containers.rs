//! `cargo xtask containers`: one artifact for three generations of Debian, built on this machine, sources in containers;
//! installed and served in each of the three. And what else needs other systems, other engines or another user.
//!
//! The images come from Debian's packages by mmdebstrap and stay in the engine. What serves has no compiler, only Python
//! and the one library that the site needs.

mod docker;
mod forged;
pub(crate) mod images;
mod rootless;
mod same;
mod site;
mod test;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::children::{clean, run as run_child, succeeds, target_directory, unavailable, wheelbarrow};
use crate::{pythons, tools};

pub(crate) use images::join;
use images::{Images, SYSTEMS};
use test::{Test, no_foreign_files};

/// In the container of a server: installs, serves, asks for the page, and prints what it says.
const SERVE: &str = r#"
set -e
python3 /srv/demo.zip --probe
python3 /srv/demo.zip -d /srv/site --check
python3 /srv/demo.zip -d /srv/site
cd /
/srv/site/venv/bin/gunicorn app.wsgi --log-level warning --bind 127.0.0.1:8000 &
python3 - <<'END'
import time, urllib.request
for attempt in range(100):
    try:
        answer = urllib.request.urlopen("http://127.0.0.1:8000/")
        break
    except OSError:
        time.sleep(0.1)
print(answer.status, answer.read().decode())
END
kill $!
"#;

/// `rootless_user` is somebody else than root, to be while podman is tried without root.
pub(crate) fn run(rootless_user: Option<&str>) -> Result<()> {
    let place = target_directory().join("containers");
    fs::create_dir_all(&place)?;
    let place = fs::canonicalize(place)?;
    let images = match Images::find(&place) {
        Ok(images) => images,
        Err(reason) => return unavailable("containers", &reason),
    };
    // The compiler and Debian's packages take turns on the cores and the network.
    let (made, wheelbarrow) = std::thread::scope(|scope| {
        let made = scope.spawn(|| timed("images", || images.make_all(&place)));
        (join(made), timed("wheelbarrow", wheelbarrow))
    });
    made?;
    if let Err(reason) = images.run() {
        return unavailable("containers", &reason);
    }
    let test = Test { wheelbarrow: wheelbarrow?, uv: tools::uv(&[])?, place, images };
    test.run(rootless_user)
}

impl Test {
    fn run(&self, rootless_user: Option<&str>) -> Result<()> {
        let artifact = timed("build for three systems", || self.build())?;
        timed("serving", || self.serve_everywhere(&artifact))?;
        self.refused_elsewhere(&artifact)?;
        timed("the same bytes", || same::everywhere(self))?;
        let small = timed("the whole build in a container", || self.in_container())?;
        timed("a wheel of another system", || forged::refused(self))?;
        timed("docker", || docker::same(self, &small))?;
        timed("rootless podman", || rootless::same(self, &small, rootless_user))?;
        timed("another CPU", || self.other_cpu())?;
        println!("containers: built once, installed and served on Debian 11, 12 and 13");
        Ok(())
    }

    /// For all three, `psycopg-c` built in a container of each.
    fn build(&self) -> Result<PathBuf> {
        let site = self.place.join("site");
        site::write(&site, site::REQUIREMENTS, &site::settings(&SYSTEMS))?;
        let artifact = self.place.join("demo.zip");
        run_child(self.wheelbarrow(&site).arg("--output").arg(&artifact))?;
        run_child(clean(&self.wheelbarrow).arg("inspect").arg(&artifact))?;
        no_foreign_files(&self.place.join("cache"))?;
        self.refuses_unknown_libraries()?;
        Ok(artifact)
    }

    /// What was built links with libpq, which no system has from the start, and the settings of this site do not know of.
    fn refuses_unknown_libraries(&self) -> Result<()> {
        let site = self.place.join("unlinked");
        site::write(&site, site::DRIVER, "name = \"unlinked\"\nversion = \"1\"\n")?;
        let (suite, system, _) = SYSTEMS[0];
        let mut build = self.wheelbarrow(&site);
        build.args(["--target", system, "--container", &Images::builder(suite), "--bytecode", "never"]);
        let output = build.arg("--output").arg(self.place.join("unlinked.zip")).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        print!("{said}");
        let expected = [
            "elf-library:psycopg-c  ",
            "libpq.so.5, which no wheel contains and the target does not promise",
        ];
        if output.status.code() != Some(8) || expected.iter().any(|text| !said.contains(text)) {
            bail!("a module that links with what {system} lacks was not refused");
        }
        Ok(())
    }

    fn serve_everywhere(&self, artifact: &Path) -> Result<()> {
        std::thread::scope(|scope| {
            let servers = SYSTEMS.map(|(suite, system, minor)| {
                scope.spawn(move || self.serve(artifact, suite, system, minor))
            });
            servers.into_iter().try_for_each(join)
        })
    }

    fn serve(&self, artifact: &Path, suite: &str, system: &str, minor: u32) -> Result<()> {
        let output = self.on_server(suite, artifact, SERVE)?;
        let said = String::from_utf8_lossy(&output.stdout);
        print!("{said}");
        let page = said.lines().last().unwrap_or_default();
        let probed = said.lines().next() == Some(&format!("{system}:3.{minor}"));
        if !probed || !page.starts_with(&format!("200 Python 3.{minor}, psycopg c")) {
            bail!("{system} did not serve the page:\n{said}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Any Python that the artifact is not for, and one that it is for on too old a system.
    fn refused_elsewhere(&self, artifact: &Path) -> Result<()> {
        let is_other = |minor: u32| SYSTEMS.iter().all(|(_, _, of)| *of != minor);
        let mut found = pythons::find_all();
        found.retain(|python| is_other(python.minor));
        // One between those that it is for, if there is one.
        let Some(python) = found.iter().max_by_key(|python| python.minor == 10) else {
            println!("skipped: every Python here is one that the artifact is for");
            return Ok(());
        };
        let destination = self.place.join("refused");
        let output = clean(&python.path).arg(artifact).arg("-d").arg(&destination).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        print!("{said}");
        let wanted =
            ["Python 3.9", "Python 3.11", "Python 3.13", &format!("this is Python {}", python.version())];
        if output.status.code() != Some(4)
            || wanted.iter().any(|word| !said.contains(word))
            || destination.exists()
        {
            bail!("{} was not refused as it should be", python.path.display());
        }
        Ok(())
    }

    /// As the ancestor did: the program itself runs in the container, and the compiler is the container's. What it makes
    /// runs on a server of that system. Gives an artifact of the same site, built from out here.
    fn in_container(&self) -> Result<PathBuf> {
        let site = self.place.join("small");
        site::write_small(&site)?;
        let (suite, system, _) = SYSTEMS[0];
        let image = Images::builder(suite);
        let (inside, outside) = (self.place.join("inside.zip"), self.place.join("outside.zip"));
        run_child(self.wheelbarrow(&site).args(["--in-container", &image]).arg("--output").arg(&inside))?;
        no_foreign_files(&self.place)?;
        // Another user may have other Pythons to compile with.
        let container = ["--target", system, "--container", &image, "--bytecode", "never"];
        run_child(self.wheelbarrow(&site).args(container).arg("--output").arg(&outside))?;
        for artifact in [&inside, &outside] {
            let script = "python3 /srv/demo.zip -d /srv/site && /srv/site/venv/bin/python -c 'import fast; print(fast.parse(\"42\"))'";
            let output = self.on_server(suite, artifact, script)?;
            if !String::from_utf8_lossy(&output.stdout).ends_with("42\n") {
                bail!("{}: {}", artifact.display(), String::from_utf8_lossy(&output.stderr));
            }
        }
        Ok(outside)
    }

    /// An artifact for aarch64, installed by its own installer under emulation.
    fn other_cpu(&self) -> Result<()> {
        let site = self.place.join("wheels-only");
        let artifact = self.place.join("aarch64.zip");
        let mut build = self.wheelbarrow(&site);
        build.args(["--target", "debian-12/aarch64", "--bytecode", "never"]);
        run_child(build.arg("--output").arg(&artifact))?;
        let qemu = "qemu-aarch64-static";
        if !succeeds(Command::new(qemu).arg("--version")) {
            println!("skipped: no {qemu} here to install the artifact for aarch64 with");
            return Ok(());
        }
        let destination = self.place.join("aarch64");
        site::remove(&destination)?;
        let installer = self.place.join("installer-aarch64");
        let found = site::extract(&artifact, ".wheelbarrow/native/linux-aarch64", &installer)?;
        if !found {
            println!("skipped: wheelbarrow was built without the installer for aarch64");
            return Ok(());
        }
        let request = site::request(&artifact, &destination)?;
        let said = site::install_under(qemu, &installer, &request).context("the installer for aarch64")?;
        print!("{said}");
        run_child(clean(&self.wheelbarrow).arg("verify").arg(&destination))
    }
}

/// Says how long it took.
fn timed<T>(what: &str, task: impl FnOnce() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    let result = task().with_context(|| what.to_owned())?;
    println!("== {what}: {:.0} s", begun.elapsed().as_secs_f64());
    Ok(result)
}
