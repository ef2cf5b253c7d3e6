//! All services of a site: the order in which they get a release, and the end of services that the previous
//! release had.
//!
//! The units that systemd has decide, not the intent of an earlier command: units that were written for this
//! site root and are not the release's are stopped and removed.

mod workers;

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::getuid;
use wheelbarrow_artifact::release::{
    Action, Hosts, Manager, ProbeSettings, ReleaseSettings, Server, Service, ServiceProbe, ServiceProcess,
    Start, Words,
};
use wheelbarrow_base::beneath;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_wheel::order::{self, Inserted};

use self::workers::NextStep;
pub(crate) use self::workers::{EndingWorkers, Workers, ending, of_release};
use crate::check::django;
use crate::command::identity::{group_number, own_name, proxy_group};
use crate::root::moved_root;
use crate::root::receipt::needed_variables;
use crate::root::release::CompleteRelease;
use crate::root::settings::{Settings, bin};
use crate::serving::server_log::ServerLog;
use crate::serving::unit::installed::Installed;
use crate::serving::unit::service_unit::{SiteUnits, is_drained, started};
use crate::serving::unit::{HostSettings, SiteSource, Unit, code_in};
use crate::serving::{programs, server, systemd};
use crate::{ReleaseError, ReleaseId, Root};

/// A process of a site that is told of a release and verified, as if it were the only one.
pub(crate) struct ServingProcess {
    /// Of the service.
    pub(crate) name: String,
    /// With its server and its probe.
    pub(crate) settings: Settings,
    /// A command that shows that it works, and the seconds that it may take.
    pub(crate) command: Option<(Words, u64)>,
    /// Seconds that it must stay up; none where something else shows that it works.
    pub(crate) stays_up: Option<u64>,
    /// The seconds of its watchdog.
    pub(crate) watchdog: Option<u64>,
    /// A timer has no processes.
    pub(crate) is_timer: bool,
}

/// What serves `id`, in the order in which it is told: `[release.server]`, sockets, other processes, what only one host has,
/// timers.
pub(crate) fn of(root: &Root, settings: &Settings, id: &ReleaseId) -> Vec<ServingProcess> {
    in_order(settings).into_iter().flat_map(|service| served(root, settings, service, id)).collect()
}

/// The settings as if what answers requests, or else what is told first, were all that the site has.
pub(crate) fn main(root: &Root, settings: Settings, id: &ReleaseId) -> Settings {
    if settings.server != Server::None {
        return settings;
    }
    match of(root, &settings, id).into_iter().next() {
        Some(first) if !first.is_timer => first.settings,
        _ => settings,
    }
}

fn in_order(settings: &Settings) -> Vec<&Service> {
    let mut services: Vec<&Service> = settings.services.iter().collect();
    order::sort_by_key(&mut services, |service| {
        (!service.is_constant(), service.hosts == Hosts::One, !has_socket(service))
    });
    services
}

fn has_socket(service: &Service) -> bool {
    service.own().is_some_and(|own| own.start == Start::Socket)
}

fn served(root: &Root, settings: &Settings, service: &Service, id: &ReleaseId) -> Vec<ServingProcess> {
    let servers = match &service.process {
        ServiceProcess::Told(server) => vec![server.clone()],
        ServiceProcess::Own(_) => started(&settings.unit_name, service, id)
            .into_iter()
            .map(|unit| Server::Systemd { unit, action: Action::Restart, manager: settings.manager })
            .collect(),
    };
    let site = site_units(root, settings, String::new());
    let probe = match &service.probe {
        Some(ServiceProbe::Path(probe)) => {
            let host = probe.host.clone().unwrap_or_else(|| "localhost".to_owned());
            let (url, socket) = (format!("http://{host}{}", probe.url), Some(site.socket(service).into()));
            Some(ProbeSettings { url, socket, ..probe.clone() })
        }
        Some(ServiceProbe::Request(probe)) => Some(probe.clone()),
        Some(ServiceProbe::Command { .. }) | None => None,
    };
    let command = match &service.probe {
        Some(ServiceProbe::Command { command, deadline }) => Some((command.clone(), *deadline)),
        _ => None,
    };
    let is_timer = !service.is_constant();
    let count = servers.len();
    let named = |number: usize| match count {
        1 => service.name.to_string(),
        _ => format!("{} {}", service.name, number + 1),
    };
    let each = servers.into_iter().enumerate().map(|(number, server)| ServingProcess {
        name: named(number),
        stays_up: (service.probe.is_none() && server.is_unit() && !is_timer).then_some(service.stays_up),
        settings: Settings { server, probe: probe.clone(), services: Vec::new(), ..settings.clone() },
        watchdog: service.own().and_then(|own| own.watchdog),
        // One answer speaks for all instances.
        command: command.clone().filter(|_| number + 1 == count),
        is_timer,
    });
    each.collect()
}

