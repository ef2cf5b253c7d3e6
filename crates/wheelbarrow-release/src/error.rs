//! Errors of releases, with their exit codes and hints.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use wheelbarrow_artifact::ArtifactError;
use wheelbarrow_artifact::format::{Misread, Newer};
use wheelbarrow_artifact::interpreter::ProbeError;
use wheelbarrow_base::{Exit, Explain, FsError};
use wheelbarrow_install::InstallError;

use crate::check::CheckError;
use crate::environment::{ENVIRONMENT, EnvironmentError};
use crate::root::journal::{Outcome, Phase};
use crate::root::lock::LockHolder;
use crate::serving::unit::UnitError;
use crate::{NotAnId, ReleaseId, ServerOutput};

#[derive(thiserror::Error)]
pub enum ReleaseError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Newer(#[from] Newer),
    #[error(transparent)]
    Interpreter(#[from] ProbeError),
    #[error(transparent)]
    Id(#[from] NotAnId),
    #[error("{}{source}", path.display())]
    Environment { path: PathBuf, source: EnvironmentError },
    #[error("{}: {reason}", path.display())]
    Settings { path: PathBuf, reason: String },
    #[error("{} is not trusted: {reason}", path.display())]
    Untrusted { path: PathBuf, reason: String },
    #[error("the setting `{key}`: {reason}")]
    Setting { key: &'static str, reason: String },
    #[error("the unit {unit} cannot serve this root: {problem}")]
    Unit { unit: String, problem: crate::UnitProblem },
    #[error("{} is a unit that was not written for this root", path.display())]
    ForeignUnit { path: PathBuf },
    #[error(transparent)]
    UnitText(#[from] UnitError),
    #[error("the service `{name}` does not run {id}: {source}")]
    Service { name: String, id: ReleaseId, source: Box<ReleaseError> },
    #[error("{name} does not stay up: {trouble}")]
    Down { name: String, trouble: String },
    #[error("`{name}` cannot be the name of a variable: {reason}")]
    Name { name: String, reason: &'static str },
    #[error("the release {id} was altered: {what}")]
    Altered { id: ReleaseId, what: String },
    #[error("the store no longer has {wheel}, from which {id} was installed")]
    NotStored { id: ReleaseId, wheel: String },
    #[error("{} is not a site root", path.display())]
    NotARoot { path: PathBuf },
    #[error("{} was moved from {}, and its scripts still have that path", root.display(), from.display())]
    Moved { root: PathBuf, from: PathBuf },
    #[error("{} is not a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("{} is {found}, not a link of Wheelbarrow's to one of its releases", path.display())]
    ForeignCurrent { path: PathBuf, found: String },
    #[error("another wheelbarrow command is working on {}{}", root.display(), describe(holder.as_ref()))]
    Locked { root: PathBuf, holder: Option<LockHolder> },
    #[error("{} has no release {id}", root.display())]
    Unknown { root: PathBuf, id: String },
    #[error("the release {id} is not complete")]
    Incomplete { id: ReleaseId },
    #[error("the release {id} cannot be removed: {why}")]
    Needed { id: ReleaseId, why: &'static str },
    #[error("the release {id} cannot be removed: a file system is mounted at {}", mount.display())]
    Mounted { id: ReleaseId, mount: PathBuf },
    #[error("the release {id} cannot be removed: files were written into it: {data}")]
    HoldsData { id: ReleaseId, data: wheelbarrow_install::ForeignData },
    #[error("{} already exists", path.display())]
    RescuedAlready { path: PathBuf },
    #[error(
        "the live release {id} holds what the site has written, and ROOT/shared has not: {}; another release would start \
         without it",
        paths.join(", ")
    )]
    NotShared { id: ReleaseId, paths: Vec<String>, moves: Vec<String> },
    #[error("{} has no live release", root.display())]
    NothingLive { root: PathBuf },
    #[error("no release to roll back to from {from}: {reason}")]
    NoAncestor { from: ReleaseId, reason: &'static str },
    #[error(
        "migrations that Django cannot reverse were applied since {target} was live: {}",
        migrations.join(", ")
    )]
    Irreversible { target: ReleaseId, migrations: Vec<String> },
    #[error("`{command}` {problem}{}", indented(tail))]
    Command { command: String, problem: String, tail: String, log: Option<PathBuf> },
    #[error(
        "{} cannot be read by the user {user}: its mode is {mode:04o}, its owner {owner}, its group {group}",
        path.display()
    )]
    Unreadable { path: PathBuf, mode: u32, owner: u32, group: u32, user: u32 },
    #[error("the Python of the release {id}, {}, cannot be started: {reason}", python.display())]
    CannotStart { id: ReleaseId, python: PathBuf, reason: String },
    #[error("the hook {hook}: {error}")]
    Hook { hook: &'static str, error: Box<ReleaseError> },
    #[error("program {program} not found for `{command}`")]
    NoProgram { command: String, program: String, source: io::Error },
    #[error("{what} does not run {id} after {deadline} s: {found}")]
    Unproved { what: String, id: ReleaseId, deadline: u64, found: String },
    #[error("{error}{}", indented(error.output().unwrap_or_default()))]
    Check { error: Box<CheckError> },
    #[error("{url} failed the probe for {deadline} s: {last}")]
    Probe { url: String, deadline: u64, last: String, hint: &'static str, has_answered: bool },
    #[error("{source}{output}")]
    Served { source: Box<ReleaseError>, output: ServerOutput },
    #[error("the release {id} failed at the {phase}; {left}")]
    Failed {
        id: ReleaseId,
        phase: Phase,
        outcome: Outcome,
        /// What is live now, and what runs where that is another thing.
        left: String,
        /// Whether nothing was live before it.
        is_first: bool,
        source: Box<ReleaseError>,
        /// Why the rollback failed.
        revert: Option<Box<ReleaseError>>,
    },
    #[error("it was interrupted")]
    Interrupted,
    #[error("stopped")]
    Cancelled,
}

wheelbarrow_base::debug_error!(ReleaseError);

impl ReleaseError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn errno(action: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self + use<> {
        let path = path.to_path_buf();
        move |errno| Self::Io { action, path, source: errno.into() }
    }

    /// Of a file under a root that was not understood.
    pub(crate) fn misread(path: &Path) -> impl FnOnce(Misread) -> Self + use<> {
        let path = path.to_path_buf();
        move |misread| match misread {
            Misread::Newer(newer) => newer.into(),
            Misread::Wrong(error) => Self::Io { action: "understand", path, source: io::Error::other(error) },
        }
    }

    /// What the server said when this went wrong, if that is known.
    pub fn server_said(&self) -> Option<&ServerOutput> {
        match self {
            Self::Served { output, .. } => Some(output),
            Self::Service { source, .. } => source.server_said(),
            Self::Failed { source, revert, .. } => {
                source.server_said().or_else(|| revert.as_ref()?.server_said())
            }
            _ => None,
        }
    }

    /// Whether it may be that the server did not start.
    fn is_of_start(&self) -> bool {
        match self {
            Self::Served { source, .. } | Self::Service { source, .. } => source.is_of_start(),
            Self::Probe { has_answered, .. } => !has_answered,
            Self::Unproved { .. } | Self::Down { .. } => true,
            _ => false,
        }
    }

    /// Of an artifact that was made again out of a release: the file is nobody's, the release is.
    pub(crate) fn of_remade(self, id: &ReleaseId) -> Self {
        let id = id.clone();
        match self {
            // Wheels are never in it: they are taken from the store.
            Self::Install(InstallError::Lacking { members, .. }) => {
                let wheel = members.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
                Self::NotStored { id, wheel: wheel.to_owned() }
            }
            Self::Artifact(ArtifactError::Altered { what, .. })
            | Self::Install(InstallError::Artifact(ArtifactError::Altered { what, .. })) => {
                Self::Altered { id, what }
            }
            other => other,
        }
    }

    /// Of an artifact that was made whole in the trash: it is called as people know it.
    pub(crate) fn of_restored(self, artifact: &Path) -> Self {
        let path = artifact.to_path_buf();
        match self {
            Self::Artifact(error) | Self::Install(InstallError::Artifact(error)) => {
                Self::Artifact(match error {
                    ArtifactError::Altered { what, .. } => ArtifactError::Altered { path, what },
                    ArtifactError::Zip { source, .. } => ArtifactError::Zip { path, source },
                    other => other,
                })
            }
            Self::Install(InstallError::Lacking { members, .. }) => {
                Self::Install(InstallError::Lacking { path, members })
            }
            other => other,
        }
    }

    /// What stands in the journal.
    pub(crate) fn first_line(&self) -> String {
        self.to_string().lines().next().unwrap_or_default().to_owned()
    }

    /// Whether the disk, or what the user may have of it, is full.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } | Self::Fs(FsError::Io { source, .. }) => {
                Exit::of_io(source) == Exit::NoSpace
            }
            _ => false,
        }
    }

    /// Whether somebody asked for it to stop.
    pub fn is_cancelled(&self) -> bool {
        self.exit_without_failed() == Exit::Stopped
    }

    fn exit_without_failed(&self) -> Exit {
        match self {
            Self::Failed { source, .. } => source.exit_without_failed(),
            other => other.exit(),
        }
    }
}

