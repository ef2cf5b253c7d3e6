//! systemd's unit files that name the site root, or are the unit that is restarted (systemd.exec(5),
//! systemd.kill(5)).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use wheelbarrow_artifact::release::Server;
use wheelbarrow_wheel::order::Inserted;

use super::files::{ConfigurationFile, below};
use super::finding::Finding;
use super::site::JudgedSite;
use crate::report::rule;
use crate::serving::services;
use crate::serving::systemd::{self, UnitProblem};

const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/transient",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];
/// What users' homes are below.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// A service, or a drop-in for one.
pub(super) struct UnitFile {
    pub(super) file: ConfigurationFile,
}

pub(super) fn find(site: &JudgedSite<'_>, machine: &Path) -> Vec<UnitFile> {
    let is_service = |path: &Path| {
        let is_drop_in =
            || path.parent().is_some_and(|parent| parent.to_string_lossy().ends_with(".service.d"));
        path.extension().is_some_and(|kind| kind == "service" || (kind == "conf" && is_drop_in()))
    };
    let told = match site.server() {
        Server::Systemd { unit, .. } => Some(format!("{}.service", unit.trim_end_matches(".service"))),
        _ => None,
    };
    let is_told = |path: &Path| {
        let names =
            path.components().rev().take(2).map(|part| part.as_os_str().to_string_lossy().into_owned());
        told.as_ref().is_some_and(|told| names.into_iter().any(|name| name.trim_end_matches(".d") == told))
    };
    let files = below(machine, &DIRECTORIES, is_service);
    let named: BTreeSet<_> =
        files.iter().filter(|file| file.names(site)).filter_map(|file| drop_ins(&file.path)).inserted();
    let is_drop_in =
        |path: &Path| path.parent().and_then(Path::file_name).is_some_and(|name| named.contains(name));
    let is_of_site =
        |file: &ConfigurationFile| file.names(site) || is_told(&file.path) || is_drop_in(&file.path);
    let of_site: Vec<bool> = files.iter().map(is_of_site).collect();
    files.into_iter().zip(of_site).filter(|(_, is)| *is).map(|(file, _)| UnitFile { file }).collect()
}

/// What the directory with drop-ins of a unit is called.
fn drop_ins(unit: &Path) -> Option<OsString> {
    let mut name = unit.file_name()?.to_owned();
    name.push(".d");
    Some(name)
}

impl UnitFile {
    pub(super) fn judge(&self, site: &JudgedSite<'_>, findings: &mut Vec<Finding>) {
        let all: Vec<_> = self.file.pairs().collect();
        let shared = site.root.shared();
        let has_way = all.iter().any(|(_, key, value)| {
            ["ReadWritePaths", "ReadWriteDirectories", "BindPaths"].contains(key)
                && value
                    .split_whitespace()
                    .any(|path| shared.starts_with(path.trim_start_matches(['-', '+'])))
        });
        for (line, key, value) in &all {
            let is_on = ["yes", "true", "on", "1"].contains(value);
            let found = match (*key, *value) {
                ("KillMode", "process" | "none") => Some((
                    rule::KILL_MODE,
                    format!("KillMode={value} leaves the workers of the old release at work after a restart"),
                    "KillMode=mixed".to_owned(),
                )),
                // Homes are not of the system.
                ("ProtectSystem", "strict") if !has_way && !in_home(site) => Some((
                    rule::PROTECT_SYSTEM,
                    format!("ProtectSystem=strict makes {} read-only for the site: uploads fail", shared.display()),
                    format!("ReadWritePaths={}, or ProtectSystem=full", shared.display()),
                )),
                ("ProtectHome", value) if value != "no" && value != "false" && in_home(site) => Some((
                    rule::PROTECT_HOME,
                    format!("ProtectHome={value} hides {} from the site, or makes it read-only", site.real.display()),
                    "a root in /srv, or ProtectHome=no".to_owned(),
                )),
                ("PrivateTmp", _) if is_on => all
                    .iter()
                    .find(|(_, key, value)| key.starts_with("Exec") && (value.contains("unix:/tmp/") || value.contains("unix:/var/tmp/")))
                    .map(|(_, _, _)| {
                        (
                            rule::PRIVATE_TMP,
                            "PrivateTmp hides the socket that the server opens in /tmp from the proxy and from the probe".to_owned(),
                            "a socket in /run: `wheelbarrow unit` prints a socket unit".to_owned(),
                        )
                    }),
                _ => None,
            };
            if let Some((rule, what, hint)) = found {
                findings.push(Finding { rule, place: self.file.place(*line), what, hint });
            }
        }
    }
}

