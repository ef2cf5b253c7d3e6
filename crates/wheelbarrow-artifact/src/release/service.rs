//! The services of a site: `[[release.service]]`. Each is a process, or several of a kind, that runs a
//! release: a web server, workers, a scheduler, timers.
//!
//! For a service with `run`, Wheelbarrow writes the units. A service with `unit`, `touch` or `command` has
//! files of its own, which stay unchanged: it is reloaded and verified.

mod probe;

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::server::{Action, Server, ServerKeys};
use super::words::Words;
pub use probe::ServiceProbe;
use probe::{NotAProbe, ProbeTable};

/// Seconds that processes which are asked to end have for it.
const STOP_SECONDS: u64 = 90;
/// Seconds that a service without a probe must stay up.
const STAYS_UP: u64 = 3;
/// Instances of one service on one host.
const MOST_INSTANCES: u32 = 999;

/// A service, which cannot be wrong in itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ServiceTable", into = "ServiceTable")]
pub struct Service {
    pub name: ServiceName,
    pub process: ServiceProcess,
    pub hosts: Hosts,
    pub probe: Option<ServiceProbe>,
    /// Without a probe: the seconds that the service must stay up after it has imported the code of the site.
    pub stays_up: u64,
}

/// What runs.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceProcess {
    /// Units of Wheelbarrow's own.
    Own(OwnUnit),
    /// What somebody else set up, and how it is told.
    Told(Server),
}

/// What the units of a service are written from.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnUnit {
    /// A program of the virtualenv or of the host.
    pub run: Words,
    pub start: Start,
    pub stop: Stop,
    /// Restrictions of the unit that the site cannot bear.
    pub loosen: Vec<Restriction>,
    /// The process tells systemd that it is ready, and then that it lives, at least once in so many seconds.
    pub watchdog: Option<u64>,
}

/// When its processes are started.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// Always one process, which inherits a listening socket as descriptor 3.
    Socket,
    /// Always so many processes.
    Instances { count: u32, handover: Handover },
    /// At the times of a calendar (systemd.time(7)).
    Schedule(String),
}

/// How a service is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// `TERM`
    #[serde(default = "term")]
    pub signal: Signal,
    /// Seconds after which it is killed.
    #[serde(default = "stop_seconds")]
    pub timeout: u64,
}

/// What becomes of the processes of the release before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handover {
    /// They end, then the new ones start.
    #[default]
    Restart,
    /// The new ones start; the old ones take nothing new and finish what they have.
    Drain,
}

/// On which hosts of a fleet a service runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hosts {
    #[default]
    All,
    /// On one, and never twice at a time.
    One,
}

/// A restriction of a unit that may be loosened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restriction {
    /// Reading and writing below `/home`.
    Home,
    /// Writing in the system's directories as far as the user may.
    System,
    /// Raw devices below `/dev`.
    Devices,
    /// A `/tmp` that is shared with other services.
    SharedTmp,
    /// User namespaces: a headless browser.
    Namespaces,
    /// Addresses beside IPv4, IPv6 and Unix sockets.
    AddressFamilies,
    /// System calls that services do not need.
    SystemCalls,
    /// More rights by a set-user-id program: `sudo`, sendmail.
    Privileges,
}

/// A part of the names of units: letters, digits and single dashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// A signal by its name without `SIG`: `TERM`, `QUIT`, `RTMIN+3`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(String);

/// Why a table of `[[release.service]]` is invalid.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAService {
    #[error("invalid name `{0}` of a service: use small letters, digits and dashes, as in `worker-2`")]
    Name(String),
    #[error("invalid signal `{0}`: `TERM`, `INT` and `QUIT` are")]
    Signal(String),
    #[error("the service `{name}` needs one of `run`, `unit`, `touch` and `command`, and has {count}")]
    Process { name: ServiceName, count: usize },
    #[error("the service `{name}` has `{key}`, which needs `run`")]
    NeedsRun { name: ServiceName, key: &'static str },
    #[error("the service `{name}` has `action`, which needs `unit`")]
    NeedsUnit { name: ServiceName },
    #[error("the service `{name}` has both `{one}` and `{other}`")]
    Both { name: ServiceName, one: &'static str, other: &'static str },
    #[error("the service `{name}` has {count} instances: from 1 to 999 are possible")]
    Instances { name: ServiceName, count: u32 },
    #[error("the service `{name}` has `hosts = \"one\"`, so it can have one instance and cannot drain")]
    NotOne { name: ServiceName },
    #[error("the service `{name}` has `watchdog = 0`, which would watch nothing: remove it, or set seconds")]
    Watchdog { name: ServiceName },
    #[error("the probe of the service `{name}` needs one of `path`, `url` and `command`")]
    Probe { name: ServiceName },
    #[error("the probe of the service `{name}` has `path`, which needs `socket = true`; use `url`")]
    NoSocket { name: ServiceName },
    #[error("the path `{path}` in the probe of the service `{name}` does not begin with a slash")]
    Path { name: ServiceName, path: String },
    #[error("the service `{name}` runs at times only, so it cannot have a probe or `stays-up`")]
    Scheduled { name: ServiceName },
    #[error("the times `{schedule}` of the service `{name}` have characters that no calendar of systemd has")]
    Schedule { name: ServiceName, schedule: String },
}

