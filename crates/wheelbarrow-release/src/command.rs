//! Commands that run for a release: with a time limit, with a log, and stopped on request.
//!
//! There are two kinds. A command of the site runs in the release, as the site's user if root deploys: the
//! release's programs come first on PATH, and nothing of root's environment is passed. A command of the
//! deploying user, which restarts the server, runs outside the release: no file of the release decides which
//! program is started. Each command runs in a session of its own (`child`), its input is empty or a few
//! bytes, and its output goes to a file below the release's `.wheelbarrow/logs/` (`output`).

pub(crate) mod attempt;
pub(crate) mod child;
pub(crate) mod deadline;
pub(crate) mod fork_server;
pub(crate) mod identity;
pub(crate) mod output;
pub(crate) mod secrets;
pub(crate) mod terminal;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::process::getuid;
use wheelbarrow_artifact::release::Words;
use wheelbarrow_base::progress::Progress;

use crate::ReleaseError;
use crate::check::application::VARIABLE;
use crate::check::django;
use crate::command::child::{Leftovers, ProgramEnd};
use crate::command::fork_server::ForkServer;
use crate::command::identity::{Identity, other_user};
use crate::command::output::Output;
use crate::command::secrets::Secrets;
use crate::root::lock::RootLock;
use crate::root::receipt::needed_variables;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;

/// Where root's programs are, whatever PATH root was given: as systemd and Debian's sudo have it.
const SECURE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every command may have of the environment of who deploys; `LC_*` too.
const COMMON: [&str; 3] = ["LANG", "LANGUAGE", "TZ"];

/// How often the last line of a command is shown.
const LOOK: Duration = Duration::from_millis(500);

/// A command that is ready to run.
pub(crate) struct CommandRun<'a> {
    pub(crate) command: Command,
    /// As it was asked for.
    pub(crate) words: String,
    pub(crate) log: PathBuf,
    /// What it can read.
    pub(crate) input: Vec<u8>,
    pub(crate) timeout: Duration,
    /// What must not stand in an error.
    pub(crate) secrets: Secrets,
    /// Kept by a command of the site for as long as it runs. None for one that starts a server.
    pub(crate) lock: Option<&'a RootLock>,
}

/// What a command of the site finds around itself in a release: the virtualenv first on PATH, the code as working directory,
/// and the settings module, where `loadenv` does not set one.
pub(crate) fn in_release(
    release: &CompleteRelease,
    settings: &Settings,
    words: &Words,
) -> Result<Command, ReleaseError> {
    let site = release.site()?;
    let mut command = Command::new(words.program());
    command.args(words.arguments()).current_dir(release.path().join(&site.project.import_path));
    as_site(&mut command, release.path(), settings.identity.as_ref(), &settings.pass_environment);
    if let Some(module) = django::settings_module(release, &site, settings)? {
        command.env(VARIABLE, module);
    }
    Ok(command)
}

/// Has the command run as the site does: with the programs of the virtualenv in `install`, the variables without which its
/// Python does not start, and, if root starts it for another user, as that user, with an environment of which nothing else is
/// root's but the variables in `passed`.
pub(crate) fn as_site(command: &mut Command, install: &Path, identity: Option<&Identity>, passed: &[String]) {
    let virtualenv = install.join("venv");
    let other = identity.filter(|_| getuid().is_root());
    if let Some(group) = other.and_then(|identity| identity.group) {
        command.gid(group);
    }
    let mut usual = std::env::var_os("PATH");
    if let Some((user, identity)) = other_user(identity) {
        command.uid(user);
        let clean = CleanEnvironment { home: &identity.home, user: &identity.name, passed };
        clean.apply(command);
        usual = usual.filter(|_| passed.iter().any(|name| name == "PATH"));
        usual = usual.or_else(|| Some(SECURE_PATH.into()));
    }
    let mut path = virtualenv.join("bin").into_os_string();
    if let Some(usual) = usual.filter(|usual| !usual.is_empty()) {
        path.push(":");
        path.push(usual);
    }
    command.env("PATH", path).env("VIRTUAL_ENV", virtualenv);
    command.envs(needed_variables(install));
    for name in ["PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"] {
        command.env_remove(name);
    }
}

/// A command of who deploys: out of the release, and for root with its secure PATH and a clean environment.
pub(crate) fn as_deployer(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if getuid().is_root() {
        CleanEnvironment { home: "/root", user: "root", passed: &[] }.apply(&mut command);
        command.env("PATH", SECURE_PATH);
    }
    command
}

/// An environment of which little is inherited.
struct CleanEnvironment<'a> {
    home: &'a str,
    user: &'a str,
    /// Names of further variables.
    passed: &'a [String],
}

impl CleanEnvironment<'_> {
    fn apply(&self, command: &mut Command) {
        let is_passed = |name: &OsStr| {
            let name = name.to_string_lossy();
            COMMON.contains(&name.as_ref())
                || name.starts_with("LC_")
                || self.passed.iter().any(|passed| *passed == name)
        };
        let kept: Vec<(OsString, OsString)> =
            std::env::vars_os().filter(|(name, _)| is_passed(name)).collect();
        command.env_clear().envs(kept);
        command.env("HOME", self.home).env("USER", self.user).env("LOGNAME", self.user);
    }
}