/// Refuses services that cannot be told of a release. `code` is the directory of the code in it.
pub(crate) fn inspect(root: &Root, settings: &Settings, code: &str) -> Result<(), ReleaseError> {
    judge(root, settings, code).map_err(|error| moved_or(root, error))
}

/// The units of a root that was moved lead to where it was, and that is the fault.
fn moved_or(root: &Root, error: ReleaseError) -> ReleaseError {
    let checked = root.complete_or_live(None).and_then(|live| moved_root::check(&live));
    checked.err().filter(|moved| matches!(moved, ReleaseError::Moved { .. })).unwrap_or(error)
}

fn judge(root: &Root, settings: &Settings, code: &str) -> Result<(), ReleaseError> {
    systemd::inspect(root, &settings.server)?;
    for service in &settings.services {
        if let ServiceProcess::Told(server) = &service.process {
            systemd::inspect(root, server)?;
        }
    }
    let units = own_units(root, settings, code.to_owned())?;
    if units.is_empty() {
        return Ok(());
    }
    refuse_manager(settings)?;
    if settings.manager == Manager::System
        && settings.identity.as_ref().is_none_or(|identity| identity.user.is_none())
    {
        return Err(ReleaseError::Setting {
            key: "owner",
            reason:
                "it is missing, so the services would run as root. Name the site's user: `owner = \"mysite\"`"
                    .to_owned(),
        });
    }
    systemd::answers(settings.manager)
        .map_err(|problem| ReleaseError::Unit { unit: units[0].name.clone(), problem })?;
    Installed::of(root, settings.manager).refuse_foreign(&units)
}

/// Root writes units of the system, a user those of its own.
fn refuse_manager(settings: &Settings) -> Result<(), ReleaseError> {
    let (key, reason) = match (settings.manager, getuid().is_root()) {
        (Manager::System, true) | (Manager::User, false) => return Ok(()),
        (Manager::System, false) => (
            "service",
            "only root writes units of the system. Deploy as root; or set `systemd = \"user\"`; or write the units by hand and name \
             them: `unit = \"...\"` instead of `run`",
        ),
        (Manager::User, true) => {
            ("systemd", "`user` is for a site without root. Deploy as the user that the site runs as")
        }
    };
    Err(ReleaseError::Setting { key, reason: reason.to_owned() })
}

/// The same for a plan, which may be made where systemd does not run, by a user who may not deploy.
pub(crate) fn plan(root: &Root, settings: &Settings, code: &str) -> Result<(), ReleaseError> {
    systemd::plan(root, &settings.server).map_err(|error| moved_or(root, error))?;
    own_units(root, settings, code.to_owned()).map(drop)
}

fn site_units(root: &Root, settings: &Settings, code: String) -> SiteUnits {
    // The systemd of a user runs all as that user.
    let is_of_system = settings.manager == Manager::System;
    let user = settings.declared.owner.clone().filter(|_| is_of_system);
    let group = settings.declared.group.clone().filter(|_| is_of_system);
    SiteUnits {
        name: settings.unit_name.clone(),
        manager: settings.manager,
        root: root.path().to_path_buf(),
        code,
        group: group.or_else(|| user.clone()),
        socket_group: Some(proxy_group(|group| group_number(group).is_some()).to_owned()),
        user,
        variables: Default::default(),
        settings_module: settings.declared.settings.clone(),
    }
}

