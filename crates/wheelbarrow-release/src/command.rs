//! Commands that run for a release: with a deadline, into a log, stopped when somebody asks for it.
//!
//! Each runs in a process group of its own, so that what it started ends with it. Its input is empty and its output goes
//! to a file below the release's `.wheelbarrow/logs/`, which only the owner and the group may read.

use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use fs_err as fs;
use rustix::process::getuid;
use wheelbarrow_artifact::progress::Progress;
use wheelbarrow_artifact::release::Words;

use crate::ReleaseError;
use crate::child::{self, Ended};
use crate::identity::Identity;
use crate::lock::RootLock;
use crate::release::CompleteRelease;
use crate::secrets::Secrets;
use crate::settings::{Settings, bin};

/// How many lines and bytes of a log stand in an error.
const TAIL: (usize, u64) = (20, 16 << 10);

/// A command that is ready to run.
pub(crate) struct Run<'a> {
    pub(crate) command: Command,
    /// As it was asked for.
    pub(crate) words: String,
    pub(crate) log: PathBuf,
    pub(crate) timeout: Duration,
    /// What must not stand in an error.
    pub(crate) secrets: Secrets,
    /// Kept by the command for as long as it runs.
    pub(crate) lock: Option<&'a RootLock>,
}

/// What a command finds around itself in a release: the virtualenv first on PATH, the code as working directory, and
/// the settings module, where `loadenv` does not set one.
pub(crate) fn in_release(
    release: &CompleteRelease,
    settings: &Settings,
    words: &Words,
) -> Result<Command, ReleaseError> {
    let site = release.site()?;
    let code = release.path().join(&site.project.import_path);
    let mut command = Command::new(words.program());
    command.args(words.arguments()).current_dir(&code);
    let mut path = bin(release).into_os_string();
    if let Some(usual) = std::env::var_os("PATH").filter(|usual| !usual.is_empty()) {
        path.push(":");
        path.push(usual);
    }
    command.env("PATH", path).env("VIRTUAL_ENV", release.virtualenv());
    for name in ["PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"] {
        command.env_remove(name);
    }
    if let Some(module) = crate::django::settings_module(release, &site, settings)? {
        command.env("DJANGO_SETTINGS_MODULE", module);
    }
    run_as(&mut command, settings.identity.as_ref());
    Ok(command)
}

/// Has the command run as whom the site runs as, where root starts it.
pub(crate) fn run_as(command: &mut Command, identity: Option<&Identity>) {
    let Some(identity) = identity.filter(|_| getuid().is_root()) else { return };
    if let Some(group) = identity.group {
        command.gid(group);
    }
    if let Some(user) = identity.user {
        command.uid(user).env("HOME", &identity.home);
    }
}

impl Run<'_> {
    /// Waits for it to end well.
    pub(crate) fn run(mut self, progress: &dyn Progress) -> Result<(), ReleaseError> {
        let log = open_log(&self.log)?;
        let clone = |log: &fs::File| log.file().try_clone().map_err(ReleaseError::io("open", &self.log));
        self.command.stdin(Stdio::null()).stdout(clone(&log)?).stderr(clone(&log)?).process_group(0);
        let begin = log.metadata().map_or(0, |metadata| metadata.len());
        let spawned = match self.lock {
            Some(lock) => lock.spawn(&mut self.command, &self.words),
            None => self.command.spawn(),
        };
        let mut child = spawned.map_err(|source| {
            let program: OsString = self.command.get_program().to_owned();
            let program = program.to_string_lossy().into_owned();
            ReleaseError::NoProgram { command: self.words.clone(), program, source }
        })?;
        let ended = child::wait(&mut child, self.timeout, progress);
        if let Some(lock) = self.lock {
            lock.spawned_ended();
        }
        // What a program says of its passwords stays with it. On a full disk it stands in a file of mode 0640.
        let _ = self.secrets.hide_in(&self.log, begin);
        let problem = match ended.map_err(ReleaseError::io("wait for the command that writes", &self.log))? {
            Ended::By(status) if status.success() => return Ok(()),
            Ended::By(status) => describe(status),
            Ended::Late => format!("was stopped after {} s, its timeout", self.timeout.as_secs()),
            Ended::Cancelled => return Err(ReleaseError::Cancelled),
        };
        let tail = self.secrets.hide(&tail(&self.log, begin).unwrap_or_default());
        Err(ReleaseError::Command { command: self.words, problem, tail, log: Some(self.log) })
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn open_log(path: &Path) -> Result<fs::File, ReleaseError> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory).map_err(ReleaseError::io("make the directory", directory))?;
    let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o640).open(path);
    Ok(fs::File::from_parts(file.map_err(ReleaseError::io("open", path))?, path))
}

/// The last lines of a log, of what was written from `begin` on.
fn tail(path: &Path, begin: u64) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(begin.max(end.saturating_sub(TAIL.1))))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL.0)..].join("\n"))
}
