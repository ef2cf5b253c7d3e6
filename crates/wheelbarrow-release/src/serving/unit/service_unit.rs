//! The units of `[[release.service]]`, written from the settings.
//!
//! A process resolves its release once, at its start, and stays in it: with `current` in its paths it would
//! import from the next release. Every restriction that a usual site can bear is on, and `loosen` removes
//! single ones.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wheelbarrow_artifact::release::{Handover, Manager, OwnUnit, Restriction, Service, Start, Words};

use super::{Unit, UnitError};
use crate::ReleaseId;
use crate::check::application::VARIABLE;

/// The first line of every unit of Wheelbarrow's own begins so; the root follows.
const WRITTEN: &str = "# Written by Wheelbarrow for ";

/// Bytes: systemd has names of 255, in which that of a release may be too.
const LONGEST_NAME: usize = 200;

const NOT_NEEDED: &str = "ProtectClock=yes\n\
                                 ProtectControlGroups=yes\n\
                                 ProtectHostname=yes\n\
                                 ProtectKernelLogs=yes\n\
                                 ProtectKernelModules=yes\n\
                                 ProtectKernelTunables=yes\n\
                                 ProtectProc=invisible\n";
/// systemd.exec(5): what needs a mount namespace, or capabilities.
const LEFT_OUT: &str = "# Left out: ProtectSystem=, ProtectHome=, PrivateTmp=, PrivateDevices=, the other Protect*= and\n\
                        # CapabilityBoundingSet=. They need rights that the systemd of a user does not have.\n";

/// What all units of a site have in common.
#[derive(Clone, Debug)]
pub struct SiteUnits {
    /// The first part of their names.
    pub name: String,
    /// Absolute.
    pub root: PathBuf,
    /// Where the code is imported from, relative to a release.
    pub code: String,
    /// Whose systemd is to have them.
    pub manager: Manager,
    /// Who the site runs as; none for the systemd of a user, which runs all as that user.
    pub user: Option<String>,
    pub group: Option<String>,
    /// Who may connect to sockets besides: the group of the proxy in front.
    pub socket_group: Option<String>,
    /// Variables without which the Python does not start.
    pub variables: BTreeMap<String, String>,
    /// The module of Django's settings, if its services get it from their units.
    pub settings_module: Option<String>,
}

impl SiteUnits {
    /// The target that holds all units of the site.
    pub fn target(&self) -> String {
        format!("{}.target", self.name)
    }

    /// Where the socket of a service is.
    pub fn socket(&self, service: &Service) -> String {
        match self.manager {
            Manager::System => format!("/run/{}-{}.sock", self.name, service.name),
            Manager::User => format!("{}/shared/{}.sock", self.root.display(), service.name),
        }
    }

    /// The target, and the units of these services.
    pub fn units(&self, services: &[Service]) -> Result<Vec<Unit>, UnitError> {
        self.check()?;
        let mut units = vec![Unit { name: self.target(), text: self.whole(&self.target_text()) }];
        for service in services {
            let Some(own) = service.own() else { continue };
            let base = format!("{}-{}", self.name, service.name);
            let text = self.whole(&self.service(&base, service, own)?);
            units.push(Unit { name: format!("{}.service", template(&base, &own.start)), text });
            match &own.start {
                Start::Socket => {
                    let text = self.whole(&self.socket_text(&base, service));
                    units.push(Unit { name: format!("{base}.socket"), text });
                }
                Start::Schedule(schedule) => {
                    let text = self.whole(&self.timer_text(&base, schedule));
                    units.push(Unit { name: format!("{base}.timer"), text });
                }
                Start::Instances { .. } => {}
            }
        }
        match units.iter().find(|unit| unit.name.len() > LONGEST_NAME) {
            Some(Unit { name, .. }) => Err(UnitError::long_name(name)),
            None => Ok(units),
        }
    }

    /// The text with the line that says whose it is.
    fn whole(&self, text: &str) -> String {
        format!(
            "{}. The next deploy overwrites this file:\n# put your own changes into a drop-in, with `systemctl {}edit`.\n{text}",
            written_for(&self.root.to_string_lossy()),
            if self.is_of_system() { "" } else { "--user " }
        )
    }