wheelbarrow_base::debug_error!(NotAService);

/// How a service stands in a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ServiceTable {
    name: Option<ServiceName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Words>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
    #[serde(skip_serializing_if = "Option::is_none")]
    touch: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Words>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handover: Option<Handover>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Stop>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loosen: Option<Vec<Restriction>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watchdog: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<Hosts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<ProbeTable>,
    #[serde(alias = "stays_up", skip_serializing_if = "Option::is_none")]
    stays_up: Option<u64>,
}

impl Service {
    /// The units of Wheelbarrow's own that it has.
    pub fn own(&self) -> Option<&OwnUnit> {
        match &self.process {
            ServiceProcess::Own(own) => Some(own),
            ServiceProcess::Told(_) => None,
        }
    }

    /// Whether its processes run all the time.
    pub fn is_constant(&self) -> bool {
        !self.own().is_some_and(|own| matches!(own.start, Start::Schedule(_)))
    }
}

impl Stop {
    fn usual() -> Self {
        Self { signal: term(), timeout: STOP_SECONDS }
    }
}

fn term() -> Signal {
    Signal("TERM".to_owned())
}

fn stop_seconds() -> u64 {
    STOP_SECONDS
}

impl ServiceName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ServiceName {
    type Err = NotAService;

    fn from_str(text: &str) -> Result<Self, NotAService> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        };
        let fits = text.len() <= 64 && text.split('-').all(is_part);
        if fits { Ok(Self(text.to_owned())) } else { Err(NotAService::Name(text.to_owned())) }
    }
}

impl TryFrom<String> for ServiceName {
    type Error = NotAService;

