//! Checks the unit that serves a site by systemd, before anything is written or switched: whether the unit
//! exists, has processes that can be verified, serves this site root, and may be restarted by this user.

mod many;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::getuid;
use serde::Serialize;
use wheelbarrow_artifact::release::{Action, Manager, Server};
use wheelbarrow_base::progress::Progress;
use wheelbarrow_base::{Exit, beneath};

use crate::command::as_deployer;
use crate::command::attempt::{attempt, first_line};
use crate::root::trusted_python;
use crate::{ReleaseError, Root};

pub(crate) use self::many::{EndingUnit, are_outdated, ending};

/// systemd.unit(5), org.freedesktop.systemd1(5).
const PROPERTIES: &str = "--property=Id,LoadState,LoadError,Type,CanStart,CanStop,CanReload,ExecStartPre,ExecStart,\
                          WorkingDirectory,Environment,EnvironmentFiles";
const STATE: &str =
    "--property=ActiveState,SubState,Result,NRestarts,TriggeredBy,ActiveEnterTimestampMonotonic,MainPID";
/// So often restarted, and running for so short a time, in seconds: it is about to end again.
const MANY: u64 = 3;
const YOUNG: u64 = 30;
/// What a job of systemd's may take that nothing depends on: most units have 90 seconds to end.
const WORK: Duration = Duration::from_secs(300);
/// Those that name paths of the site.
const NAMING: [&str; 5] =
    ["ExecStart", "ExecStartPre", "WorkingDirectory", "Environment", "EnvironmentFiles"];
/// In what systemd answers to whoever may not do what was asked for.
const DENIED: [&str; 4] = ["access denied", "authentication", "not permitted", "permission denied"];

/// Why a unit cannot serve a root.
#[derive(thiserror::Error)]
pub enum UnitProblem {
    #[error("systemd does not answer: {0}")]
    Silent(String),
    #[error("the systemd of this user does not answer: {0}")]
    NoSession(String),
    #[error("systemd has no such unit")]
    Missing,
    #[error("the unit cannot be loaded: {0}")]
    Broken(String),
    #[error("only the processes of a service can be verified")]
    NoService,
    #[error("Type=oneshot leaves no process that serves")]
    Oneshot,
    #[error("the unit cannot be reloaded: it has no ExecReload")]
    NoReload,
    #[error("the unit refuses to be restarted by hand")]
    NoRestart,
    #[error("the unit serves {}", .0.display())]
    OtherRoot(PathBuf),
    #[error("its user {0} could not read environment.json of the release")]
    Environment(String),
    #[error("this user may not do that: {0}")]
    Denied(String),
}

wheelbarrow_base::debug_error!(UnitProblem);

impl UnitProblem {
    pub(crate) fn hint(&self) -> String {
        let hint = match self {
            Self::Environment(user) => return hint_of_environment(user),
            Self::Silent(_) => {
                "`[release.server] kind` selects another kind of server on a host without systemd"
            }
            Self::NoSession(_) => {
                "`loginctl enable-linger USER`, by root, starts the systemd of a user, and keeps it after the last session"
            }
            Self::Missing => {
                "`wheelbarrow unit ARTIFACT --root ROOT` prints the units, and `--write /etc/systemd/system` writes them (of an \
                 existing release: `--release ID` in place of ARTIFACT); then `systemctl daemon-reload`. A unit that `unit` of a \
                 service names is yours to write"
            }
            Self::Broken(_) => "`systemctl status UNIT` shows more",
            Self::NoService | Self::Oneshot => "name the service whose processes serve the site",
            Self::NoReload => "`action = \"restart\"`, or an ExecReload in the unit",
            Self::NoRestart => "RefuseManualStart= and RefuseManualStop= of the unit forbid it",
            Self::OtherRoot(_) => {
                "is `--root` right? For a second site, set `unit` in `[release.server]` of ROOT/shared/wheelbarrow.toml"
            }
            Self::Denied(_) => {
                "a rule of polkit allows it, or `kind = \"command\"` with `sudo systemctl restart UNIT`; `--server none` \
                 leaves the server alone"
            }
        };
        hint.to_owned()
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Silent(_) | Self::NoSession(_) => Exit::Failed,
            Self::Denied(_) => Exit::Refused,
            _ => Exit::Project,
        }
    }
}

