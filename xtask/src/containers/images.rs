//! Images made by mmdebstrap, and the engine that runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::children::clean;

/// Suite, system, and the Python that it brings.
pub(super) const SYSTEMS: [(&str, &str, u32); 3] =
    [("bullseye", "debian-11", 9), ("bookworm", "debian-12", 11), ("trixie", "debian-13", 13)];

/// A mirror may have lists of these that are a week old, which apt refuses.
const UNRELEASED: [&str; 2] = ["forky", "sid"];

/// Small limits for sandboxes that may not raise them, the machine's own network for those that may not make another, and
/// the runtime that takes any layout of control groups.
pub(super) const CONFIGURATION: &str = r#"[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "host"
[engine]
runtime = "runc"
"#;

/// What servers have.
const SERVER: &str = "python3,libpq5";
/// What building takes beside it. One of them lacks the headers of libpq, which [`PACKAGES`] brings.
const BUILDER: &str = "python3-dev gcc libc6-dev";
const HEADERS: &str = "libpq-dev";

/// The system whose image is completed by `packages` in the settings.
pub(super) const COMPLETED: &str = "debian-12";
pub(super) const PACKAGES: [&str; 1] = [HEADERS];

/// Nobody reads in there.
const LEFT_OUT: [&str; 3] = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];

/// Writes the server before the builder is made of it. What mmdebstrap removes at its end is left out.
const SAVE_SERVER: &str = r#"tar -C "$1" --create --file "$SERVER_TAR" --one-file-system --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* --exclude=./var/lib/apt/lists/* --exclude=./var/cache/apt/* ."#;

pub(crate) struct Images {
    /// For podman, where the person has none.
    configuration: Option<PathBuf>,
}

impl Images {
    pub(super) fn server(suite: &str) -> String {
        format!("localhost/wheelbarrow-test-server:{suite}")
    }

    pub(super) fn builder(suite: &str) -> String {
        format!("localhost/wheelbarrow-test-builder:{suite}")
    }

    /// Looks for the programs. An error is the reason why containers do not run.
    pub(crate) fn find(place: &Path) -> Result<Self> {
        let mut configuration = None;
        if std::env::var_os("CONTAINERS_CONF").is_none() {
            let path = place.join("containers.conf");
            fs::write(&path, CONFIGURATION)?;
            configuration = Some(path);
        }
        let images = Self { configuration };
        output(images.engine().arg("info")).context("podman does not work")?;
        output(Command::new("mmdebstrap").arg("--version")).context("there is no mmdebstrap")?;
        Ok(images)
    }

    /// Makes those that are not there: downloading and unpacking take turns.
    pub(super) fn make_all(&self, place: &Path) -> Result<()> {
        std::thread::scope(|scope| {
            let suites =
                SYSTEMS.map(|(suite, system, _)| scope.spawn(move || self.make(place, suite, system)));
            suites.into_iter().try_for_each(join)
        })
    }

    /// Whether one starts.
    pub(super) fn run(&self) -> Result<()> {
        let server = Self::server(SYSTEMS[0].0);
        output(self.engine().args(["run", "--rm", "--network=none", &server, "true"])).map(drop)
    }

    /// podman, with a configuration that works in sandboxes.
    pub(crate) fn engine(&self) -> Command {
        let mut command = clean("podman");
        self.configure(&mut command);
        command
    }

    pub(crate) fn configure(&self, command: &mut Command) {
        if let Some(path) = &self.configuration {
            command.env("CONTAINERS_CONF", path);
        }
    }

    /// Unless it is there: of Debian's packages, by name with commas between them.
    pub(crate) fn make_system(&self, place: &Path, suite: &str, image: &str, packages: &str) -> Result<()> {
        if self.engine().args(["image", "exists", image]).status()?.success() {
            return Ok(());
        }
        let tar =
            place.join(format!("{}.tar", image.rsplit('/').next().unwrap_or_default().replace(':', "-")));
        println!("making {image}");
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=minbase", &format!("--include={packages}")]);
        if UNRELEASED.contains(&suite) {
            command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
        }
        output(command.arg(suite).arg(&tar))?;
        output(self.engine().arg("import").arg(&tar).arg(image))?;
        Ok(fs::remove_file(&tar)?)
    }

    /// Both images of a suite in one go.
    fn make(&self, place: &Path, suite: &str, system: &str) -> Result<()> {
        let images = [Self::server(suite), Self::builder(suite)];
        let exists = |image: &String| Ok(self.engine().args(["image", "exists", image]).status()?.success());
        let exist: Result<Vec<bool>> = images.iter().map(exists).collect();
        if exist?.into_iter().all(|exists| exists) {
            return Ok(());
        }
        println!("making {} and {}", images[0], images[1]);
        let tar = |kind: &str| place.join(format!("{suite}-{kind}.tar"));
        let (server, builder) = (tar("server"), tar("builder"));
        let headers = if system == COMPLETED { "" } else { HEADERS };
        let complete = format!(
            r#"chroot "$1" apt-get install --quiet=2 --yes --no-install-recommends {BUILDER} {headers} >/dev/null"#
        );
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=minbase", "--aptopt=Acquire::Languages \"none\""]);
        command.args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
        command.arg(format!("--include={SERVER}"));
        for hook in [SAVE_SERVER, &complete] {
            command.arg(format!("--customize-hook={hook}"));
        }
        command.env("SERVER_TAR", &server).env("DEBIAN_FRONTEND", "noninteractive");
        output(command.arg(suite).arg(&builder))?;
        for (tar, image) in [server, builder].iter().zip(&images) {
            output(self.engine().arg("import").arg(tar).arg(image))?;
            fs::remove_file(tar)?;
        }
        Ok(())
    }
}

/// What it prints; what it says where it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", said.trim().lines().last().unwrap_or("no reason"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