/// Whether Wheelbarrow writes units for the site.
fn has_own(settings: &Settings) -> bool {
    settings.services.iter().any(|service| service.own().is_some())
}

/// None for a site without services of Wheelbarrow's own.
fn own_units(root: &Root, settings: &Settings, code: String) -> Result<Vec<Unit>, ReleaseError> {
    if !has_own(settings) {
        return Ok(Vec::new());
    }
    Ok(site_units(root, settings, code).units(&settings.services)?)
}

/// The units of Wheelbarrow's own that a site has.
pub struct OwnUnits {
    /// None where it has no such services.
    pub units: Vec<Unit>,
    /// Whether `[release.server]` is one more unit.
    pub has_server: bool,
    pub manager: Manager,
    /// A sentence for each service whose program is missing.
    pub missing: Vec<String>,
}

/// Of an artifact or a release; for another systemd than that of the settings if one is named.
pub fn units(
    root: &Path,
    source: SiteSource<'_>,
    manager: Option<Manager>,
) -> Result<OwnUnits, ReleaseError> {
    let mut flags = ReleaseSettings { systemd: manager, ..ReleaseSettings::default() };
    let has_server = |settings: &Settings| settings.server.is_unit();
    match source {
        SiteSource::Artifact(artifact, host) => {
            let manifest = artifact.manifest();
            let root = match host {
                HostSettings::Read => Root::trusted_at(root)?,
                HostSettings::LeftOut => Root::at(root),
            };
            // Units are printed where the user of the site need not be, for hosts on which it is.
            let mut declared = manifest.release.clone().unwrap_or_default();
            let (owner, group) = (declared.owner.take(), declared.group.take());
            let is_elsewhere = host == HostSettings::LeftOut;
            if is_elsewhere || !root.path().exists() {
                // Nobody has made the root yet, so it may be another user than this one.
                flags.systemd = manager.or(declared.systemd).or(Some(Manager::System));
            }
            let mut settings = match host {
                HostSettings::Read => Settings::of_manifest(&root, &manifest.name, Some(&declared), &flags)?,
                HostSettings::LeftOut => Settings::of_artifact(&manifest.name, declared, &flags)?,
            };
            settings.declared.owner = settings.declared.owner.or(owner);
            settings.declared.group = settings.declared.group.or(group);
            let site = site_units(&root, &settings, manifest.project.import_path.clone());
            let units = if has_own(&settings) {
                let module = site.settings_module.clone().or_else(|| code_in(artifact).common_settings());
                SiteUnits { settings_module: module, ..site }.units(&settings.services)?
            } else {
                Vec::new()
            };
            let missing = programs::missing(&settings, &programs::of_wheels(artifact));
            Ok(OwnUnits { units, has_server: has_server(&settings), manager: settings.manager, missing })
        }
        SiteSource::Release(id) => {
            let root = Root::open(root)?;
            let release = root.complete_or_live(id)?;
            let settings = Settings::of(&root, &release, &flags)?;
            let units = release_units(&root, &settings, &release)?;
            let missing =
                programs::missing(&settings, &|program| !beneath::is_missing(&bin(&release).join(program)));
            Ok(OwnUnits { units, has_server: has_server(&settings), manager: settings.manager, missing })
        }
    }
}

fn release_units(
    root: &Root,
    settings: &Settings,
    release: &CompleteRelease,
) -> Result<Vec<Unit>, ReleaseError> {
    if !has_own(settings) {
        return Ok(Vec::new());
    }
    let site = release.site()?;
    let settings_module = django::settings_of_services(release, &site, settings);
    let variables = needed_variables(release.path());
    let units = site_units(root, settings, site.project.import_path);
    Ok(SiteUnits { variables, settings_module, ..units }.units(&settings.services)?)
}

