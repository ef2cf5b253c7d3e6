//! The exit codes and hints of errors of releases.

use std::io::{self, ErrorKind};

use serde_json::{Map, Value, json};
use wheelbarrow_base::{Exit, Explain, FsError};
use wheelbarrow_install::InstallError;

use crate::environment::ENVIRONMENT;
use crate::error::ReleaseError;
use crate::root::journal::{Outcome, Phase};

/// EPERM, as programs print it.
const NOT_PERMITTED: &str = "Operation not permitted";
const FREE: &str = "`wheelbarrow prune --root ROOT --keep N` removes old releases and their wheels. If `df` shows space, the inodes \
                    are used up: `df -i`";
const POLICY: &str = "`wheelbarrow doctor --root ROOT` reports fapolicyd if it runs, with the commands that trust the releases";

impl Explain for ReleaseError {
    fn exit(&self) -> Exit {
        match self {
            Self::Locked { .. } => Exit::Locked,
            Self::Io { path, source, .. } if path.ends_with(ENVIRONMENT) && is_no_text(source) => {
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
            Self::Environment { .. } | Self::NoEnvironment { .. } => Exit::Environment,
            Self::Untrusted { path, .. } if path.ends_with(ENVIRONMENT) => Exit::Environment,
            Self::Untrusted { .. } | Self::ForeignPython { .. } => Exit::Project,
            Self::Settings { .. } | Self::Setting { .. } | Self::UnitText(_) => Exit::Project,
            Self::ForeignUnit { .. } => Exit::Refused,
            Self::Unit { problem, .. } => problem.exit(),
            Self::NotARoot { .. } | Self::NotADirectory { .. } | Self::ForeignCurrent { .. } => Exit::Refused,
            Self::Unknown { .. } | Self::Incomplete { .. } | Self::NothingLive { .. } => Exit::Refused,
            Self::Mounted { .. } | Self::Misplaced { .. } => Exit::Refused,
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
            | Self::Denied { .. }
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
            Self::Install(error) if error.exit() == Exit::NoSpace => FREE,
            Self::Install(InstallError::Target { source, .. }) if !source.is_for_python => {
                return Some(format!(
                    "`--python PATH` names one of the Pythons that it is for, a Python {}; or build it for this one: `--probe` of the artifact prints its `--target`",
                    source.first_python
                ));
            }
            Self::Install(error) => return error.hint(),
            Self::Io { source, .. } | Self::Fs(FsError::Io { source, .. })
                if Exit::of_io(source) == Exit::NoSpace =>
            {
                FREE
            }
            Self::Io { path, source, .. } if path.ends_with(ENVIRONMENT) && is_no_text(source) => {
                "it must be a regular file with one JSON object, of at most 1 MB"
            }
            Self::Io { source, .. } | Self::Fs(FsError::Io { source, .. }) if is_denied(source) => {
                "run it as the owner of the root, or as root"
            }
            Self::Untrusted { .. } => {
                "the file, and the directories from the site root to it, must belong to root or the deploying user, and nobody else \
                 may write them: `chown root`, `chmod go-w`. If another user deploys the site, run the command as that user: \
                 `runuser -u USER -- ...`"
            }
            Self::ForeignPython { .. } => {
                "its owner would become root: name a Python of root's with `--python PATH`, pack one with `build --with-python`, \
                 or give ROOT to the user who owns it, and deploy as that user"
            }
            Self::NotADirectory { .. } | Self::Misplaced { .. } => {
                "name the directory of the site, absent or made by a deploy"
            }
            Self::Unit { problem, .. } => return Some(problem.hint()),
            Self::ForeignUnit { .. } => {
                "set another `unit_name` in `[release]` of ROOT/shared/wheelbarrow.toml; if the root was moved, disable and remove \
                 the units of its old path"
            }
            Self::UnitText(_) => "use another name, or write the unit by hand: `unit = \"...\"`",
            Self::Service { name, source, .. } => return source.hint().map(|hint| of_service(name, &hint)),
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
            Self::Environment { source, .. } if source.reason.starts_with("is required") => {
                "`wheelbarrow env write --merge --root ROOT` adds variables from standard input, and makes the file"
            }
            Self::NoEnvironment { path, live, .. } => {
                return Some(format!(
                    "restore it, for example with `cp -p {} {}`; or, if the site needs no environment \
                     any more, write `{{}}` into it and run `wheelbarrow env apply`",
                    live.display(),
                    path.display()
                ));
            }
            Self::ForeignCurrent { .. } => "move it away; deploy makes the link `current` itself",
            Self::Locked { .. } => "`--wait SECONDS` waits for it to end",
            Self::Unknown { .. } => "`wheelbarrow list --root ROOT` shows the releases",
            Self::Incomplete { .. } => "deploy it again",
            Self::Unreadable { path, .. } if path.ends_with(ENVIRONMENT) => {
                return Some(format!("`chgrp GROUP {}`, with a group of that user", path.display()));
            }
            Self::Unreadable { path, .. } => {
                return Some(format!(
                    "let the user in: `chmod a+rX {0}`, or `chgrp` to a group of the user and `chmod g+rX {0}`",
                    path.display()
                ));
            }
            Self::Denied { .. } => POLICY,
            Self::CannotStart { reason, .. } if reason.contains(NOT_PERMITTED) => POLICY,
            Self::Moved { .. } => "`wheelbarrow recover --moved --root ROOT` corrects the paths",
            Self::CannotStart { .. } => {
                "install that Python again, or deploy with another: `--python PATH`; `wheelbarrow rollback --to ID` takes a release \
                 whose Python is there; if the artifact has its own, build it with another `--with-python`"
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
                    "nothing was changed; stop the site, `wheelbarrow rescue {id} --root ROOT`, then {}. To begin without it, make an \
                     empty file or directory there, or remove the files from the release",
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
                return Some(format!("the full output of the command is in {}{why}", log.display()));
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
                    // The output names the command for its journal.
                    Self::Down { .. } if output.more.is_some() => None,
                    source => source.hint(),
                };
                return output.hint(hint);
            }
            Self::Failed { outcome: Outcome::RevertFailed, source, revert, .. } => {
                let what = match revert {
                    Some(revert) => same_probe(source, revert),
                    None => FailedProbe::of(source).map(|probe| probe.hint),
                };
                let what = what.unwrap_or_else(|| "check the server".to_owned());
                let output = revert.as_ref().and_then(|revert| revert.server_said()).or(source.server_said());
                let hint = Some(format!(
                    "{what}; `wheelbarrow status --root ROOT` shows what is live, `wheelbarrow activate ID` tries again"
                ));
                return output.map_or(hint.clone(), |output| output.hint(hint));
            }
            Self::Failed { source, is_first: true, .. } if source.is_of_start() || source.is_of_signal() => {
                let hint = match source.is_of_start() {
                    true => {
                        "`ss -ltnp` shows whether another program listens there; if the server cannot start without `current`: deploy with `--no-probe`, start the server, \
                         then `wheelbarrow activate ID` probes it"
                    }
                    false => {
                        "if the command needs a running server: deploy with `--server none --no-probe`, start the server, \
                         then deploy again"
                    }
                };
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

/// A probe that did not succeed.
struct FailedProbe<'e> {
    status: Option<u16>,
    last: &'e str,
    hint: String,
}

impl<'e> FailedProbe<'e> {
    fn of(error: &'e ReleaseError) -> Option<Self> {
        match error {
            ReleaseError::Probe { status, last, hint, .. } => {
                Some(Self { status: *status, last, hint: (*hint).to_owned() })
            }
            ReleaseError::Served { source, .. } => Self::of(source),
            ReleaseError::Service { name, source, .. } => {
                Self::of(source).map(|probe| Self { hint: of_service(name, &probe.hint), ..probe })
            }
            _ => None,
        }
    }
}

/// What to do if two releases fail the probe in the same way. Unless the site itself has failed, the settings of the probe are
/// the likely cause.
fn same_probe(source: &ReleaseError, revert: &ReleaseError) -> Option<String> {
    let (one, other) = (FailedProbe::of(source)?, FailedProbe::of(revert)?);
    if one.last != other.last {
        return None;
    }
    let cause = match other.status {
        Some(500..) => "",
        _ => ", so its settings may be wrong",
    };
    Some(format!("the probe failed in the same way after the rollback{cause}: {}", other.hint))
}

/// A hint about `[release.probe]`, for the probe of a service.
fn of_service(name: &str, hint: &str) -> String {
    let probe = format!("`probe` of the service `{name}`");
    let hint = hint.replace("`[release.probe] host`", &format!("`host` in {probe}"));
    let hint = hint.replace("`[release.probe] socket`", &format!("the socket of {probe}"));
    hint.replace("`[release.probe] url`", &probe).replace("`[release.probe]`", &probe)
}

/// Whether it is a directory, a FIFO, a device, or too large.
fn is_no_text(source: &io::Error) -> bool {
    matches!(source.kind(), ErrorKind::FileTooLarge | ErrorKind::IsADirectory | ErrorKind::InvalidData)
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::getuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ServerOutput, UnitProblem};

    #[test]
    fn a_held_lock_has_its_own_exit_code() {
        let busy = || FsError::Busy { path: "/srv/site/store/lock".into(), seconds: 60 };
        assert_eq!(ReleaseError::from(busy()).exit_code(), 15);
        let error = ReleaseError::from(InstallError::from(busy()));
        assert_eq!(error.exit_code(), 15);
        assert!(error.to_string().contains("60") && error.hint().is_some(), "{error}: {:?}", error.hint());
    }

    #[test]
    fn a_service_that_does_not_stay_up_names_its_journal_once() {
        let down = || ReleaseError::Down { name: "a.service".to_owned(), trouble: "x".to_owned() };
        let output = |more: Option<&str>| ServerOutput {
            log: "the journal of a.service".to_owned(),
            lines: vec!["SyntaxError".to_owned()],
            problem: None,
            more: more.map(str::to_owned),
        };
        let hint = |more| {
            let served = ReleaseError::Served { source: Box::new(down()), output: output(more) };
            served.hint().unwrap()
        };
        assert_eq!(hint(Some("journalctl --unit=a.service")), "`journalctl --unit=a.service` shows more");
        assert_eq!(hint(None), down().hint().unwrap());
    }

    #[test]
    fn a_first_deploy_that_cannot_signal_its_server_names_the_way_out() {
        let hint = |command: &str| {
            let (command, problem) = (command.to_owned(), "ended with 1".to_owned());
            let source = ReleaseError::Command { command, problem, tail: String::new(), log: None };
            let (phase, outcome, left) = (Phase::Reload, Outcome::Reverted, String::new());
            let (id, source) = ("1-1a2b3c4d".parse().unwrap(), Box::new(source));
            ReleaseError::Failed { id, phase, outcome, left, is_first: true, source, revert: None }.hint()
        };
        assert!(hint("kill -HUP 7").unwrap().contains("`--server none --no-probe`"));
        assert_eq!(hint("systemctl restart a.service"), None);
    }

    #[test]
    fn hints_name_the_cure_of_each_case() {
        let full = io::Error::from(ErrorKind::StorageFull);
        assert!(ReleaseError::io("make", "/srv/site".as_ref())(full).hint().unwrap().contains("`df -i`"));
        let untrusted = ReleaseError::Untrusted { path: "/srv/site".into(), reason: String::new() };
        assert!(untrusted.hint().unwrap().contains("`runuser -u USER -- ...`"));
        let missing = ReleaseError::Unit { unit: "a.service".to_owned(), problem: UnitProblem::Missing };
        let hint = missing.hint().unwrap();
        assert!(
            hint.contains("`--release ID` in place of ARTIFACT") && hint.contains("yours to write"),
            "{hint}"
        );
    }

    #[test]
    fn the_hint_for_the_probe_of_a_service_names_the_service() {
        let hint = of_service("web", "does the server run, and listen at `[release.probe] socket`?");
        assert_eq!(hint, "does the server run, and listen at the socket of `probe` of the service `web`?");
    }
}
