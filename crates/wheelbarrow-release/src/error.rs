//! Errors of releases. Their exit codes and hints are in `explain`.

use std::io;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::ArtifactError;
use wheelbarrow_artifact::format::{Misread, Newer};
use wheelbarrow_artifact::interpreter::ProbeError;
use wheelbarrow_base::{Exit, Explain, FsError};
use wheelbarrow_install::InstallError;

use crate::check::CheckError;
use crate::environment::EnvironmentError;
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
    #[error("{} {what}, but the live release has an environment, {}", path.display(), live.display())]
    NoEnvironment { path: PathBuf, what: &'static str, live: PathBuf },
    #[error("{}: {reason}", path.display())]
    Settings { path: PathBuf, reason: String },
    #[error("{} is not trusted: {reason}", path.display())]
    Untrusted { path: PathBuf, reason: String },
    #[error("root does not run the Python {}: {reason}", path.display())]
    ForeignPython { path: PathBuf, reason: String },
    #[error("the setting `{key}`: {reason}")]
    Setting { key: &'static str, reason: String },
    #[error("the unit {unit} cannot serve this root: {problem}")]
    Unit { unit: String, problem: crate::UnitProblem },
    #[error("{} is a unit that was not written for this root", path.display())]
    ForeignUnit { path: PathBuf },
    #[error(transparent)]
    UnitText(#[from] UnitError),
    #[error("the service `{name}` of {id} failed: {source}")]
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
    #[error("{} cannot be a site root: {reason}", path.display())]
    Misplaced { path: PathBuf, reason: String },
    #[error("{} is {found}, not a link to one of the releases", path.display())]
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
    #[error("{} cannot be read by the user {user}: a security policy of the host denies it", path.display())]
    Denied { path: PathBuf, user: u32 },
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
    Probe { url: String, deadline: u64, last: String, hint: &'static str, status: Option<u16> },
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
    pub(crate) fn is_of_start(&self) -> bool {
        match self {
            Self::Served { source, .. } | Self::Service { source, .. } => source.is_of_start(),
            Self::Probe { status, .. } => status.is_none(),
            Self::Unproved { .. } | Self::Down { .. } => true,
            _ => false,
        }
    }

    /// Whether it is that of a command that reloads a server, which may need one that runs.
    pub(crate) fn is_of_signal(&self) -> bool {
        match self {
            Self::Served { source, .. } => source.is_of_signal(),
            Self::Command { command, .. } => !command.starts_with("systemctl"),
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

impl From<CheckError> for ReleaseError {
    fn from(error: CheckError) -> Self {
        Self::Check { error: Box::new(error) }
    }
}

fn describe(holder: Option<&LockHolder>) -> String {
    holder.map(|holder| format!(": {holder}")).unwrap_or_default()
}

/// Lines of a program below the line that names it.
pub(crate) fn indented(tail: &str) -> String {
    tail.lines().map(|line| format!("\n    {line}")).collect()
}