/// Variables without which the Python does not start, of services that start it.
pub(super) fn judge_variables(site: &JudgedSite<'_>, units: &[UnitFile], findings: &mut Vec<Finding>) {
    for (name, value) in &site.variables {
        for unit in units {
            let mut lines = unit.file.pairs();
            let Some((line, _, _)) =
                lines.find(|(_, key, value)| *key == "ExecStart" && site.is_named_in(value))
            else {
                continue;
            };
            // Its own file, and its drop-ins.
            let directory = drop_ins(&unit.file.path);
            let is_of_unit = |other: &&UnitFile| {
                other.file.path == unit.file.path
                    || other.file.path.parent().and_then(Path::file_name) == directory.as_deref()
            };
            let sets = |(_, key, value): (usize, &str, &str)| {
                key == "EnvironmentFile" || value.contains(name.as_str()) || value.contains("scl enable")
            };
            if !units.iter().filter(is_of_unit).any(|unit| unit.file.pairs().any(sets)) {
                findings.push(Finding {
                    rule: rule::MISSING_VARIABLE,
                    place: unit.file.place(line),
                    what: format!(
                        "the site's Python does not start without {name}, which the unit does not set"
                    ),
                    hint: format!("Environment={name}={value}"),
                });
            }
        }
    }
}

/// A unit of the server or of a service that systemd does not have.
pub(super) fn judge_missing(site: &JudgedSite<'_>, findings: &mut Vec<Finding>) {
    let known = site.settings.as_ref().zip(site.live.as_ref());
    let services = known.map(|(settings, live)| services::of(site.root, settings, live)).unwrap_or_default();
    for server in services.iter().map(|served| &served.settings.server).chain([site.server()]) {
        if let Server::Systemd { unit, manager, .. } = server
            && !systemd::is_known(*manager, unit)
        {
            let (what, hint) = (UnitProblem::Missing.to_string(), UnitProblem::Missing.hint());
            findings.push(Finding { rule: rule::NOT_ENABLED, place: unit.clone(), what, hint });
        }
    }
}

/// A unit that does not run after the next start of the machine: neither it nor what triggers it is enabled.
pub(super) fn judge_enabled(site: &JudgedSite<'_>, findings: &mut Vec<Finding>) {
    let Server::Systemd { unit, manager, .. } = site.server() else { return };
    let Ok(shown) = systemd::show(*manager, unit, "--property=TriggeredBy") else { return };
    let triggers = shown.get("TriggeredBy").map(String::as_str).unwrap_or_default();
    let mut disabled = None;
    for unit in [unit.as_str()].into_iter().chain(triggers.split_whitespace()) {
        let Ok(shown) = systemd::show(*manager, unit, "--property=UnitFileState,WantedBy") else { return };
        let value = |key: &str| shown.get(key).map(String::as_str).unwrap_or_default();
        if !value("WantedBy").is_empty() || value("UnitFileState").starts_with("enabled") {
            return;
        }
        if value("UnitFileState") == "disabled" {
            disabled = Some(unit.to_owned());
        }
    }
    if let Some(place) = disabled {
        let words = [&["systemctl"], manager.flags(), &["enable", &place]].concat().join(" ");
        findings.push(Finding {
            rule: rule::NOT_ENABLED,
            place,
            what: "it is not enabled: after a start of the machine, the site does not run".to_owned(),
            hint: format!("`{words}`"),
        });
    }
}

fn in_home(site: &JudgedSite<'_>) -> bool {
    HOMES.iter().any(|home| site.real.starts_with(home))
}