    fn check(&self) -> Result<(), UnitError> {
        let root = self.root.to_string_lossy();
        let users = [&self.user, &self.group, &self.socket_group].into_iter().flatten();
        let users = users.map(|user| ("user or group", user.as_str(), "-_.@"));
        let module = self.settings_module.iter().map(|module| ("settings module", module.as_str(), "_."));
        let names = self.variables.keys().map(|name| ("variable", name.as_str(), "_"));
        let values = self.variables.values().map(|value| ("variable", value.as_str(), "-_./:@()+"));
        let own = [
            ("name", self.name.as_str(), "-_.:"),
            ("root", &root, "-_./:@"),
            ("directory", &self.code, "-_./"),
        ];
        own.into_iter()
            .chain(users)
            .chain(module)
            .chain(names)
            .chain(values)
            .try_for_each(|(what, value, mark_directory)| super::check_value(what, value, mark_directory))
    }

    fn target_text(&self) -> String {
        format!(
            "[Unit]\n\
             Description=All services of {name}, served from {root}\n\
             \n\
             [Install]\n\
             WantedBy={wanted}\n",
            name = self.name,
            root = self.root.display(),
            wanted = self.booted(),
        )
    }

    /// What is started with the machine, or with the session of a user.
    fn booted(&self) -> &'static str {
        if self.is_of_system() { "multi-user.target" } else { "default.target" }
    }

    fn is_of_system(&self) -> bool {
        self.manager == Manager::System
    }

    fn service(&self, base: &str, service: &Service, own: &OwnUnit) -> Result<String, UnitError> {
        let OwnUnit { start, stop, loosen, watchdog, .. } = own;
        let (root, target) = (self.root.display(), self.target());
        let socket = match start {
            Start::Socket => format!(
                "# The socket stays open while the service restarts, and connections wait in it.\n\
                 Requires={base}.socket\n\
                 After={base}.socket\n"
            ),
            _ => String::new(),
        };
        let instance = if is_template(start) { "-%i" } else { "" };
        let control = super::control_socket(&format!("{base}{instance}"), is_gunicorn(&own.run));
        let kind = match start {
            Start::Schedule(_) => "Type=oneshot\n",
            _ if watchdog.is_some() => "Type=notify\n",
            Start::Socket if is_gunicorn(&own.run) => "Type=notify\n",
            _ => "Type=exec\n",
        };
        let watched = watchdog.map(|seconds| {
            format!(
                "# systemd kills and restarts the service if its main process sends no WATCHDOG=1 within this time.\n\
                 NotifyAccess=main\n\
                 WatchdogSec={seconds}\n"
            )
        });
        let lives = match start {
            Start::Schedule(_) => String::new(),
            _ => "# Always restarted, without a start limit: a release that cannot start must not keep systemd from starting\n\
                  # the release before it.\n\
                  Restart=always\n\
                  RestartSec=1\n"
                .to_owned(),
        };
        let install = match start {
            Start::Schedule(_) => String::new(),
            _ => format!("\n[Install]\nWantedBy={target}\n"),
        };
        Ok(format!(
            "[Unit]\n\
             Description={name} of {site}, run from {root}\n\
             {network}\
             PartOf={target}\n\
             {socket}\
             StartLimitIntervalSec=0\n\
             \n\
             [Service]\n\
             {kind}\
             {watched}\
             {identity}\
             {variables}\
             {control}\
             # The release is resolved once, at the start: a process stays in it.\n\
             ExecStart=/bin/sh -c '{script}'{instance}\n\
             # The journal would name the shell.\n\
             SyslogIdentifier={base}\n\
             # At a stop the main process gets the signal, and ends its children. systemd kills the processes that remain\n\
             # after the timeout.\n\
             KillMode=mixed\n\
             KillSignal=SIG{signal}\n\
             TimeoutStopSec={timeout}\n\
             {lives}\
             {restrictions}\
             {install}",
            name = service.name,
            site = self.name,
            // The systemd of a user has no such target, and begins after it.
            network = if self.is_of_system() { "After=network.target\n" } else { "" },
            watched = watched.unwrap_or_default(),
            identity = self.identity(),
            variables = self.variable_lines(),
            script = self.script(own)?,
            instance = if is_drained(start) { " %i" } else { "" },
            signal = stop.signal.as_str(),
            timeout = stop.timeout,
            restrictions = self.restrictions(loosen),
        ))
    }

    fn identity(&self) -> String {
        let user = self.user.iter().map(|user| format!("User={user}\n"));
        let group = self.group.iter().map(|group| format!("Group={group}\n"));
        user.chain(group).collect()
    }

    fn variable_lines(&self) -> String {
        let lines = self.variables.iter().map(|(name, value)| format!("Environment={name}={value}\n"));
        let lines: String = lines.collect();
        let lines = if lines.is_empty() {
            lines
        } else {
            format!("# This Python does not start without these variables.\n{lines}")
        };
        match &self.settings_module {
            Some(module) => {
                format!(
                    "{lines}# The settings module that commands of the site have too.\nEnvironment={VARIABLE}={module}\n"
                )
            }
            None => lines,
        }
    }

    /// What the shell does, for a unit's single quotes.
    fn script(&self, own: &OwnUnit) -> Result<String, UnitError> {
        let (root, code) = (self.root.display(), &self.code);
        let release = match is_drained(&own.start) {
            // Its instance is `RELEASE.NUMBER`.
            true => format!("release={root}/releases/$${{0%%.*}}"),
            false => format!("release=$$(readlink -f {root}/current)"),
        };
        let run = quoted(&own.run)?;
        Ok(format!(
            "{release} && cd \"$$release/{code}\" && PATH=\"$$release/venv/bin:$$PATH\" VIRTUAL_ENV=\"$$release/venv\" exec {run}"
        ))
    }

    fn restrictions(&self, loosen: &[Restriction]) -> String {
        if !self.is_of_system() && loosen.contains(&Restriction::Privileges) {
            return format!(
                "# Loosened: privileges, and with it all others: in the systemd of a user each of them implies\n# NoNewPrivileges=yes.\n{LEFT_OUT}"
            );
        }
        let of_system = self.restrictions_of_system();
        let (capabilities, others) = match self.manager {
            Manager::System => ("\nCapabilityBoundingSet=", NOT_NEEDED),
            Manager::User => ("", ""),
        };
        let privileges = format!("NoNewPrivileges=yes\nRestrictSUIDSGID=yes{capabilities}");
        let first = (Restriction::Privileges, "The service cannot gain privileges", privileges);
        let last = [
            (
                Restriction::Namespaces,
                "It cannot create namespaces, as containers need",
                "RestrictNamespaces=yes",
            ),
            (
                Restriction::AddressFamilies,
                "Only IP and Unix sockets",
                "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
            ),
            (
                Restriction::SystemCalls,
                "Only the system calls that services need",
                "SystemCallArchitectures=native\nSystemCallFilter=@system-service\nSystemCallFilter=~@privileged\nSystemCallErrorNumber=EPERM",
            ),
        ];
        let last = last.map(|(restriction, why, kept)| (restriction, why, kept.to_owned()));
        let all = std::iter::once(first).chain(of_system).chain(last);
        let lines: String = all
            .map(|(restriction, why, kept)| {
                let word = word_of(restriction);
                match loosen.contains(&restriction) {
                    true => format!("# Loosened: {word}.\n"),
                    false => format!("# {why} (`loosen = [\"{word}\"]`).\n{kept}\n"),
                }
            })
            .collect();
        let left_out = if self.is_of_system() { "" } else { LEFT_OUT };
        format!(
            "{lines}\
             # No site needs these rights.\n\
             {others}\
             LockPersonality=yes\n\
             RestrictRealtime=yes\n\
             {left_out}"
        )
    }

    /// Those that show a service other files and devices than there are.
    fn restrictions_of_system(&self) -> Vec<(Restriction, &'static str, String)> {
        if !self.is_of_system() {
            return Vec::new();
        }
        let mut all = vec![(
            Restriction::System,
            "Read-only, except for the site root and the directories that systemd makes for the service",
            format!("ProtectSystem=strict\nReadWritePaths={}", self.root.display()),
        )];
        let is_below = |places: &[&str]| places.iter().any(|place| self.root.starts_with(place));
        if !is_below(&["/home", "/root", "/run/user"]) {
            all.push((Restriction::Home, "Home directories are hidden", "ProtectHome=yes".to_owned()));
        }
        if !is_below(&["/tmp", "/var/tmp"]) {
            all.push((Restriction::SharedTmp, "A private /tmp", "PrivateTmp=yes".to_owned()));
        }
        all.push((Restriction::Devices, "No hardware devices in /dev", "PrivateDevices=yes".to_owned()));
        all
    }

    fn socket_text(&self, base: &str, service: &Service) -> String {
        let owner: String = match (&self.user, &self.socket_group) {
            (Some(user), Some(group)) => format!(
                "SocketUser={user}\n\
                 # The proxy in front connects as a member of this group.\n\
                 SocketGroup={group}\n\
                 SocketMode=0660\n"
            ),
            _ => String::new(),
        };
        format!(
            "[Unit]\n\
             Description=The socket of {base}\n\
             PartOf={target}\n\
             \n\
             [Socket]\n\
             ListenStream={path}\n\
             RemoveOnStop=yes\n\
             {owner}\
             \n\
             [Install]\n\
             WantedBy=sockets.target\n",
            target = self.target(),
            path = self.socket(service),
        )
    }

    fn timer_text(&self, base: &str, schedule: &str) -> String {
        format!(
            "[Unit]\n\
             Description=The times of {base}\n\
             PartOf={target}\n\
             \n\
             [Timer]\n\
             OnCalendar={schedule}\n\
             # The default accuracy of systemd is one minute.\n\
             AccuracySec=1s\n\
             # A run that was missed while the machine was off is made up for at the next boot.\n\
             Persistent=yes\n\
             \n\
             [Install]\n\
             # The second target starts the timer together with the site.\n\
             WantedBy=timers.target {target}\n",
            target = self.target(),
        )
    }
}

