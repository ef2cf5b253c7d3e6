//! Images made by mmdebstrap, and the engine that runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use fs_err as fs;

use super::SYSTEMS;
use crate::children::clean;

/// Small limits for sandboxes that may not raise them, and the runtime that takes any layout of control groups.
const CONFIGURATION: &str = r#"[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
"#;

/// What servers have.
const SERVER: &str = "python3,libpq5";
/// What building takes beside it.
const BUILDER: &str = "python3,python3-dev,gcc,libc6-dev,libpq-dev";

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

    /// An error is the reason why containers do not run.
    pub(crate) fn ready(place: &Path) -> Result<Self> {
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

    /// Makes those that are not there. An error is the reason why containers do not run.
    pub(super) fn prepare(place: &Path) -> Result<Self> {
        let images = Self::ready(place)?;
        // One of each at a time: downloading and unpacking take turns.
        for (suite, ..) in SYSTEMS {
            std::thread::scope(|scope| -> Result<()> {
                let server = scope.spawn(|| images.make(place, suite, &Self::server(suite), SERVER));
                images.make(place, suite, &Self::builder(suite), BUILDER)?;
                server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })?;
            let server = Self::server(suite);
            output(images.engine().args(["run", "--rm", "--network=none", &server, "true"]))?;
        }
        Ok(images)
    }

    /// podman, with a configuration that works in sandboxes.
    pub(crate) fn engine(&self) -> Command {
        let mut command = clean("podman");
        self.configure(&mut command);
        command
    }

    pub(super) fn configure(&self, command: &mut Command) {
        if let Some(path) = &self.configuration {
            command.env("CONTAINERS_CONF", path);
        }
    }

    /// Unless it is there: of Debian's packages, by name with commas between them.
    pub(crate) fn make(&self, place: &Path, suite: &str, image: &str, packages: &str) -> Result<()> {
        if self.engine().args(["image", "exists", image]).status()?.success() {
            return Ok(());
        }
        let tar =
            place.join(format!("{}.tar", image.rsplit('/').next().unwrap_or_default().replace(':', "-")));
        println!("making {image}");
        let include = format!("--include={packages}");
        output(Command::new("mmdebstrap").args(["--quiet", "--variant=minbase", &include, suite]).arg(&tar))?;
        output(self.engine().arg("import").arg(&tar).arg(image))?;
        Ok(fs::remove_file(&tar)?)
    }
}

/// What it prints; what it says where it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}", said.trim().lines().last().unwrap_or("no reason").to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