impl CommandRun<'_> {
    /// Waits for it to end well.
    pub(crate) fn run(self, progress: &dyn Progress) -> Result<Output, ReleaseError> {
        self.run_in(None, progress)
    }

    /// The same, in a fork if that is possible.
    pub(crate) fn run_in(
        mut self,
        fork: Option<Fork<'_>>,
        progress: &dyn Progress,
    ) -> Result<Output, ReleaseError> {
        let log = match self.lock {
            Some(_) => Output::log_of_site(&self.log, &self.secrets),
            None => Output::log(&self.log),
        };
        let mut output = match log {
            // A full disk keeps nobody from going back.
            Err(error) if error.is_full() => Output::memory()?,
            log => log?,
        };
        let words = self.secrets.hide(&self.words);
        let forked = match fork {
            Some(fork) => self.fork(fork, &words, &output, progress)?,
            None => None,
        };
        let ended = match forked {
            Some(ended) => ended,
            None => self.start(&words, &output, progress)?,
        };
        // What a program says of its passwords stays with it. On a full disk it stands in a file of mode 0640.
        let _ = output.end(&self.secrets);
        let problem = match ended {
            ProgramEnd::By(status) if status.success() => return Ok(output),
            ProgramEnd::By(status) => describe(status),
            ProgramEnd::Late => format!("was stopped after {} s, its timeout", self.timeout.as_secs()),
            ProgramEnd::Cancelled => return Err(ReleaseError::Cancelled),
        };
        let tail = output.last_lines(&self.secrets);
        Err(ReleaseError::Command { command: words, problem, tail, log: Some(self.log) })
    }
}

/// Where a command may run that Django knows.
pub(crate) struct Fork<'f> {
    pub(crate) server: &'f mut ForkServer,
    /// As `python/fork_server.py` has it.
    pub(crate) request: serde_json::Value,
}

impl CommandRun<'_> {
    /// In a process of its own.
    fn start(
        &mut self,
        words: &str,
        output: &Output,
        progress: &dyn Progress,
    ) -> Result<ProgramEnd, ReleaseError> {
        let input = match self.input.is_empty() {
            true => Stdio::null(),
            false => input_of(&self.input)?.into(),
        };
        self.command.stdin(input).stdout(output.writer()?).stderr(output.writer()?);
        let held = self.lock.map(RootLock::for_command).transpose()?;
        let leftovers = if self.lock.is_some() { Leftovers::End } else { Leftovers::Keep };
        let started = child::start(&mut self.command, leftovers, held.as_ref().map(AsFd::as_fd));
        let running = started.map_err(|source| {
            let program: OsString = self.command.get_program().to_owned();
            let program = program.to_string_lossy().into_owned();
            ReleaseError::NoProgram { command: words.to_owned(), program, source }
        })?;
        if let Some(lock) = self.lock {
            lock.command_started(running.id(), words);
        }
        let mut shown = CommandProgress::of(progress, words, &self.secrets);
        let ended = running.wait(self.timeout, progress, || {
            output.cut(&self.secrets);
            shown.show_last_line(output);
        });
        self.ended(ended, progress)
    }

    /// In a fork; none if nothing was done.
    fn fork(
        &self,
        Fork { server, request }: Fork<'_>,
        words: &str,
        output: &Output,
        progress: &dyn Progress,
    ) -> Result<Option<ProgramEnd>, ReleaseError> {
        let input = match self.input.is_empty() {
            true => nothing()?,
            false => input_of(&self.input)?,
        };
        let (out, err) = (output.writer()?, output.writer()?);
        if let Some((lock, process)) = self.lock.zip(server.id()) {
            lock.command_started(process, words);
        }
        let mut shown = CommandProgress::of(progress, words, &self.secrets);
        let streams = [input.as_fd(), out.as_fd(), err.as_fd()];
        let ended = server.ask(&request, streams, self.timeout, progress, || {
            output.cut(&self.secrets);
            shown.show_last_line(output);
        });
        self.ended(ended, progress)
    }

    fn ended<T>(&self, ended: std::io::Result<T>, progress: &dyn Progress) -> Result<T, ReleaseError> {
        progress.end();
        if let Some(lock) = self.lock {
            lock.command_ended();
        }
        ended.map_err(ReleaseError::io("wait for the command that writes", &self.log))
    }
}

fn nothing() -> Result<File, ReleaseError> {
    let path = Path::new("/dev/null");
    let file = fs_err::File::open(path).map_err(ReleaseError::io("open", path))?;
    Ok(file.into_parts().0)
}

/// A file in memory: no program keeps anybody waiting who writes to it.
fn input_of(bytes: &[u8]) -> Result<File, ReleaseError> {
    let memory = || Path::new("memory");
    let file = rustix::fs::memfd_create("wheelbarrow-input", MemfdFlags::CLOEXEC)
        .map_err(ReleaseError::errno("make a file in", memory()))?;
    let mut file = File::from(file);
    file.write_all(bytes).and_then(|()| file.rewind()).map_err(ReleaseError::io("write to", memory()))?;
    Ok(file)
}

/// Shows a command and its last line while somebody waits for it.
struct CommandProgress<'s> {
    progress: &'s dyn Progress,
    words: &'s str,
    secrets: &'s Secrets,
    next: Instant,
}

impl<'s> CommandProgress<'s> {
    fn of(progress: &'s dyn Progress, words: &'s str, secrets: &'s Secrets) -> Self {
        Self { progress, words, secrets, next: Instant::now() + LOOK }
    }

    fn show_last_line(&mut self, output: &Output) {
        if self.next <= Instant::now() {
            self.next = Instant::now() + LOOK;
            let lines = output.last_lines(self.secrets);
            self.progress.runs(self.words, lines.lines().next_back().unwrap_or_default());
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