/// The names under which systemd runs a service in a release: what is started, verified and stopped. The timer of one that
/// runs at times.
pub(crate) fn started(site: &str, service: &Service, id: &ReleaseId) -> Vec<String> {
    let Some(own) = service.own() else { return Vec::new() };
    let base = format!("{site}-{}", service.name);
    match &own.start {
        Start::Schedule(_) => vec![format!("{base}.timer")],
        Start::Instances { count, handover: Handover::Drain } => {
            (1..=*count).map(|number| format!("{base}@{id}.{number}.service")).collect()
        }
        Start::Instances { count, .. } if *count > 1 => {
            (1..=*count).map(|number| format!("{base}@{number}.service")).collect()
        }
        Start::Socket | Start::Instances { .. } => vec![format!("{base}.service")],
    }
}

/// Whether the old processes finish what they have beside the new ones.
pub(crate) fn is_drained(start: &Start) -> bool {
    matches!(start, Start::Instances { handover: Handover::Drain, .. })
}

/// Whether a unit was written for this root, and may be written anew or removed.
pub(crate) fn is_of(root: &str, text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.starts_with(&format!("{}. ", written_for(root))))
}

fn written_for(root: &str) -> String {
    format!("{WRITTEN}{root}")
}

fn template(base: &str, start: &Start) -> String {
    if is_template(start) { format!("{base}@") } else { base.to_owned() }
}

fn is_template(start: &Start) -> bool {
    matches!(start, Start::Instances { count, handover } if *count > 1 || *handover == Handover::Drain)
}

fn is_gunicorn(run: &Words) -> bool {
    run.program().ends_with("gunicorn")
}

fn word_of(restriction: Restriction) -> String {
    serde_json::to_value(restriction)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// A command for the shell, in a unit's single quotes.
fn quoted(words: &Words) -> Result<String, UnitError> {
    if let Some(word) = words.not_for_unit() {
        return Err(UnitError { what: "word of `run`", value: word.to_owned(), reason: super::READ_TWICE });
    }
    let quote = |word: &String| {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@=,+%".contains(letter);
        let escaped = word.replace('%', "%%");
        if !word.is_empty() && word.chars().all(is_plain) { escaped } else { format!("\"{escaped}\"") }
    };
    let words: Vec<String> = words.as_slice().iter().map(quote).collect();
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests;
