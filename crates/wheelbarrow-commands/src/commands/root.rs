//! Flags that all commands on releases have.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use wheelbarrow_artifact::release::{CheckSettings, ProbeSettings, ReleaseSettings, Server, Words};
use wheelbarrow_release::{Operator, Prepare, Probing, ReleaseError, ReleaseId, Root, Wait, operator};

use crate::absolute;
use crate::failure::CommandResult;
use crate::progress::Bar;

#[derive(Args)]
pub(super) struct RootArguments {
    /// The site root
    #[arg(long, value_name = "ROOT", env = "WHEELBARROW_ROOT")]
    pub(super) root: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct WaitArguments {
    /// Wait up to SECONDS for another command on the root to end [default: fail at once]
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// The id of a fleet's deploy, for the journal
    #[arg(long, value_name = "ID", value_parser = deploy_id)]
    pub(super) deploy_id: Option<String>,
}

/// A word that can stand in a log.
fn deploy_id(text: &str) -> Result<String, String> {
    let is_word = (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_word { Ok(text.to_owned()) } else { Err("it is a word of up to 100 ASCII characters".to_owned()) }
}

/// Of what makes a release live that may have to be prepared.
#[derive(Args)]
pub(super) struct SwitchArguments {
    #[command(flatten)]
    pub(super) root: RootArguments,
    /// Do not run the `prepare` commands
    #[arg(long)]
    no_prepare: bool,
    /// Do not run the `prepare` commands that change a database; `migrate` runs them
    #[arg(long, conflicts_with = "no_prepare")]
    no_migrate: bool,
    /// Do not probe the server: for a first deploy, before the server can start
    #[arg(long)]
    no_probe: bool,
    /// Print what would be done, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) wait: WaitArguments,
}

/// Settings that win over those of the artifact and of ROOT/shared/wheelbarrow.toml.
#[derive(Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct SettingsArguments {
    /// A command to run in the new release before the switch; may be repeated
    #[arg(long, value_name = "COMMAND")]
    prepare: Vec<Words>,
    /// A path below the code that all releases share; may be repeated
    #[arg(long = "shared", value_name = "PATH")]
    shared: Vec<String>,
    /// The user that the site runs as
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// The group that may read environment.json
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The number of good releases to keep
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// The number of earlier versions whose static files stay reachable
    #[arg(long, value_name = "N")]
    keep_static: Option<u32>,
    #[arg(long, value_name = "SERVER", help = Server::HELP)]
    server: Option<Server>,
    /// The path to request in process before the switch [default: /]
    #[arg(long, value_name = "PATH")]
    check_path: Option<String>,
    /// The Host header of that request [default: the first of ALLOWED_HOSTS of Django, else localhost]
    #[arg(long, value_name = "HOST")]
    check_host: Option<String>,
    /// An expected status of that request; may be repeated [default: 200, 204 and redirects]
    #[arg(long = "check-expected", value_name = "STATUS")]
    check_expected: Vec<u16>,
    /// The URL to probe after the switch, such as http://127.0.0.1:8000/health/
    #[arg(long, value_name = "URL")]
    probe: Option<String>,
    /// The Unix socket to probe
    #[arg(long, value_name = "PATH", requires = "probe")]
    probe_socket: Option<PathBuf>,
}

impl RootArguments {
    pub(super) fn open(&self) -> CommandResult<Root> {
        Ok(Root::open(&absolute(&self.root)?)?)
    }
}

impl SwitchArguments {
    pub(super) fn operator<'a>(&self, progress: &'a Bar) -> Operator<'a> {
        let probing = if self.no_probe { Probing::LeftOut } else { Probing::Asked };
        Operator { probing, ..self.wait.operator(progress) }
    }

    pub(super) fn prepare(&self) -> Prepare {
        match (self.no_prepare, self.no_migrate) {
            (true, _) => Prepare::Skip,
            (false, true) => Prepare::WithoutMigrations,
            (false, false) => Prepare::Run,
        }
    }
}

impl WaitArguments {
    pub(super) fn operator<'a>(&self, progress: &'a Bar) -> Operator<'a> {
        let wait = self.wait.map_or(Wait::No, |seconds| Wait::For(Duration::from_secs(seconds)));
        Operator {
            by: operator(),
            wait,
            deploy: self.deploy_id.clone(),
            probing: Probing::Asked,
            clock: &SystemTime::now,
            progress,
        }
    }
}

impl SettingsArguments {
    pub(super) fn settings(self) -> ReleaseSettings {
        let some = |list: Vec<_>| (!list.is_empty()).then_some(list);
        let socket = self.probe_socket;
        let check = CheckSettings {
            path: self.check_path,
            host: self.check_host,
            expected: (!self.check_expected.is_empty()).then_some(self.check_expected),
            ..CheckSettings::default()
        };
        ReleaseSettings {
            prepare: (!self.prepare.is_empty()).then_some(self.prepare),
            shared: some(self.shared),
            owner: self.owner,
            group: self.group,
            keep: self.keep,
            keep_static: self.keep_static,
            server: self.server,
            check: (check != CheckSettings::default()).then_some(check),
            probe: self.probe.map(|url| ProbeSettings { url, socket, ..ProbeSettings::default() }),
            ..ReleaseSettings::default()
        }
    }
}

/// Not by clap: it would be in the way of DEST.
pub(super) fn usual_root() -> Option<PathBuf> {
    std::env::var_os("WHEELBARROW_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from)
}

/// An id, or only its number, of a release that is there.
pub(super) fn find(root: &Root, text: &str) -> CommandResult<ReleaseId> {
    let Ok(number) = text.parse::<u64>() else { return Ok(text.parse()?) };
    let found = root.found()?.into_iter().find(|found| found.id.number() == number);
    let unknown = || ReleaseError::Unknown { root: root.path().to_path_buf(), id: text.to_owned() };
    Ok(found.ok_or_else(unknown)?.id)
}

/// The same among those of the history, some of which may be gone.
pub(super) fn find_id<'i>(
    root: &Root,
    mut ids: impl Iterator<Item = &'i ReleaseId>,
    text: &str,
) -> CommandResult<ReleaseId> {
    let found = match text.parse::<u64>() {
        Ok(number) => ids.find(|id| id.number() == number),
        Err(_) => {
            let id = text.parse::<ReleaseId>()?;
            ids.find(|found| **found == id)
        }
    };
    let unknown = || ReleaseError::Unknown { root: root.path().to_path_buf(), id: text.to_owned() };
    Ok(found.ok_or_else(unknown)?.clone())
}

/// `3-1a2b3c4d`, or a dash.
pub(super) fn or_dash(id: Option<&ReleaseId>) -> String {
    id.map_or_else(|| "-".to_owned(), ToString::to_string)
}
