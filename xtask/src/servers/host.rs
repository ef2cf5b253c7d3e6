//! A machine with systemd, in a container.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::containers::images::{Images, output};

/// How long anything in there may take, for `timeout`.
const LIMIT: &str = "120";
const INIT: &str = include_str!("init.sh");
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Host<'i> {
    images: &'i Images,
    name: String,
}

/// How something ended, and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// A failure where it did not end like this, or does not say all of that on stderr.
    pub(crate) fn expect(self, code: i32, words: &[&str]) -> Result<Self> {
        let missing: Vec<_> = words.iter().filter(|word| !self.err.contains(**word)).collect();
        if self.code != code || !missing.is_empty() {
            bail!("code {} and not {code}, or without {missing:?}:\n{}{}", self.code, self.out, self.err);
        }
        Ok(self)
    }
}

/// What a machine is made of.
pub(crate) struct Machine<'m> {
    pub(crate) name: &'m str,
    pub(crate) image: &'m str,
    /// What of this machine can be read in there, and where.
    pub(crate) mounts: &'m [(PathBuf, &'m str)],
    /// Directories that are on this machine's disk, and not on the overlay of the image, which is slower.
    pub(crate) disks: &'m [&'m str],
}

impl<'i> Host<'i> {
    /// An error is the reason why there is none.
    pub(crate) fn start(images: &'i Images, machine: &Machine<'_>) -> Result<Self> {
        let host = Self { images, name: format!("wheelbarrow-{}-{}", machine.name, std::process::id()) };
        let mut run = images.engine();
        // Not `--rm`: what is started anew ends first.
        run.args(["run", "--detach", "--name", &host.name]);
        run.args(["--systemd=always", "--privileged", "--network=none"]);
        for (from, to) in machine.mounts {
            run.args(["--volume", &format!("{}:{to}:ro", from.display())]);
        }
        for directory in machine.disks {
            run.args(["--volume", directory]);
        }
        output(run.args([machine.image, "sh", "-c", INIT]))?;
        host.wait_until_up()?;
        Ok(host)
    }

    fn wait_until_up(&self) -> Result<()> {
        let begun = Instant::now();
        // Degraded is good enough: a sandbox has no hardware clock, or no huge pages.
        while !["running", "degraded"].contains(&self.sh("systemctl is-system-running").out.trim()) {
            if begun.elapsed() > PATIENCE {
                bail!("systemd does not start in a container");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Ends every process in there, and starts anew with the same disk.
    pub(crate) fn reboot(&self) -> Result<()> {
        output(self.images.engine().args(["restart", "--time", "60", &self.name]))?;
        self.wait_until_up()
    }

    /// Ends everything in there at once, as if there were no power any more.
    pub(crate) fn power_off(&self) -> Result<()> {
        output(self.images.engine().args(["kill", &self.name])).map(drop)
    }

    /// After [`Self::power_off`], with the same disk.
    pub(crate) fn power_on(&self) -> Result<()> {
        output(self.images.engine().args(["start", &self.name]))?;
        self.wait_until_up()
    }

    /// The number of its first process, as this machine has it.
    pub(crate) fn process(&self) -> Result<String> {
        let words = ["inspect", "--format", "{{.State.Pid}}", &self.name];
        Ok(output(self.images.engine().args(words))?.trim().to_owned())
    }

    /// A file of this machine, as it is.
    pub(crate) fn copy(&self, from: &Path, to: &str) -> Result<()> {
        output(self.images.engine().arg("cp").arg(from).arg(format!("{}:{to}", self.name))).map(drop)
    }

    /// bash in there, that takes commands from its standard input.
    pub(crate) fn shell(&self) -> Command {
        let mut command = self.images.engine();
        command.args(["exec", "--interactive", "--workdir", "/root", &self.name, "bash"]);
        command
    }

    /// Nothing that the packages have configured serves.
    pub(crate) fn clear(&self) -> Result<()> {
        self.good("systemctl stop apache2 nginx; rm -f /etc/nginx/sites-enabled/* /etc/apache2/sites-enabled/*; mkdir -p /srv").map(drop)
    }

    pub(crate) fn exec(&self) -> Command {
        self.exec_within(LIMIT)
    }

    /// What ends in there after so many seconds at the latest.
    pub(crate) fn exec_within(&self, seconds: &str) -> Command {
        let mut command = self.images.engine();
        command.args(["exec", "--interactive", &self.name, "timeout", seconds]);
        command
    }

    /// What a script of the shell says and how it ends.
    pub(crate) fn sh(&self, script: &str) -> Said {
        self.sh_within(LIMIT, script)
    }

    /// The same for what may take longer than most.
    pub(crate) fn sh_within(&self, seconds: &str, script: &str) -> Said {
        let output = self.exec_within(seconds).args(["sh", "-c", script]).stdin(Stdio::null()).output();
        match output {
            Ok(output) => Said {
                code: output.status.code().unwrap_or(-1),
                out: String::from_utf8_lossy(&output.stdout).into_owned(),
                err: String::from_utf8_lossy(&output.stderr).into_owned(),
            },
            Err(error) => Said { code: -1, out: String::new(), err: error.to_string() },
        }
    }

    /// What a script says that must end well.
    pub(crate) fn good(&self, script: &str) -> Result<String> {
        let said = self.sh(script).expect(0, &[]);
        Ok(said.with_context(|| script.lines().next().unwrap_or_default().to_owned())?.out)
    }

    /// Until something listens there on loopback.
    pub(crate) fn wait_for_port(&self, port: u16) -> Result<()> {
        let script = "import socket, sys, time\n\
                      for attempt in range(300):\n    \
                          if socket.socket().connect_ex(('127.0.0.1', int(sys.argv[1]))) == 0: sys.exit()\n    \
                          time.sleep(0.1)\n\
                      sys.exit('nothing listens')";
        self.good(&format!("python3 -c \"{script}\" {port}")).map(drop)
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        let script = "mkdir -p \"$(dirname \"$1\")\" && cat > \"$1\"";
        let mut child = self.exec().args(["sh", "-c", script, "sh", path]).stdin(Stdio::piped()).spawn()?;
        child.stdin.take().context("no standard input")?.write_all(text.as_bytes())?;
        if !child.wait()?.success() {
            bail!("cannot write {path}");
        }
        Ok(())
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        let _ = output(self.images.engine().args(["rm", "--force", "--volumes", "--time", "0", &self.name]));
    }
}