/// Has every service run `release`, which is `current` already. With [`Workers::Kept`] a failure stops nothing: all other
/// services are started before the first error is returned.
pub(crate) fn start(
    root: &Root,
    release: &CompleteRelease,
    settings: &Settings,
    workers: Workers,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let units = release_units(root, settings, release)?;
    let systemctl =
        |verb: &[&str], units: &[String]| server::systemctl(verb, units, release, settings, progress);
    if !units.is_empty() {
        let names: Vec<String> = units.iter().map(|unit| unit.name.clone()).collect();
        let running: Vec<String> = settings
            .services
            .iter()
            .flat_map(|service| started(&settings.unit_name, service, release.id()))
            .collect();
        // Of a template systemd says nothing, but of its instances.
        let loaded: Vec<String> =
            names.iter().filter(|name| !name.contains("@.")).chain(&running).cloned().collect();
        // A command that was killed may have written them, and no more.
        let manager = settings.manager;
        if Installed::of(root, manager).write(&units)? || systemd::are_outdated(manager, &loaded) {
            systemctl(&["daemon-reload"], &[])?;
        }
        if manager == Manager::User
            && let Some((what, hint)) = without_lingering(Path::new("/"))
        {
            progress.note(&format!("{what}; {hint}"));
        }
        let of_kind =
            |kind: &str| names.iter().filter(|name| name.ends_with(kind)).cloned().collect::<Vec<_>>();
        let sockets = of_kind(".socket");
        if !sockets.is_empty() {
            systemctl(&["start"], &sockets)?;
        }
        let mut enabled = [of_kind(".target"), sockets].concat();
        enabled.extend(running);
        systemctl(&["enable", "--quiet"], &enabled)?;
    }
    server::reload(release, settings, progress)?;
    let mut failed = None;
    for served in of(root, settings, release.id()) {
        let log = ServerLog::begin(root, &served.settings);
        let told = match workers.next_step(&served.settings.server) {
            NextStep::None => Ok(()),
            NextStep::Reload => server::reload(release, &served.settings, progress),
            NextStep::RestartLater(unit) => {
                let text = format!("{unit} finishes its tasks, and starts again when they are done");
                progress.note(&text);
                systemctl(&["restart", "--no-block"], &[unit])
            }
        };
        match told.map_err(|error| log.explain(error)).map_err(of_service(&served.name, release.id())) {
            Err(error) if workers == Workers::Kept => failed = failed.or(Some(error)),
            told => told?,
        }
    }
    failed.map_or(Ok(()), Err)?;
    // Alone: what it wants runs, or is of a release that did not start.
    match units.first() {
        Some(target) => {
            systemctl(&["start", "--job-mode=ignore-dependencies"], std::slice::from_ref(&target.name))
        }
        None => Ok(()),
    }
}

/// Why services of this user's own systemd do not go on, and what keeps them; none where they do.
pub(crate) fn without_lingering(machine: &Path) -> Option<(String, String)> {
    let user = own_name();
    let is_on = machine.join("var/lib/systemd/linger").join(&user).exists();
    let what =
        format!("the systemd of {user} ends with the last session of that user, and all services with it");
    (!is_on).then(|| (what, format!("root can keep it: `loginctl enable-linger {user}`")))
}

/// Adds the name of the service to an error, and the release that it should run.
pub(crate) fn of_service(name: &str, id: &ReleaseId) -> impl FnOnce(ReleaseError) -> ReleaseError {
    let (name, id) = (name.to_owned(), id.clone());
    move |error| match error {
        ReleaseError::Cancelled => error,
        other => ReleaseError::Service { name, id, source: Box::new(other) },
    }
}

/// Stops what only one host may run, before another release takes its place.
pub(crate) fn stop_singletons(
    live: &CompleteRelease,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let units = singletons(settings, live.id());
    if units.is_empty() { Ok(()) } else { server::systemctl(&["stop"], &units, live, settings, progress) }
}

