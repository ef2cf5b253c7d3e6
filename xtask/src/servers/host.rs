//! A machine with systemd, in a container.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::place::Versions;
use crate::children::workspace;
use crate::containers::images::{Images, output};

/// How long anything in there may take, for `timeout`.
const LIMIT: &str = "120";
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Host<'i> {
    images: &'i Images,
    name: String,
}

/// How something ended, and what it said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Said {
    /// A failure where it did not end like this, or does not say all of that on stderr.
    pub(super) fn expect(self, code: i32, words: &[&str]) -> Result<Self> {
        let missing: Vec<_> = words.iter().filter(|word| !self.err.contains(**word)).collect();
        if self.code != code || !missing.is_empty() {
            bail!("code {} and not {code}, or without {missing:?}:\n{}{}", self.code, self.out, self.err);
        }
        Ok(self)
    }
}

impl<'i> Host<'i> {
    /// An error is the reason why there is none.
    pub(super) fn start(images: &'i Images, versions: &Versions) -> Result<Self> {
        let host = Self { images, name: format!("wheelbarrow-servers-{}", std::process::id()) };
        let mount = |from: &Path, to: &str| format!("{}:{to}:ro", from.display());
        let mut run = images.engine();
        run.args([
            "run",
            "--detach",
            "--rm",
            "--name",
            &host.name,
            "--systemd=always",
            "--privileged",
            "--network=none",
        ]);
        run.args(["--volume", &mount(&versions.directory, "/artifacts")]);
        run.args(["--volume", &mount(&versions.wheelbarrow, "/usr/bin/wheelbarrow")]);
        run.args(["--volume", &mount(&workspace().join("xtask/src/servers"), "/scripts")]);
        output(run.args([super::IMAGE, "/sbin/init"]))?;
        let begun = Instant::now();
        // Degraded is good enough: a sandbox has no hardware clock, or no huge pages.
        while !["running", "degraded"].contains(&host.sh("systemctl is-system-running").out.trim()) {
            if begun.elapsed() > PATIENCE {
                bail!("systemd does not start in a container");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(host)
    }

    /// Nothing that the packages have configured serves.
    pub(super) fn clear(&self) -> Result<()> {
        self.good("systemctl stop apache2 nginx; rm -f /etc/nginx/sites-enabled/* /etc/apache2/sites-enabled/*; mkdir -p /srv").map(drop)
    }

    pub(super) fn exec(&self) -> Command {
        let mut command = self.images.engine();
        command.args(["exec", "--interactive", &self.name, "timeout", LIMIT]);
        command
    }

    /// What a script of the shell says and how it ends.
    pub(super) fn sh(&self, script: &str) -> Said {
        let output = self.exec().args(["sh", "-c", script]).stdin(Stdio::null()).output();
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
    pub(super) fn good(&self, script: &str) -> Result<String> {
        let said = self.sh(script).expect(0, &[]);
        Ok(said.with_context(|| script.lines().next().unwrap_or_default().to_owned())?.out)
    }

    /// Until something listens there on loopback.
    pub(super) fn wait_for_port(&self, port: u16) -> Result<()> {
        let script = "import socket, sys, time\n\
                      for attempt in range(300):\n    \
                          if socket.socket().connect_ex(('127.0.0.1', int(sys.argv[1]))) == 0: sys.exit()\n    \
                          time.sleep(0.1)\n\
                      sys.exit('nothing listens')";
        self.good(&format!("python3 -c \"{script}\" {port}")).map(drop)
    }

    pub(super) fn write(&self, path: &str, text: &str) -> Result<()> {
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
        let _ = output(self.images.engine().args(["rm", "--force", "--time", "0", &self.name]));
    }
}
