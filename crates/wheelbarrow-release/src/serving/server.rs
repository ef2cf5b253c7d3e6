//! Makes the server of the site run another release.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wheelbarrow_artifact::release::{Action, Manager, Server};
use wheelbarrow_base::beneath;
use wheelbarrow_base::progress::Progress;

use crate::ReleaseError;
use crate::command::secrets::Secrets;
use crate::command::{CommandRun, as_deployer};
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::root::trusted_python;
use crate::serving::systemd;

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
        Server::Command { command: words } => {
            // On every way here, also back to a release whose settings nobody has looked at since.
            trusted_python::check_command(words.program())?;
            let mut command = as_deployer(words.program());
            command.args(words.arguments());
            command
        }
        Server::Systemd { unit, action, manager } => {
            // systemd refuses to start what was started five times in ten seconds, and a release that cannot start is
            // started again and again: its predecessor must not find that door shut. A unit that was never loaded has no
            // such count, which is no failure of ours.
            let forget = unit_command(*manager, "reset-failed", unit);
            let words = [&["systemctl"][..], manager.flags(), &["reset-failed", unit.as_str()]].concat();
            let _ = run(forget, words.join(" "), release, settings, progress);
            let verb = match action {
                Action::Restart => "restart",
                // Before the first release is live, a unit that starts in `current` cannot run.
                Action::Reload if is_down(*manager, unit) => "start",
                Action::Reload => "reload",
            };
            let words = [&["systemctl"][..], manager.flags(), &[verb, unit.as_str()]].concat();
            return run(unit_command(*manager, verb, unit), words.join(" "), release, settings, progress);
        }
    };
    run(command, settings.server.to_string(), release, settings, progress)
}

/// Whether systemd says that no process of the unit runs.
fn is_down(manager: Manager, unit: &str) -> bool {
    systemd::state(manager, unit).is_some_and(|state| matches!(state.active.as_str(), "inactive" | "failed"))
}

/// Whether a reload starts the server anew, process and all. Of a command its words tell: `systemctl --user restart acme`.
pub(crate) fn restarts(server: &Server) -> bool {
    match server {
        Server::Systemd { action, .. } => *action == Action::Restart,
        Server::Command { command } => command
            .as_slice()
            .iter()
            .flat_map(|word| word.split([' ', '\t', '\n', ';', '&']))
            .any(|word| matches!(word, "restart" | "try-restart" | "condrestart")),
        Server::Touch { .. } | Server::None => false,
    }
}

/// Asks systemd to do something with several units.
pub(crate) fn systemctl(
    words: &[&str],
    units: &[String],
    release: &CompleteRelease,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let mut command = systemd::ask(settings.manager);
    command.args(words);
    if !units.is_empty() {
        command.arg("--").args(units);
    }
    let words = [&["systemctl"][..], settings.manager.flags(), words].concat().join(" ");
    run(command, format!("{words} {}", units.join(" ")).trim_end().to_owned(), release, settings, progress)
}

fn unit_command(manager: Manager, verb: &str, unit: &str) -> Command {
    let mut command = systemd::ask(manager);
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
    CommandRun {
        command,
        words,
        log,
        input: Vec::new(),
        timeout: settings.reload_timeout,
        secrets,
        lock: None,
    }
    .run(progress)
    .map(drop)
}

/// Gives the file a modification time that no file had before: uWSGI wants one that is newer by a second, mod_wsgi another,
/// to the microsecond, than the file of that name had which may be another release's.
///
/// The site's user may own its directory: no link of theirs is followed, and only a regular file is touched.
pub(crate) fn touch(path: &Path) -> Result<(), ReleaseError> {
    let touch = || ReleaseError::io("touch", path);
    let absolute = std::path::absolute(path).map_err(touch())?;
    let below = absolute.strip_prefix("/").unwrap_or(&absolute);
    let place = beneath::place(Path::new("/"), below).map_err(touch())?;
    let directory = place.directory;
    let file = directory.append(&place.name, 0o666).map_err(touch())?;
    let before = file.metadata().and_then(|metadata| metadata.modified());
    let before = before.map_err(ReleaseError::io("look at", path))?;
    let time = later_by_a_second(SystemTime::now(), before);
    file.set_modified(time).map_err(touch())
}

/// Now, where that is in a later second than `before` is, else in the second after that. Where in its second it is says
/// the clock: the files of two releases that were installed within one second get two times.
fn later_by_a_second(now: SystemTime, before: SystemTime) -> SystemTime {
    let split = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        (since.as_secs(), since.subsec_nanos())
    };
    let ((now, nanos), (before, _)) = (split(now), split(before));
    // A file may have a time that no clock gets to.
    let later = UNIX_EPOCH.checked_add(Duration::new(now.max(before.saturating_add(1)), nanos));
    later.unwrap_or(UNIX_EPOCH + Duration::new(now, nanos))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use fs_err as fs;

    use super::*;

    #[test]
    fn a_modification_time_at_the_limit_is_accepted() {
        let (now, nanos) = (UNIX_EPOCH + Duration::from_secs(1_000), Duration::from_nanos(7));
        let last = UNIX_EPOCH + Duration::from_secs(i64::MAX.unsigned_abs());
        assert_eq!(later_by_a_second(now + nanos, last), now + nanos);
        assert_eq!(later_by_a_second(now + nanos, now), now + Duration::from_secs(1) + nanos);
    }

    #[test]
    fn nothing_but_a_regular_file_is_touched_where_another_user_may_write() {
        let place = tempfile::tempdir().unwrap();
        let (given, own) = (place.path().join("given"), place.path().join("own"));
        fs::create_dir_all(given.join("real")).unwrap();
        fs::create_dir(&own).unwrap();
        symlink(own.join("file"), given.join("link")).unwrap();
        symlink(&own, given.join("directory")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            given.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o666),
            0,
        )
        .unwrap();
        fs::set_permissions(&given, PermissionsExt::from_mode(0o777)).unwrap();
        for name in ["link", "directory/file", "pipe", "real"] {
            touch(&given.join(name)).unwrap_err();
        }
        assert_eq!(fs::read_dir(&own).unwrap().count(), 0);
        touch(&given.join("real/file")).unwrap();
        assert!(given.join("real/file").is_file());

        fs::set_permissions(&given, PermissionsExt::from_mode(0o755)).unwrap();
        touch(&given.join("directory/file")).unwrap();
        touch(&given.join("link")).unwrap();
        assert!(own.join("file").is_file(), "links that only we can have made are followed");
    }

    #[test]
    fn a_touched_file_is_a_second_newer_and_like_no_other() {
        let place = tempfile::tempdir().unwrap();
        let installed = UNIX_EPOCH + Duration::from_secs(UNIX_EPOCH.elapsed().unwrap().as_secs());
        let touched = |name: &str, before: SystemTime| {
            let path = place.path().join(name);
            fs::write(&path, "").unwrap();
            fs::File::options().write(true).open(&path).unwrap().file().set_modified(before).unwrap();
            touch(&path).unwrap();
            fs::metadata(&path).unwrap().modified().unwrap()
        };
        let micros = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_micros();
        let mut seen = std::collections::BTreeSet::new();
        for before in [installed; 20] {
            let time = touched("wsgi.py", before);
            assert!(micros(time) / 1_000_000 > micros(before) / 1_000_000);
            assert!(seen.insert(micros(time)), "{seen:?}");
        }
        // Set back by a day.
        let ahead = installed + Duration::from_secs(86_400);
        assert!(touched("reload", ahead) >= ahead + Duration::from_secs(1));
    }
}
