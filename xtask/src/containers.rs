//! `cargo xtask containers`: one artifact for three generations of Debian, built on this machine, sources in containers;
//! installed and served in each of the three.
//!
//! The images come from Debian's packages by mmdebstrap and stay in `target/containers` and in the engine. What serves
//! has no compiler, only Python and the one library that the site needs. Nothing in here uses the network of a container.

pub(crate) mod images;
mod site;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::children::{cargo, clean, run as run_child, succeeds, target_directory, workspace};
use crate::{pythons, tools};

use images::Images;

/// Suite, system, and the Python that it brings.
const SYSTEMS: [(&str, &str, u32); 3] =
    [("bullseye", "debian-11", 9), ("bookworm", "debian-12", 11), ("trixie", "debian-13", 13)];

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

pub(crate) fn run() -> Result<()> {
    let place = target_directory().join("containers");
    fs::create_dir_all(&place)?;
    let images = match Images::prepare(&place) {
        Ok(images) => images,
        Err(reason) => {
            println!("skipped: containers do not run here: {reason:#}");
            return Ok(());
        }
    };
    let test = Test { wheelbarrow: build_wheelbarrow()?, uv: tools::uv(&[])?, place, images };
    let artifact = test.build()?;
    for (suite, system, minor) in SYSTEMS {
        test.serve(&artifact, suite, system, minor)?;
    }
    test.refused_elsewhere(&artifact)?;
    test.same_bytes_everywhere()?;
    test.other_cpu()?;
    println!("containers: built once, installed and served on Debian 11, 12 and 13");
    Ok(())
}

struct Test {
    wheelbarrow: PathBuf,
    uv: PathBuf,
    place: PathBuf,
    images: Images,
}

/// With the installer of the other CPU.
fn build_wheelbarrow() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--package", "wheelbarrow"]).current_dir(workspace());
    run_child(command.env("WHEELBARROW_OTHER_INSTALLERS", "1"))?;
    Ok(target_directory().join("debug/wheelbarrow"))
}

impl Test {
    fn wheelbarrow(&self, site: &Path) -> Command {
        let mut command = clean(&self.wheelbarrow);
        command.arg("build").arg(site).arg("--cache-dir").arg(self.place.join("cache")).env("UV", &self.uv);
        self.images.configure(&mut command);
        command
    }

    /// For all three, `psycopg-c` built in a container of each.
    fn build(&self) -> Result<PathBuf> {
        let site = self.place.join("site");
        site::write(&site, site::REQUIREMENTS, &site::settings(&SYSTEMS))?;
        let artifact = self.place.join("demo.zip");
        run_child(self.wheelbarrow(&site).arg("--output").arg(&artifact))?;
        run_child(clean(&self.wheelbarrow).arg("inspect").arg(&artifact))?;
        no_foreign_files(&self.place)?;
        Ok(artifact)
    }

    fn serve(&self, artifact: &Path, suite: &str, system: &str, minor: u32) -> Result<()> {
        let mount = format!("{}:/srv/demo.zip:ro", artifact.display());
        let mut server = self.images.engine();
        server.args(["run", "--rm", "--network=none", "--volume", &mount, &Images::server(suite)]);
        let output = server.args(["sh", "-c", SERVE]).output()?;
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

    /// The same lock and code in containers of the oldest and the newest system, and out here, give the same file; and with
    /// the same Python, the same bytecode in it.
    fn same_bytes_everywhere(&self) -> Result<()> {
        let site = self.place.join("wheels-only");
        site::write(&site, site::WHEELS_ONLY, "name = \"demo\"\nversion = \"1.0\"\n")?;
        let targets = SYSTEMS.iter().flat_map(|(_, system, _)| ["--target", *system]);
        let targets: Vec<&str> = targets.chain(["--bytecode", "never"]).collect();
        let here = self.place.join("here.zip");
        run_child(self.wheelbarrow(&site).args(&targets).arg("--output").arg(&here))?;
        let lock = self.place.join("pylock.demo.toml");
        for (suite, ..) in [SYSTEMS[0], SYSTEMS[2]] {
            let there = self.place.join(format!("{suite}.zip"));
            let mut build = self.wheelbarrow(&site);
            build.args(&targets).args(["--offline", "--in-container", &Images::builder(suite)]);
            run_child(build.arg("--lock").arg(&lock).arg("--output").arg(&there))?;
            same(&here, &there)?;
        }
        self.same_bytecode(&site, &lock)
    }

    /// A Python of this machine that is not the system's can be lent to a container of a newer system.
    fn same_bytecode(&self, site: &Path, lock: &Path) -> Result<()> {
        let found = pythons::find_all();
        // Of a version whose wheels were fetched for the targets above.
        let is_fetched = |minor: u32| SYSTEMS.iter().any(|(_, _, of)| *of == minor);
        let mut lent = found.iter().rev().filter(|python| !python.path.starts_with("/usr"));
        let lent = lent.find(|python| is_fetched(python.minor));
        let Some(python) = lent else {
            println!("skipped: every Python here is the system's own, and cannot be lent to a container");
            return Ok(());
        };
        let (here, there) = (self.place.join("bytecode.zip"), self.place.join("bytecode-there.zip"));
        for (file, image) in [(&here, None), (&there, Some(Images::builder("trixie")))] {
            let mut build = self.wheelbarrow(site);
            build.arg("--python").arg(&python.path).args(["--offline", "--bytecode", "always"]);
            build.args(image.iter().flat_map(|image| ["--in-container", image]));
            // The cache of bytecode would only be compared with itself.
            site::remove(&self.place.join("cache/bytecode"))?;
            run_child(build.arg("--lock").arg(lock).arg("--output").arg(file))?;
        }
        same(&here, &there)
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

fn same(one: &Path, other: &Path) -> Result<()> {
    if fs::read(one)? != fs::read(other)? {
        bail!("{} and {} differ", one.display(), other.display());
    }
    Ok(())
}

/// What containers leave behind belongs to who started them.
fn no_foreign_files(place: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let own = fs::metadata(place)?.uid();
    for entry in walkdir::WalkDir::new(place.join("cache")) {
        let entry = entry?;
        if entry.metadata()?.uid() != own {
            bail!("{} belongs to somebody else", entry.path().display());
        }
    }
    Ok(())
}