/// Starts them again where nothing took the place of the release.
pub(crate) fn start_singletons(
    live: &CompleteRelease,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let units = singletons(settings, live.id());
    if units.is_empty() { Ok(()) } else { server::systemctl(&["start"], &units, live, settings, progress) }
}

/// Those that systemd knows: the settings of a host may name services whose units no deploy has written yet.
fn singletons(settings: &Settings, id: &ReleaseId) -> Vec<String> {
    let services = settings.services.iter().filter(|service| service.hosts == Hosts::One);
    let units = services.flat_map(|service| units_of(&settings.unit_name, service, id));
    units.filter(|unit| systemd::is_known(settings.manager, unit)).collect()
}

/// The units that run a service in a release, Wheelbarrow's own or not.
pub(crate) fn units_of(site: &str, service: &Service, id: &ReleaseId) -> Vec<String> {
    match &service.process {
        ServiceProcess::Told(Server::Systemd { unit, .. }) => vec![unit.clone()],
        ServiceProcess::Told(_) => Vec::new(),
        ServiceProcess::Own(_) => started(site, service, id),
    }
}

/// Stops and removes the units of this root that are not those of `live`; processes that drain finish what they have.
pub(crate) fn settle(
    root: &Root,
    live: Option<(&CompleteRelease, &Settings)>,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let manager = if root.is_of_plain_user() { Manager::User } else { Manager::System };
    let installed = Installed::of(root, manager);
    let there = installed.names()?;
    if there.is_empty() {
        return Ok(());
    }
    let (mut wanted, mut running, mut drained) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    if let Some((release, settings)) = live {
        wanted = release_units(root, settings, release)?.into_iter().map(|unit| unit.name).inserted();
        let own = settings.services.iter().filter_map(|service| Some((service, service.own()?)));
        for (service, own) in own {
            running.extend(started(&settings.unit_name, service, release.id()));
            if is_drained(&own.start) {
                drained.insert(format!("{}-{}@.service", settings.unit_name, service.name));
            }
        }
    }
    let command = |words: &[&str], units: &[String]| systemd::command(manager, words, units, progress);
    // Instances first: without their template systemd would not know how to stop them.
    for name in there.iter().filter_map(|name| name.strip_suffix("@.service")) {
        let instances = systemd::instances(manager, name);
        let left: Vec<String> = instances.into_iter().filter(|unit| !running.contains(unit)).collect();
        if left.is_empty() {
            continue;
        }
        command(&["disable", "--quiet"], &left);
        let is_drained =
            drained.contains(&format!("{name}@.service")) || left.iter().all(|unit| of_release(unit));
        command(if is_drained { &["stop", "--no-block"] } else { &["stop"] }, &left);
    }
    let left: Vec<String> = there.difference(&wanted).cloned().collect();
    if left.is_empty() {
        return Ok(());
    }
    let stoppable: Vec<String> = left.iter().filter(|name| !name.contains("@.")).cloned().collect();
    if !stoppable.is_empty() {
        command(&["disable", "--now", "--quiet"], &stoppable);
    }
    left.iter().try_for_each(|name| installed.remove(name))?;
    command(&["daemon-reload"], &[]);
    systemd::forget(manager, &stoppable);
    Ok(())
}

/// What a plan says of services.
pub(crate) fn describe(settings: &Settings) -> Vec<String> {
    let base = match &settings.server {
        Server::None => None,
        server => Some(format!("web: {server}")),
    };
    let described = |service: &Service| match &service.process {
        ServiceProcess::Told(server) => format!("{}: {server}", service.name),
        ServiceProcess::Own(own) => match &own.start {
            Start::Schedule(schedule) => format!("{}: timer, {schedule}", service.name),
            start if is_drained(start) => format!("{}: start, then drain the old one", service.name),
            _ => format!("{}: restart", service.name),
        },
    };
    base.into_iter().chain(in_order(settings).into_iter().map(described)).collect()
}
