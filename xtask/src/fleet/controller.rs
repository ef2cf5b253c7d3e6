//! The controller: a directory as somebody would have it who deploys with Ansible, and its programs.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process_group};

use super::files;
use crate::ansible::Controller;
use crate::children::target_directory;

/// How long a play may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Nobody's known hosts: those of this run are made anew each time.
const SSH: &str = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";

pub(super) struct Desk {
    controller: Controller,
    pub(super) directory: PathBuf,
    key: PathBuf,
}

/// How a play ended.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) code: i32,
    pub(super) said: String,
    /// Of each host: `changed`, `failed`, `unreachable` and so on.
    pub(super) recap: BTreeMap<String, BTreeMap<String, u32>>,
}

impl Desk {
    /// With the files of the guide in it.
    pub(super) fn new(controller: Controller, directory: PathBuf, key: &Path) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        for (path, text) in files::CONTROLLER {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&directory))?;
            fs::write(path, text)?;
        }
        Ok(Self { controller, directory, key: key.to_path_buf() })
    }

    /// One of Ansible's programs, in the directory.
    pub(super) fn command(&self, program: &str) -> Result<Command> {
        let mut command = self.controller.command(program)?;
        command.current_dir(&self.directory).env("ANSIBLE_SSH_COMMON_ARGS", SSH);
        command.env("ANSIBLE_PRIVATE_KEY_FILE", &self.key);
        // The path of a socket must not be long.
        command.env("ANSIBLE_SSH_CONTROL_PATH_DIR", "/tmp/.wheelbarrow-fleet");
        command.env("ANSIBLE_HOME", self.directory.join(".ansible"));
        // Beside Ansible, who deploys has the wheelbarrow that built the artifacts.
        let usual = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
        let usual = usual.unwrap_or_default().to_owned();
        let path = [target_directory().join("release")].into_iter().chain(std::env::split_paths(&usual));
        command.env("PATH", std::env::join_paths(path)?);
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// `ansible-playbook WORDS`.
    pub(super) fn play(&self, words: &[&str]) -> Result<Played> {
        self.play_and(words, "", |_| Ok(()))
    }

    /// The same; when that task begins for the second time, something happens to its group of processes, or to the world.
    pub(super) fn play_and(
        &self,
        words: &[&str],
        task: &str,
        happens: impl FnOnce(Pid) -> Result<()>,
    ) -> Result<Played> {
        println!("   $ ansible-playbook {}", words.join(" "));
        let mut command = self.command("ansible-playbook")?;
        let log = self.directory.join("play.log");
        let file = fs::File::create(&log)?.into_parts().0;
        let mut child =
            command.args(words).process_group(0).stdout(file.try_clone()?).stderr(file).spawn()?;
        let group = Pid::from_child(&child);
        let mut happens = Some(happens);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                kill_process_group(group, Signal::KILL)?;
                bail!("a play takes longer than {} s:\n{}", PATIENCE.as_secs(), fs::read_to_string(&log)?);
            }
            if !task.is_empty()
                && fs::read_to_string(&log)?.matches(task).count() > 1
                && let Some(happens) = happens.take()
            {
                happens(group)?;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut said = String::new();
        fs::File::open(&log)?.read_to_string(&mut said)?;
        if !task.is_empty() && happens.is_some() {
            bail!("`{task}` has not begun a second time:\n{said}");
        }
        let played = Played { code: status.code().unwrap_or(-1), recap: recap(&said), said };
        let changed: Vec<_> = played
            .recap
            .iter()
            .map(|(host, counts)| format!("{host} {}", count(counts, "changed")))
            .collect();
        println!(
            "     exit code {}, {} s, changed: {}",
            played.code,
            begun.elapsed().as_secs(),
            changed.join(", ")
        );
        Ok(played)
    }

    /// The same, which must end well.
    pub(super) fn good(&self, words: &[&str]) -> Result<Played> {
        self.play(words)?.expect(0, &[])
    }
}

impl Played {
    /// A failure where it did not end like this, or does not say all of that.
    pub(super) fn expect(self, code: i32, words: &[&str]) -> Result<Self> {
        // Ansible breaks lines where it likes.
        let said = self.said.split_whitespace().collect::<Vec<_>>().join(" ");
        let missing: Vec<_> = words.iter().filter(|word| !said.contains(**word)).collect();
        if self.code != code || !missing.is_empty() {
            bail!("exit code {} and not {code}, or without {missing:?}:\n{}", self.code, self.said);
        }
        Ok(self)
    }

    /// A failure where a host was changed.
    pub(super) fn expect_unchanged(self) -> Result<Self> {
        let changed: Vec<_> = self.recap.iter().filter(|(_, counts)| count(counts, "changed") > 0).collect();
        if self.recap.is_empty() || !changed.is_empty() {
            bail!("changed: {changed:?}\n{}", self.said);
        }
        Ok(self)
    }

    pub(super) fn changed(&self, host: &str) -> u32 {
        self.recap.get(host).map_or(0, |counts| count(counts, "changed"))
    }
}

fn count(counts: &BTreeMap<String, u32>, key: &str) -> u32 {
    counts.get(key).copied().unwrap_or(0)
}

/// `web1 : ok=21 changed=0 unreachable=0 ...`, after `PLAY RECAP`.
fn recap(said: &str) -> BTreeMap<String, BTreeMap<String, u32>> {
    let lines = said.split("PLAY RECAP").nth(1).unwrap_or_default().lines().skip(1);
    let row = |line: &str| {
        let (host, counts) = line.split_once(" : ")?;
        let counts = counts.split_whitespace().filter_map(|word| {
            let (key, number) = word.split_once('=')?;
            Some((key.to_owned(), number.parse().ok()?))
        });
        Some((host.trim().to_owned(), counts.collect()))
    };
    lines.filter_map(row).collect()
}

/// What `ansible localhost -m debug` would know: a path as words have it.
pub(super) fn variable(name: &str, value: &Path) -> Result<String> {
    Ok(format!("{name}={}", value.to_str().context("a path that is no text")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recap_is_read() {
        let said = "x\nPLAY RECAP *****\nweb1    : ok=2  changed=1  unreachable=0\nweb2 : ok=1 changed=0\n\n";
        let recap = recap(said);
        assert_eq!((count(&recap["web1"], "changed"), count(&recap["web2"], "changed")), (1, 0));
        let played = Played { code: 2, said: said.to_owned(), recap };
        assert!(played.expect(2, &["PLAY RECAP"]).unwrap().expect_unchanged().is_err());
    }
}
