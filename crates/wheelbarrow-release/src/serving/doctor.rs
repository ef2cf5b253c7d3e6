//! `doctor`: finds set-ups of servers that would keep the old release after a switch, or lose requests.
//!
//! It examines processes (`/proc`), systemd's unit files, and the configuration of uWSGI and Apache that
//! names the site root. It changes nothing, sends the server no requests, and reports only faults that were
//! seen with real servers; `docs/guides/servers.md` has the rules. Configuration that another file includes
//! by a macro, or that a program generates, is not understood; the running processes show its result.

mod apache;
mod files;
mod finding;
mod gunicorn;
mod policy;
mod site;
mod unit_files;
mod uwsgi;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FileType;
use serde::Serialize;
use wheelbarrow_artifact::release::{Manager, Server};
use wheelbarrow_base::beneath::{self, Place, found};
use wheelbarrow_base::{Explain, shell_word};
pub use wheelbarrow_install::policy::SelinuxMode;
use wheelbarrow_install::policy::{KernelLabels, Labels, selinux_mode};

pub use self::finding::Finding;
use self::site::JudgedSite;
use crate::check::startable;
use crate::command::deadline;
use crate::command::identity::own_name;
use crate::report::bundled_python::{BundledPython, bundled_python};
use crate::report::rule::{self, Rule};
use crate::root::receipt::needed_variables;
use crate::root::settings::Settings;
use crate::serving::proof::{self, Process, Service, TrustedUsers, Verdict};
use crate::serving::services;
use crate::{ReleaseError, ReleaseId, Root};

/// Everything that was found of a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DoctorReport {
    pub root: PathBuf,
    pub findings: Vec<Finding>,
    /// The Python that the live release brings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<BundledPython>,
    /// Nothing where the kernel has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux: Option<SelinuxMode>,
    /// How many processes and files were looked at, which have to do with the root.
    pub processes: usize,
    pub files: usize,
    /// Whether there are processes that this user may not look at, or has no time for.
    pub is_partial: bool,
}

/// How many processes a finding names.
const MOST_NAMED: usize = 5;

/// For all looks: of each, the site's user chooses how long it takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Looks at this machine.
pub fn examine(root: &Root) -> Result<DoctorReport, ReleaseError> {
    deadline::within(LIMIT, || examine_on(root, Path::new("/"), &KernelLabels))
}

/// The same with the configuration below another directory than `/`.
fn examine_on(root: &Root, machine: &Path, labels: &dyn Labels) -> Result<DoctorReport, ReleaseError> {
    let live = root.live()?;
    let release = live.as_ref().and_then(|live| root.complete(live).ok());
    let variables = release.as_ref().map(|release| needed_variables(release.path())).unwrap_or_default();
    let interpreter = release.as_ref().and_then(bundled_python);
    let mut findings = files::under_root(root);
    findings.extend(release.as_ref().and_then(files::python));
    let settings = release.map(|release| Settings::of(root, &release, &Default::default())).transpose();
    let settings = match settings {
        // It is among the findings.
        Err(ReleaseError::Untrusted { .. }) => None,
        settings => settings?,
    };
    findings.extend(settings.as_ref().and_then(|settings| files::reload(&settings.server)));
    let real = fs_err::canonicalize(root.path()).map_err(ReleaseError::io("find", root.path()))?;
    let site = JudgedSite { root, real, settings, live, variables };
    judge_probe(&site, &mut findings);
    let server = proof::of(root, site.settings.as_ref())?;
    let processes = TrustedUsers::of(site.settings.as_ref(), Some(&server)).processes(root)?;
    if let Some(live) = &site.live {
        findings.extend(stale_processes(root, site.settings.as_ref(), live)?);
    }
    judge_starting(&site, &mut findings)?;
    judge_lingering(&site, machine, &mut findings);
    unit_files::judge_missing(&site, &mut findings);
    unit_files::judge_enabled(&site, &mut findings);
    let selinux = selinux_mode(machine);
    policy::judge_labels(&site, selinux, labels, &mut findings);
    policy::judge_fapolicyd(&site, machine, &mut findings);
    findings.extend(site.settings.iter().flat_map(|settings| unusable_shared(root, settings)));
    gunicorn::judge(&site, &processes, &mut findings);
    let units = unit_files::find(&site, machine);
    units.iter().for_each(|unit| unit.judge(&site, &mut findings));
    unit_files::judge_variables(&site, &units, &mut findings);
    let vassals = uwsgi::find(&site, machine, &processes, &units);
    let hosts = apache::find(&site, machine);
    uwsgi::judge(&site, &vassals, &hosts, &mut findings);
    hosts.iter().for_each(|host| host.judge(&site, &mut findings));
    let files = units.iter().map(|unit| &unit.file);
    let files: Vec<_> = files
        .chain(vassals.iter().filter_map(|one| one.file.as_ref()))
        .chain(hosts.iter().map(|host| &host.file))
        .collect();
    files.iter().for_each(|file| file.names_a_release(&site, &mut findings));
    Ok(DoctorReport {
        root: root.path().to_path_buf(),
        findings,
        interpreter,
        selinux,
        processes: processes.len(),
        files: files.len(),
        is_partial: !proof::saw_all() || proof::hides_some(&proof::ProcessScope::All)?,
    })
}

