//! Telling what serves the site that the release is another.

use std::process::Command;
use std::time::SystemTime;

use fs_err as fs;
use wheelbarrow_artifact::progress::Progress;
use wheelbarrow_artifact::release::{Action, Server, Words};

use crate::ReleaseError;
use crate::command::{Run, in_release};
use crate::release::CompleteRelease;
use crate::secrets::Secrets;
use crate::settings::Settings;

/// Reloads the server for `release`, which is `current` already. The command does not get the lock: what it starts
/// may live for months.
pub(crate) fn reload(
    release: &CompleteRelease,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let command = match &settings.server {
        Server::None => return Ok(()),
        Server::Touch { path } => return touch(path),
        Server::Command { command: words } => as_deployer(release, settings, words)?,
        Server::Systemd { unit, action } => {
            // systemd refuses to start what was started five times in ten seconds, and a release that cannot start is
            // started again and again: its predecessor must not find that door shut. A unit that was never loaded has no
            // such count, which is no failure of ours.
            let forget = systemctl("reset-failed", unit);
            let _ = run(forget, format!("systemctl reset-failed {unit}"), release, settings, progress);
            systemctl(if *action == Action::Restart { "restart" } else { "reload" }, unit)
        }
    };
    run(command, settings.server.to_string(), release, settings, progress)
}

fn systemctl(verb: &str, unit: &str) -> Command {
    let mut command = Command::new("systemctl");
    command.args([verb, "--", unit]);
    command
}

fn run(
    command: Command,
    words: String,
    release: &CompleteRelease,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let log = release.logs().join("reload.log");
    let secrets = Secrets::of(release.path());
    Run { command, words, log, timeout: settings.reload_timeout, secrets, lock: None }.run(progress)
}

/// A server is told by who deploys, not by who serves.
fn as_deployer(
    release: &CompleteRelease,
    settings: &Settings,
    words: &Words,
) -> Result<Command, ReleaseError> {
    in_release(release, &Settings { identity: None, ..settings.clone() }, words)
}

/// Gives the file a modification time that it had never before: uWSGI wants a newer one, mod_wsgi another.
fn touch(path: &std::path::Path) -> Result<(), ReleaseError> {
    let open = fs::OpenOptions::new().append(true).create(true).open(path);
    let file = open.map_err(ReleaseError::io("touch", path))?;
    let before = file.metadata().and_then(|metadata| metadata.modified());
    let before = before.map_err(ReleaseError::io("look at", path))?;
    // A clock that was set back gives no newer time; one second more than before always does.
    let time = SystemTime::now().max(before + std::time::Duration::from_secs(1));
    file.file().set_modified(time).map_err(ReleaseError::io("touch", path))
}