    fn try_from(text: String) -> Result<Self, NotAService> {
        text.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl Signal {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Signal {
    type Error = NotAService;

    fn try_from(text: String) -> Result<Self, NotAService> {
        let name = text.strip_prefix("SIG").unwrap_or(&text);
        let is_letter =
            |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || "+-".contains(letter);
        let fits = name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.len() <= 12
            && name.chars().all(is_letter);
        if fits { Ok(Self(name.to_owned())) } else { Err(NotAService::Signal(text)) }
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.0
    }
}

impl TryFrom<ServiceTable> for Service {
    type Error = NotAService;

    fn try_from(table: ServiceTable) -> Result<Self, NotAService> {
        let name = table.name.clone().ok_or_else(|| NotAService::Name(String::new()))?;
        let hosts = table.hosts.unwrap_or_default();
        let process = process(&name, &table, hosts)?;
        let has_socket = matches!(&process, ServiceProcess::Own(OwnUnit { start: Start::Socket, .. }));
        let wrong_probe = |wrong| {
            let name = name.clone();
            match wrong {
                NotAProbe::Way => NotAService::Probe { name },
                NotAProbe::NoSocket => NotAService::NoSocket { name },
                NotAProbe::Path(path) => NotAService::Path { name, path },
            }
        };
        let service = Self {
            probe: table.probe.map(|probe| probe.checked(has_socket)).transpose().map_err(wrong_probe)?,
            stays_up: table.stays_up.unwrap_or(STAYS_UP),
            name,
            process,
            hosts,
        };
        if !service.is_constant() && (service.probe.is_some() || table.stays_up.is_some()) {
            return Err(NotAService::Scheduled { name: service.name });
        }
        Ok(service)
    }
}

fn process(name: &ServiceName, table: &ServiceTable, hosts: Hosts) -> Result<ServiceProcess, NotAService> {
    let is_there =
        [table.run.is_some(), table.unit.is_some(), table.touch.is_some(), table.command.is_some()];
    let count = is_there.into_iter().filter(|is_there| *is_there).count();
    if count != 1 {
        return Err(NotAService::Process { name: name.clone(), count });
    }
    if table.action.is_some() && table.unit.is_none() {
        return Err(NotAService::NeedsUnit { name: name.clone() });
    }
    let Some(run) = &table.run else {
        let own = [
            ("socket", table.socket.is_some()),
            ("instances", table.instances.is_some()),
            ("handover", table.handover.is_some()),
            ("schedule", table.schedule.is_some()),
            ("stop", table.stop.is_some()),
            ("loosen", table.loosen.is_some()),
            ("watchdog", table.watchdog.is_some()),
        ];
        if let Some((key, _)) = own.into_iter().find(|(_, is_there)| *is_there) {
            return Err(NotAService::NeedsRun { name: name.clone(), key });
        }
        let server = Server::from(ServerKeys {
            unit: table.unit.clone(),
            action: table.action,
            touch: table.touch.clone(),
            command: table.command.clone(),
        });
        return Ok(ServiceProcess::Told(server));
    };
    if table.watchdog == Some(0) {
        return Err(NotAService::Watchdog { name: name.clone() });
    }
    Ok(ServiceProcess::Own(OwnUnit {
        run: run.clone(),
        start: start(name, table, hosts)?,
        stop: table.stop.clone().unwrap_or_else(Stop::usual),
        loosen: table.loosen.clone().unwrap_or_default(),
        watchdog: table.watchdog,
    }))
}

fn start(name: &ServiceName, table: &ServiceTable, hosts: Hosts) -> Result<Start, NotAService> {
    let both = |one, other| Err(NotAService::Both { name: name.clone(), one, other });
    let has_socket = table.socket == Some(true);
    let (count, handover) = (table.instances.unwrap_or(1), table.handover.unwrap_or_default());
    if !(1..=MOST_INSTANCES).contains(&count) {
        return Err(NotAService::Instances { name: name.clone(), count });
    }
    if hosts == Hosts::One && (count > 1 || handover == Handover::Drain) {
        return Err(NotAService::NotOne { name: name.clone() });
    }
    match (&table.schedule, has_socket) {
        (Some(_), true) => both("schedule", "socket"),
        (Some(_), _) if table.instances.is_some() => both("schedule", "instances"),
        (Some(_), _) if table.handover.is_some() => both("schedule", "handover"),
        (Some(_), _) if table.watchdog.is_some() => both("schedule", "watchdog"),
        (None, true) if table.instances.is_some() => both("socket", "instances"),
        (None, true) if table.handover.is_some() => both("socket", "handover"),
        (None, true) => Ok(Start::Socket),
        (None, false) => Ok(Start::Instances { count, handover }),
        (Some(schedule), false) => {
            let is_mark = |letter: char| letter.is_ascii_alphanumeric() || " *-:,./~+_".contains(letter);
            match !schedule.trim().is_empty() && schedule.chars().all(is_mark) {
                true => Ok(Start::Schedule(schedule.trim().to_owned())),
                false => Err(NotAService::Schedule { name: name.clone(), schedule: schedule.clone() }),
            }
        }
    }
}

impl From<Service> for ServiceTable {
    fn from(service: Service) -> Self {
        let mut table = Self {
            name: Some(service.name),
            hosts: Some(service.hosts).filter(|hosts| *hosts != Hosts::All),
            probe: service.probe.map(ProbeTable::from),
            stays_up: Some(service.stays_up).filter(|seconds| *seconds != STAYS_UP),
            ..Self::default()
        };
        match service.process {
            ServiceProcess::Own(OwnUnit { run, start, stop, loosen, watchdog }) => {
                table.run = Some(run);
                table.watchdog = watchdog;
                table.stop = Some(stop).filter(|stop| *stop != Stop::usual());
                table.loosen = Some(loosen).filter(|loosen| !loosen.is_empty());
                match start {
                    Start::Socket => table.socket = Some(true),
                    Start::Instances { count, handover } => {
                        table.instances = Some(count).filter(|count| *count != 1);
                        table.handover = Some(handover).filter(|handover| *handover != Handover::default());
                    }
                    Start::Schedule(schedule) => table.schedule = Some(schedule),
                }
            }
            ServiceProcess::Told(server) => {
                let ServerKeys { unit, action, touch, command } = server.into();
                (table.unit, table.action, table.touch, table.command) = (unit, action, touch, command);
            }
        }
        table
    }
}

#[cfg(test)]
mod tests;