impl Explain for ReleaseError {
    fn exit(&self) -> Exit {
        match self {
            Self::Locked { .. } => Exit::Locked,
            Self::Io { path, source, .. }
                if path.ends_with(ENVIRONMENT) && source.kind() == ErrorKind::FileTooLarge =>
            {
                Exit::Environment
            }
            Self::Io { source, .. } => Exit::of_io(source),
            Self::Fs(error) => error.exit(),
            Self::Cancelled => Exit::Stopped,
            Self::Artifact(error) => error.exit(),
            Self::Newer(_) => Exit::Newer,
            Self::Interpreter(_) => Exit::Failed,
            Self::Install(error) => error.exit(),
            Self::Id(_) | Self::Name { .. } => Exit::Usage,
            Self::Environment { .. } => Exit::Environment,
            Self::Untrusted { path, .. } if path.ends_with(ENVIRONMENT) => Exit::Environment,
            Self::Untrusted { .. } => Exit::Project,
            Self::Settings { .. } | Self::Setting { .. } | Self::UnitText(_) => Exit::Project,
            Self::ForeignUnit { .. } => Exit::Refused,
            Self::Unit { problem, .. } => problem.exit(),
            Self::NotARoot { .. } | Self::NotADirectory { .. } | Self::ForeignCurrent { .. } => Exit::Refused,
            Self::Unknown { .. } | Self::Incomplete { .. } | Self::NothingLive { .. } => Exit::Refused,
            Self::Mounted { .. } => Exit::Refused,
            Self::HoldsData { .. } | Self::RescuedAlready { .. } | Self::NotShared { .. } => Exit::Refused,
            Self::Needed { .. } | Self::NoAncestor { .. } | Self::Altered { .. } | Self::NotStored { .. } => {
                Exit::Refused
            }
            Self::CannotStart { .. } => Exit::Unhealthy,
            Self::Moved { .. } => Exit::Refused,
            Self::Irreversible { .. } => Exit::Irreversible,
            Self::Interrupted
            | Self::Check { .. }
            | Self::Unproved { .. }
            | Self::Down { .. }
            | Self::Command { .. }
            | Self::NoProgram { .. }
            | Self::Unreadable { .. }
            | Self::Probe { .. } => Exit::Failed,
            Self::Served { source, .. } | Self::Service { source, .. } => source.exit(),
            Self::Hook { error, .. } => error.exit(),
            Self::Failed { outcome: Outcome::RevertFailed, .. } => Exit::RevertFailed,
            Self::Failed { source, .. } if source.is_cancelled() => Exit::Stopped,
            Self::Failed { outcome: Outcome::Reverted, .. } => Exit::Reverted,
            Self::Failed { phase: Phase::Check, source, .. } if source.exit() == Exit::Failed => {
                Exit::Unhealthy
            }
            Self::Failed { phase: Phase::Prepare, source, .. } if source.exit() == Exit::Failed => {
                Exit::Prepare
            }
            Self::Failed { source, .. } => source.exit(),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Artifact(error) => return error.hint(),
            Self::Newer(newer) => return Some(newer.hint()),
            Self::Interpreter(error) => return error.hint(),
            Self::Install(InstallError::NoSpace { .. } | InstallError::NoInodes { .. }) => {
                "`wheelbarrow prune --root ROOT --keep N` removes old releases and their wheels"
            }
            Self::Install(InstallError::Target { source, .. }) if !source.is_for_python => {
                return Some(format!(
                    "`--python PATH` names one of the Pythons that it is for, a Python {}; or build it for this one",
                    source.first_python
                ));
            }
            Self::Install(error) => return error.hint(),
            Self::Io { source, .. } | Self::Fs(FsError::Io { source, .. })
                if Exit::of_io(source) == Exit::NoSpace =>
            {
                "`wheelbarrow prune --root ROOT --keep N` removes old releases and their wheels"
            }
            Self::Io { source, .. } | Self::Fs(FsError::Io { source, .. }) if is_denied(source) => {
                "run it as the owner of the root, or as root"
            }
            Self::Untrusted { .. } => {
                "the file, and the directories from the site root to it, must belong to root or the deploying user, and nobody else \
                 may write them: `chown root`, `chmod go-w`"
            }
            Self::NotADirectory { .. } => "name the directory of the site, absent or made by a deploy",
            Self::Unit { problem, .. } => problem.hint(),
            Self::ForeignUnit { .. } => {
                "set another `unit-name` in `[release]` of ROOT/shared/wheelbarrow.toml"
            }
            Self::UnitText(_) => "use another name, or write the unit by hand: `unit = \"...\"`",
            Self::Service { name, source, .. } => {
                let probe = format!("`probe` of the service `{name}`");
                return source.hint().map(|hint| {
                    let hint = hint.replace("`[release.probe] host`", &format!("`host` in {probe}"));
                    hint.replace("`[release.probe] url`", &probe).replace("`[release.probe]`", &probe)
                });
            }
            Self::Down { .. } => "`journalctl --unit UNIT` has all that it wrote",
            Self::Check { error } => return Some(error.hint()),
            Self::Unproved { .. } => {
                "`wheelbarrow doctor --root ROOT` reports what prevents a new release from running; `wheelbarrow unit` prints units that work"
            }
            Self::Altered { .. } => {
                "no release is made from altered files; `wheelbarrow verify --root ROOT` lists them, `wheelbarrow \
                 deploy` makes the release again"
            }
            Self::NotStored { .. } => "deploy its artifact again",
            Self::NotARoot { .. } => "`wheelbarrow deploy ARTIFACT --root ROOT` makes one",
            Self::ForeignCurrent { .. } => "move it away; deploy makes the link `current` itself",
            Self::Locked { .. } => "`--wait SECONDS` waits for it to end",
            Self::Unknown { .. } => "`wheelbarrow list --root ROOT` shows the releases",
            Self::Incomplete { .. } => "deploy it again",
            Self::Unreadable { path, .. } => {
                return Some(format!(
                    "let the user in: `chmod a+rX {0}`, or `chgrp` to a group of the user and `chmod g+rX {0}`",
                    path.display()
                ));
            }
            Self::Moved { .. } => "`wheelbarrow recover --moved --root ROOT` corrects the paths",
            Self::CannotStart { .. } => {
                "install that Python again, or make a release for another: `wheelbarrow deploy ARTIFACT --python PATH`"
            }
            Self::Needed { .. } => "make another release live, `wheelbarrow unpin ID`, or end the processes",
            Self::Mounted { mount, .. } => {
                return Some(format!(
                    "nothing is removed across a mount point: `umount {}`",
                    mount.display()
                ));
            }
            Self::Fs(FsError::Io { action: "remove", .. }) => {
                "it is tried again by each command on the root; root may remove it, after `umount` or `chattr -i`"
            }
            Self::Fs(FsError::Unfinished { .. }) => {
                "`wheelbarrow prune` continues; if it never ends, end the processes of the site's user that write there"
            }
            Self::HoldsData { .. } => {
                "`wheelbarrow rescue ID` copies them to ROOT/shared/rescued; `[release] shared` keeps such paths outside of \
                 releases; `--discard-data` removes them with the release"
            }
            Self::RescuedAlready { .. } => "it may have files that the release no longer has: move it away",
            Self::NotShared { id, moves, .. } => {
                return Some(format!(
                    "nothing was changed; stop the site, `wheelbarrow rescue {id}`, then {}. To begin without it, make an \
                     empty file or directory there",
                    moves.join(", ")
                ));
            }
            Self::NothingLive { .. } => "`wheelbarrow deploy` or `wheelbarrow activate` makes one live",
            Self::NoAncestor { .. } => "`--to ID` names one; `wheelbarrow list --root ROOT` shows them",
            Self::Irreversible { .. } => {
                "the older code may not work with the database as it is now; `--force` rolls back anyway"
            }
            Self::Command { log: Some(log), tail, .. } => {
                let denied =
                    ["Permission denied", "PermissionError"].iter().any(|words| tail.contains(words));
                let why = if denied {
                    "; what runs as `owner` may write into `shared` paths and `static_root` only"
                } else {
                    ""
                };
                return Some(format!("its full output is in {}{why}", log.display()));
            }
            Self::Hook { error, .. } => return error.hint(),
            Self::NoProgram { .. } => "add its package to the requirements, or the program to PATH",
            Self::Probe { hint, .. } => {
                return Some(format!(
                    "{hint}; `[release] server_log` names the file that the server logs to, whose last lines are then shown here"
                ));
            }
            Self::Served { source, output } => {
                let hint = match &**source {
                    Self::Probe { hint, .. } => Some((*hint).to_owned()),
                    source => source.hint(),
                };
                return output.hint(hint);
            }
            Self::Failed { outcome: Outcome::RevertFailed, source, revert, .. } => {
                let hint = "check the server; `wheelbarrow status --root ROOT` shows what is live, `wheelbarrow activate \
                            ID` tries again";
                let output = revert.as_ref().and_then(|revert| revert.server_said()).or(source.server_said());
                let hint = Some(hint.to_owned());
                return output.map_or(hint.clone(), |output| output.hint(hint));
            }
            Self::Failed { source, is_first: true, .. } if source.is_of_start() => {
                let hint = "if the server cannot start without `current`: deploy with `--no-probe`, start the server, \
                            then `wheelbarrow activate ID` probes it";
                let output = source.server_said();
                let hint = Some(hint.to_owned());
                return output.map_or(hint.clone(), |output| output.hint(hint));
            }
            Self::Failed { source, .. } => return source.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }

    fn aftermath(&self) -> Option<String> {
        match self {
            Self::Failed { revert: Some(revert), .. } => Some(format!("rolling back: {revert}")),
            _ => None,
        }
    }

    fn facts(&self) -> Map<String, Value> {
        let mut facts = Map::new();
        if let Self::Failed { id, phase, outcome, .. } = self {
            facts.insert("id".to_owned(), json!(id));
            facts.insert("phase".to_owned(), json!(phase));
            facts.insert("outcome".to_owned(), json!(outcome));
        }
        if let Some(output) = self.server_said() {
            facts.insert("server_log".to_owned(), json!(output));
        }
        facts
    }
}

impl From<CheckError> for ReleaseError {
    fn from(error: CheckError) -> Self {
        Self::Check { error: Box::new(error) }
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::getuid().is_root()
}

fn describe(holder: Option<&LockHolder>) -> String {
    holder.map(|holder| format!(": {holder}")).unwrap_or_default()
}

/// Lines of a program below the line that names it.
pub(crate) fn indented(tail: &str) -> String {
    tail.lines().map(|line| format!("\n    {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_has_its_own_exit_code() {
        let busy = || FsError::Busy { path: "/srv/site/store/lock".into(), seconds: 60 };
        assert_eq!(ReleaseError::from(busy()).exit_code(), 15);
        let error = ReleaseError::from(InstallError::from(busy()));
        assert_eq!(error.exit_code(), 15);
        assert!(error.to_string().contains("60") && error.hint().is_some(), "{error}: {:?}", error.hint());
    }
}
