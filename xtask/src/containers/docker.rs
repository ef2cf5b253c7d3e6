//! The same build by docker: the daemon that answers, or one of our own for as long as it takes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fs_err as fs;

use super::images::{Images, SYSTEMS, output};
use super::site;
use super::test::{Test, no_foreign_files, same_bytes};
use crate::children::{clean, run as run_child};

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds `by_podman` again, sources in docker's containers.
pub(super) fn same(test: &Test, by_podman: &Path) -> Result<()> {
    let docker = match Docker::find(&test.place) {
        Ok(docker) => docker,
        Err(reason) => {
            println!("skipped: no docker here: {reason:#}");
            return Ok(());
        }
    };
    let (suite, system, _) = SYSTEMS[0];
    let image = Images::builder(suite);
    let tar = test.place.join("docker.tar");
    site::remove_file(&tar)?;
    output(test.images.engine().args(["save", "--quiet", "--output"]).arg(&tar).arg(&image))?;
    output(docker.command().args(["load", "--quiet", "--input"]).arg(&tar))?;
    fs::remove_file(&tar)?;
    let artifact = test.place.join("docker.zip");
    // What podman's containers built must not be taken.
    let cache = test.place.join("docker-cache");
    site::remove(&cache)?;
    let mut build = test.wheelbarrow_with(&test.place.join("small"), &cache);
    build.args(["--target", system, "--container", &image, "--container-engine", "docker"]);
    build.args(["--bytecode", "never"]).arg("--output").arg(&artifact);
    docker.address(&mut build);
    run_child(&mut build)?;
    no_foreign_files(&cache)?;
    same_bytes(by_podman, &artifact)
}

struct Docker {
    /// Of a daemon of ours.
    socket: Option<PathBuf>,
    daemon: Option<Child>,
    directory: PathBuf,
}

impl Docker {
    /// An error is the reason why there is none.
    fn find(place: &Path) -> Result<Self> {
        let mut docker = Self { socket: None, daemon: None, directory: place.join("docker") };
        let reason = match docker.answers() {
            Ok(()) => return Ok(docker),
            Err(reason) => reason,
        };
        if !rustix::process::getuid().is_root() {
            return Err(reason);
        }
        docker.start()?;
        Ok(docker)
    }

    fn command(&self) -> Command {
        let mut command = clean("docker");
        self.address(&mut command);
        command
    }

    fn address(&self, command: &mut Command) {
        if let Some(socket) = &self.socket {
            command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        }
    }

    fn answers(&self) -> Result<()> {
        output(self.command().args(["info", "--format", "{{.ServerVersion}}"])).map(drop)
    }

    /// The handle of the machine's network, which a daemon leaves mounted.
    fn unmount(&self) {
        let handle = self.directory.join("run/netns/default");
        if handle.exists() {
            let _ = Command::new("umount").arg(handle).status();
        }
    }

    /// Without a network of its own: what is built in a container needs none.
    fn start(&mut self) -> Result<()> {
        self.unmount();
        site::remove(&self.directory)?;
        fs::create_dir_all(&self.directory)?;
        let socket = self.directory.join("socket");
        let log = fs::File::create(self.directory.join("log"))?.into_parts().0;
        let mut command = Command::new("dockerd");
        command.arg("--host").arg(format!("unix://{}", socket.display()));
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "run"), ("--pidfile", "pid")] {
            command.arg(flag).arg(self.directory.join(name));
        }
        command.args(["--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.daemon = Some(command.spawn().context("cannot start dockerd")?);
        self.socket = Some(socket);
        let begun = Instant::now();
        while let Err(reason) = self.answers() {
            if begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.directory.join("log"))?;
                bail!("{reason:#}; dockerd: {}", log.lines().last().unwrap_or("nothing"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        // Asked to end, it ends its containers and unmounts what it has mounted; killed, it would not.
        if let Some(process) = rustix::process::Pid::from_raw(daemon.id().cast_signed()) {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        }
        let _ = daemon.wait();
        self.unmount();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