/// Only root makes files for another user.
fn hint_of_environment(user: &str) -> String {
    match getuid().is_root() {
        true => format!("set `owner = \"{user}\"` in `[release]`, or deploy with `--owner {user}`"),
        false => {
            "`chgrp` ROOT/shared/environment.json to a group of that user, and `chmod g+r` it".to_owned()
        }
    }
}

/// Refuses a unit that a switch could not be told to, or not be verified by, and a command that root must not run.
pub(crate) fn inspect(root: &Root, server: &Server) -> Result<(), ReleaseError> {
    match server {
        Server::Systemd { unit, action, manager } => judge(root, *manager, unit, *action)
            .map_err(|problem| ReleaseError::Unit { unit: unit.clone(), problem }),
        Server::Command { command } => trusted_python::check_command(command.program()),
        Server::Touch { .. } | Server::None => Ok(()),
    }
}

/// Whether systemd runs here and answers.
pub(crate) fn answers(manager: Manager) -> Result<(), UnitProblem> {
    let output = systemctl(manager, &["show", "--property=Version"])?;
    match (output.status.success(), manager) {
        (true, _) => Ok(()),
        (false, Manager::System) => Err(UnitProblem::Silent(first_line(&output.stderr))),
        (false, Manager::User) => Err(UnitProblem::NoSession(first_line(&output.stderr))),
    }
}

/// Whether systemd knows a unit. One that it does not know cannot run.
pub(crate) fn is_known(manager: Manager, unit: &str) -> bool {
    let shown = show(manager, unit, "--property=LoadState");
    shown.map_or(true, |shown| shown.get("LoadState").is_none_or(|state| state != "not-found"))
}

/// The instances of a template that systemd knows, whatever they do.
pub(crate) fn instances(manager: Manager, template: &str) -> Vec<String> {
    let pattern = format!("{template}@*.service");
    let words = ["list-units", "--all", "--plain", "--no-legend", "--no-pager", "--full", "--", &pattern];
    let Ok(output) = systemctl(manager, &words) else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Has systemd forget that units have failed which are not wanted any more. Of most it knows nothing.
pub(crate) fn forget(manager: Manager, units: &[String]) {
    let mut words = vec!["reset-failed", "--"];
    words.extend(units.iter().map(String::as_str));
    let _ = systemctl(manager, &words);
}

/// Asks for something that a deploy can do without; what goes wrong is a note. A service decides itself how long it takes to end
/// (EXTEND_TIMEOUT_USEC= of sd_notify(3)), so it is not waited for without a limit.
pub(crate) fn command(manager: Manager, words: &[&str], units: &[String], progress: &dyn Progress) {
    let mut systemctl = ask(manager);
    systemctl.args(words).env("LC_ALL", "C");
    if !units.is_empty() {
        systemctl.arg("--").args(units);
    }
    if let Some(problem) = attempt(&mut systemctl, WORK, progress) {
        let words = [&["systemctl"][..], manager.flags(), words].concat().join(" ");
        progress.note(&format!("`{words} {}`: {problem}", units.join(" ")));
    }
}

/// The same for a plan, which may be made where systemd does not run.
pub(crate) fn plan(root: &Root, server: &Server) -> Result<(), ReleaseError> {
    match inspect(root, server) {
        Err(ReleaseError::Unit { problem: UnitProblem::Silent(_), .. }) => Ok(()),
        looked => looked,
    }
}

fn judge(root: &Root, manager: Manager, unit: &str, action: Action) -> Result<(), UnitProblem> {
    let shown = show(manager, unit, PROPERTIES)?;
    let value = |key: &str| shown.get(key).map(String::as_str).unwrap_or_default();
    match value("LoadState") {
        "" | "loaded" => {}
        "not-found" => return Err(UnitProblem::Missing),
        state if value("LoadError").is_empty() => return Err(UnitProblem::Broken(state.to_owned())),
        state => return Err(UnitProblem::Broken(format!("{state}, {}", value("LoadError")))),
    }
    if !value("Id").is_empty() && !value("Id").ends_with(".service") {
        return Err(UnitProblem::NoService);
    }
    match action {
        _ if value("Type") == "oneshot" => return Err(UnitProblem::Oneshot),
        Action::Reload if value("CanReload") == "no" => return Err(UnitProblem::NoReload),
        Action::Restart if value("CanStart") == "no" || value("CanStop") == "no" => {
            return Err(UnitProblem::NoRestart);
        }
        Action::Reload | Action::Restart => {}
    }
    let text: String = NAMING.iter().map(|key| format!("{}\n", value(key))).collect();
    let other = other_root(root, &text).or_else(|| other_virtualenv(root, value("ExecStart"), &text));
    if let Some(other) = other {
        return Err(UnitProblem::OtherRoot(other));
    }
    // Nobody else may do more with what is the user's own.
    let is_allowed = getuid().is_root() || manager == Manager::User;
    if is_allowed { Ok(()) } else { ask_for_right(unit, action) }
}

/// How a unit is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnitState {
    pub unit: String,
    /// `active`, `inactive`, `failed`, `activating` and so on.
    pub active: String,
    /// `running`, `auto-restart` and so on.
    pub sub: String,
    /// How its last process ended: `success`, `exit-code`, `signal` and so on.
    pub result: String,
    /// How often systemd has started it again by itself; not known before version 235.
    pub restarts: u64,
    /// Whether a socket starts it at a request.
    pub has_socket: bool,
    /// Since when it is active, in seconds.
    #[serde(skip)]
    age: Option<u64>,
    /// 0 if it has none.
    #[serde(skip)]
    pub(crate) main_pid: u32,
}