/// A server that says that it has started has not served a page yet.
fn judge_probe(site: &JudgedSite<'_>, findings: &mut Vec<Finding>) {
    let Some(settings) = &site.settings else { return };
    if settings.probe.is_some() || settings.server == Server::None {
        return;
    }
    let notify =
        "gunicorn tells systemd that it is ready (Type=notify) before its workers have loaded the site";
    let what = match &settings.server {
        Server::Systemd { .. } => format!("nothing is probed after the switch, and {notify}"),
        _ => "nothing is probed after the switch, so no process is verified either".to_owned(),
    };
    findings.push(Finding {
        rule: rule::NO_PROBE,
        place: site.root.shared().join("wheelbarrow.toml").display().to_string(),
        what,
        hint:
            "[release.probe] url = \"http://localhost/\", and socket = the path of the server's Unix socket"
                .to_owned(),
    });
}

/// Whether a link is there. No link of another user is followed on the way.
fn is_link(path: &Path) -> bool {
    let Some((above, name)) = path.parent().zip(path.file_name()) else { return false };
    let above = beneath::place(Path::new("/"), above.strip_prefix("/").unwrap_or(above));
    let found = above.and_then(|above| above.directory.sub(&above.name)?.stat_at(name));
    found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Shared paths that lead to nothing, or that the site's user cannot write to. A file of root's may be one that the site only
/// reads.
///
/// No link of another user is followed. No command for root is printed if another user can put a link in the path.
pub(crate) fn unusable_shared(root: &Root, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let identity = settings.identity.as_ref().and_then(|all| Some((all.user?, all.group)));
    let files = fs_err::canonicalize(root.shared()).unwrap_or_default().join(".files");
    for shared in &settings.shared {
        let path = root.shared().join(shared.path.as_str());
        let (what, hint) = match (found(&path), identity) {
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound && is_link(&path) => (
                "it is a link to what is not there, so the site cannot write there".to_owned(),
                "mount or make what it leads to, or remove the link".to_owned(),
            ),
            (Err(error), Some(_)) if error.kind() == io::ErrorKind::InvalidData => (
                format!("{error}, so its owner was not checked"),
                "replace the link by a directory, or by a link of root in a directory that only root can change; unmount a file system of another user".to_owned(),
            ),
            (Ok((Place { exposed, .. }, stat)), Some((user, group))) => {
                let (owner, mode) = (stat.st_uid, stat.st_mode);
                let is_open = mode & 0o2 != 0 || mode & 0o20 != 0 && Some(stat.st_gid) == group;
                let is_directory = FileType::from_raw_mode(mode) == FileType::Directory;
                if [user, 0].contains(&owner) && (owner == user || !is_directory) || is_open {
                    continue;
                }
                let name = settings.declared.owner.clone().unwrap_or_else(|| user.to_string());
                let chown = |path: &Path| format!("chown -R {name}: {}", shell_word(&path.display().to_string()));
                let hint = match exposed {
                    None => chown(&path),
                    // Only root could exchange it.
                    Some(exposure) if exposure.path == files => chown(&files),
                    Some(exposure) => format!(
                        "as {name}, move it away and deploy again; another user could redirect a command that root runs: {exposure}"
                    ),
                };
                (format!("it belongs to the user {owner}, not to {name}: the site cannot write there"), hint)
            }
            _ => continue,
        };
        findings.push(Finding { rule: rule::SHARED_OWNER, place: path.display().to_string(), what, hint });
    }
    findings
}

/// The systemd of a user that ends with its last session.
fn judge_lingering(site: &JudgedSite<'_>, machine: &Path, findings: &mut Vec<Finding>) {
    let is_of_user = site.settings.as_ref().is_some_and(|settings| settings.manager == Manager::User);
    if let Some((what, hint)) = services::without_lingering(machine).filter(|_| is_of_user) {
        findings.push(Finding { rule: rule::LINGERING, place: own_name(), what, hint });
    }
}

/// Releases that could be made live, and could not be started.
fn judge_starting(site: &JudgedSite<'_>, findings: &mut Vec<Finding>) -> Result<(), ReleaseError> {
    for found in site.root.found()?.into_iter().filter(|found| !found.is_bad) {
        let Some(release) = found.complete else { continue };
        let Ok(settings) = Settings::of(site.root, &release, &Default::default()) else { continue };
        if let Some(problem) = startable::problem(&release, &settings) {
            findings.push(Finding {
                rule: rule::CANNOT_START,
                place: release.path().display().to_string(),
                what: problem.to_string(),
                hint: problem.hint().unwrap_or_default(),
            });
        }
    }
    Ok(())
}

/// What the kernel tells, whatever the reason is: of the server, and of every other unit that runs a release.
pub(crate) fn stale_processes(
    root: &Root,
    settings: Option<&Settings>,
    live: &ReleaseId,
) -> Result<Vec<Finding>, ReleaseError> {
    let mut findings = Vec::new();
    let server = proof::of(root, settings)?;
    let is_known = server.unit.is_some() || server.listener.is_some();
    if is_known && server.verdict != Verdict::Nothing && !proof::runs(&server, live) {
        let what = |server: &Service| server.unit.clone().or_else(|| server.listener.clone());
        findings.push(stale(rule::SERVES_ANOTHER_RELEASE, &server, what(&server), live));
    }
    let manager = settings.map_or(Manager::System, |settings| settings.manager);
    let is_of_server = |process: &Process| server.processes.iter().any(|one| one.pid == process.pid);
    let mut others = proof::by_unit_of(root, &TrustedUsers::of(settings, Some(&server)))?;
    if is_known {
        for running in &mut others {
            running.processes.retain(|process| !is_of_server(process));
            running.verdict = proof::judge(&running.processes);
        }
    }
    others.retain(|running| running.verdict != Verdict::Nothing && !proof::runs(running, live));
    let ending = services::ending(manager, &others);
    others.retain(|running| running.unit.as_ref().is_none_or(|unit| !ending.contains(unit)));
    let rule = if is_known { rule::RUNS_ANOTHER_RELEASE } else { rule::SERVES_ANOTHER_RELEASE };
    for mut running in others {
        let unit = running.unit.clone();
        // A user without root has no units but those of that user's systemd.
        if manager == Manager::System || rustix::process::getuid().is_root() {
            running.unit = unit_to_restart(&running, &proof::system_unit);
        }
        findings.push(stale(rule, &running, unit, live));
    }
    Ok(findings)
}

/// The unit of these processes if the system's systemd put them into it. Below it, the site's user can make a control
/// group with the name of any unit; no command is printed for that one.
fn unit_to_restart(service: &Service, system_unit: &dyn Fn(&Process) -> Option<String>) -> Option<String> {
    let unit = service.unit.clone()?;
    service.processes.iter().all(|process| system_unit(process).as_ref() == Some(&unit)).then_some(unit)
}

/// Of processes that do not run what is live.
fn stale(rule: Rule, service: &Service, name: Option<String>, live: &ReleaseId) -> Finding {
    let what = match &service.environment {
        Some(other) => format!("process {} has the environment.json of {}", other.pid, other.of),
        None => service.verdict.to_string(),
    };
    let others = service.processes.iter().filter(|process| process.runs_another_than(live));
    let others: Vec<_> = others.map(|process| format!("{} ({})", process.pid, process.name)).collect();
    let names = match others.len() {
        0 => String::new(),
        1..=MOST_NAMED => format!("; see process {}", others.join(", ")),
        more => format!("; see process {} and {} more", others[..MOST_NAMED].join(", "), more - MOST_NAMED),
    };
    let hint = match (&service.unit, rule) {
        (_, rule::SERVES_ANOTHER_RELEASE) => {
            "restart the server, then `wheelbarrow activate` the live release, which verifies it".to_owned()
        }
        // Its release is in its name: a restart would keep it.
        (Some(unit), _) if services::of_release(unit) => format!("systemctl stop --no-block {unit}"),
        (Some(unit), _) if unit.ends_with(".service") => format!("systemctl restart {unit}"),
        _ => "end these processes, and start them again from `current`".to_owned(),
    };
    let place = name.unwrap_or_else(|| "processes of no unit".to_owned());
    Finding { rule, place, what: format!("{what}, and `current` leads to {live}{names}"), hint }
}

#[cfg(test)]
mod tests;