/// None where systemd does not answer, or says nothing of it.
pub(crate) fn state(manager: Manager, unit: &str) -> Option<UnitState> {
    let shown = show(manager, unit, STATE).ok()?;
    let value = |key: &str| shown.get(key).cloned().unwrap_or_default();
    if value("ActiveState").is_empty() {
        return None;
    }
    let since: Option<u64> = value("ActiveEnterTimestampMonotonic").parse().ok();
    Some(UnitState {
        unit: unit.to_owned(),
        active: value("ActiveState"),
        sub: value("SubState"),
        result: value("Result"),
        restarts: value("NRestarts").parse().unwrap_or(0),
        has_socket: value("TriggeredBy").split_whitespace().any(|unit| unit.ends_with(".socket")),
        main_pid: value("MainPID").parse().unwrap_or(0),
        age: since.and_then(|since| Some(since_boot()?.saturating_sub(since / 1_000_000))),
    })
}

impl UnitState {
    /// What keeps it from serving, if anything does.
    pub fn trouble(&self) -> Option<String> {
        let Self { unit, result, restarts, .. } = self;
        let often = || match restarts {
            0 => String::new(),
            _ => format!(", {restarts} times so far"),
        };
        let is_young = self.age.is_some_and(|age| age < YOUNG);
        match self.active.as_str() {
            "failed" => Some(format!("{unit} has failed ({result})")),
            "activating" if self.sub == "auto-restart" || *restarts > 0 => {
                Some(format!("{unit} ends and is restarted again and again{} ({result})", often()))
            }
            "active" if *restarts >= MANY && is_young => {
                Some(format!("{unit} ends and is restarted again and again{}", often()))
            }
            "inactive" if !self.has_socket => Some(format!("{unit} is not running")),
            _ => None,
        }
    }

    /// Whether it ends, as a worker that drains.
    pub fn ends(&self) -> bool {
        self.active == "deactivating"
    }

    /// Whether it waits for a request that starts it.
    pub fn waits(&self) -> bool {
        self.active == "inactive" && self.has_socket
    }
}

#[cfg(test)]
impl UnitState {
    /// Without restarts and without a socket.
    pub(crate) fn example(unit: &str, active: &str, result: &str) -> Self {
        Self {
            unit: unit.to_owned(),
            active: active.to_owned(),
            sub: String::new(),
            result: result.to_owned(),
            restarts: 0,
            has_socket: false,
            age: None,
            main_pid: 0,
        }
    }
}

/// Seconds since the machine was started, as systemd counts them.
fn since_boot() -> Option<u64> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is of a timespec that lives through the call.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    u64::try_from(now.tv_sec).ok().filter(|_| done == 0)
}

pub(crate) fn show(
    manager: Manager,
    unit: &str,
    properties: &str,
) -> Result<BTreeMap<String, String>, UnitProblem> {
    let output = systemctl(manager, &["show", properties, "--", unit])?;
    if !output.status.success() {
        return Err(UnitProblem::Silent(first_line(&output.stderr)));
    }
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        // A unit may have several commands.
        shown
            .entry(key.to_owned())
            .and_modify(|all| *all = format!("{all}\n{value}"))
            .or_insert(value.into());
    }
    Ok(shown)
}

/// Asks for a job that systemd never makes: only a start can isolate (and only a unit with AllowIsolate=). Whoever may
/// not restart the unit is refused for that before the job is looked at.
fn ask_for_right(unit: &str, action: Action) -> Result<(), UnitProblem> {
    let verb = if action == Action::Restart { "restart" } else { "reload" };
    let words = ["--no-ask-password", "--job-mode=isolate", verb, "--", unit];
    let output = systemctl(Manager::System, &words)?;
    let message = first_line(&output.stderr);
    let is_denied = DENIED.iter().any(|words| message.to_lowercase().contains(words));
    if is_denied { Err(UnitProblem::Denied(message)) } else { Ok(()) }
}

/// `systemctl`, for that systemd.
pub(crate) fn ask(manager: Manager) -> Command {
    let mut command = as_deployer("systemctl");
    command.args(manager.flags());
    // A command of cron's, or by `sudo -u`, has no session that would say where the systemd of its user is.
    if manager == Manager::User && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{}", getuid().as_raw()));
    }
    command
}

fn systemctl(manager: Manager, words: &[&str]) -> Result<Output, UnitProblem> {
    let mut command = ask(manager);
    // Times are printed for the zone of who asks.
    command.args(words).env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    command.output().map_err(|error| UnitProblem::Silent(format!("systemctl: {error}")))
}

/// The root that a unit names, where that is another one than `root`: one that is there, or nothing at all.
fn other_root(root: &Root, text: &str) -> Option<PathBuf> {
    let named = roots_in(text);
    if named.iter().any(|path| beneath::real(path) == beneath::real(root.path())) {
        return None;
    }
    let is_root = |path: &Path| {
        let other = Root::at(path);
        [other.releases(), other.state()].iter().all(|path| beneath::found(path).is_ok())
    };
    named.into_iter().find(|path| is_root(path) || beneath::is_missing(path))
}

/// The virtualenv of a server that a unit starts, if nothing that the unit says is of the root. Of other programs, as Apache,
/// a unit does not tell what they serve.
fn other_virtualenv(root: &Root, command: &str, text: &str) -> Option<PathBuf> {
    let program = Path::new(command.split_once("path=")?.1.split(" ;").next()?);
    let name = program.file_name()?.to_str()?;
    let is_server = |name: &str| ["gunicorn", "uvicorn", "hypercorn", "daphne"].contains(&name);
    let module = || command.split_once(" -m ").and_then(|(_, words)| words.split_whitespace().next());
    let virtualenv = program.parent()?.parent()?;
    let is_other = (is_server(name) || name.starts_with("python") && module().is_some_and(is_server))
        && beneath::found(&virtualenv.join("pyvenv.cfg")).is_ok()
        && !text.contains(&*root.path().to_string_lossy())
        && !beneath::real(virtualenv).starts_with(beneath::real(root.path()));
    is_other.then(|| virtualenv.to_path_buf())
}

/// What stands before `/current` and `/releases/ID` in paths of a text.
fn roots_in(text: &str) -> Vec<PathBuf> {
    let is_end = |character: char| character.is_whitespace() || "\"'=;:(){},".contains(character);
    let paths = text.split(is_end).filter(|word| word.starts_with('/'));
    let root = |path: &str| {
        let parts: Vec<&str> = path.split('/').collect();
        let place = parts.iter().enumerate().position(|(place, part)| match *part {
            "current" => true,
            "releases" => parts.get(place + 1).is_some_and(|id| id.parse::<crate::ReleaseId>().is_ok()),
            _ => false,
        })?;
        Some(PathBuf::from(parts[..place].join("/"))).filter(|root| root.parent().is_some())
    };
    paths.filter_map(root).collect()
}

#[cfg(test)]
mod tests;
