//! The processes of a site's server, and the release that they run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use fs_err as fs;
use serde::Serialize;
use wheelbarrow_artifact::release::Server;
use wheelbarrow_wheel::order::Inserted;

use super::process::{Process, Verdict, judge};
use super::scope::{Listener, ProcessScope};
use super::time_limited::{ScanLimits, own_users};
use super::{hides_some, kernel, processes};
use crate::root::settings::Settings;
use crate::serving::probe_address::ProbeAddress;
use crate::{ReleaseError, ReleaseId, Root};

/// What was found of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// The systemd unit that the processes belong to.
    pub unit: Option<String>,
    /// The address of a server that is no unit, even if there was no time to find who listens there:
    /// `127.0.0.1:8000`, or the path of a Unix socket. If neither is known, every process under the root was
    /// looked at.
    pub listener: Option<String>,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The first of the processes whose settings are not those of the release that it runs.
    pub environment: Option<OtherEnvironment>,
    pub processes: Vec<Process>,
    /// Whether there are processes that this user may not look at, or has no time for; they may run whatever they like.
    pub is_partial: bool,
}

/// A process that was started with the environment.json of another release than the one that it runs, and they differ:
/// a reload in place keeps what the process once read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherEnvironment {
    pub pid: u32,
    /// Whose environment.json it has.
    pub of: ReleaseId,
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_root = rustix::process::geteuid().is_root();
        match (&self.verdict, self.is_partial && !is_root) {
            (Verdict::Nothing, true) => formatter.write_str("no process of this user runs from a release")?,
            (Verdict::One { id }, true) => write!(formatter, "every process of this user runs {id}")?,
            (verdict, _) => verdict.fmt(formatter)?,
        }
        if let Some(OtherEnvironment { pid, of }) = &self.environment {
            write!(formatter, ", but process {pid} has the environment.json of {of}, which differs")?;
        }
        match (self.is_partial, is_root) {
            (true, false) => formatter.write_str("; only root can read the processes of other users")?,
            (true, true) => formatter.write_str("; some processes could not be looked at")?,
            (false, _) => {}
        }
        if self.is_partial && is_root && lacks_ptrace() {
            formatter.write_str(
                ": root has no CAP_SYS_PTRACE here, in a container `--cap-add SYS_PTRACE` gives it",
            )?;
        }
        Ok(())
    }
}

/// Whether no program that this process starts could have CAP_SYS_PTRACE, nor itself if it is root: as in most containers.
fn lacks_ptrace() -> bool {
    // linux/capability.h
    const CAP_SYS_PTRACE: libc::c_int = 19;
    // SAFETY: a system call on numbers.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, CAP_SYS_PTRACE) == 0 }
}

/// Of the live release's server; of every process under the root where nothing is live.
pub fn of_live(root: &Root) -> Result<Service, ReleaseError> {
    let live = root.live()?.and_then(|live| root.complete(&live).ok());
    let settings = live.and_then(|live| Settings::of(root, &live, &Default::default()).ok());
    of(root, settings.as_ref())
}

/// Of the server that settings name. Which processes are its own: those of the systemd unit, else those that listen
/// where the probe asks, with all that they have started. Where systemd knows of no such unit that runs, or nothing of
/// the root listens there, every process under the root is looked at; first those of users who count for the site.
pub(crate) fn of(root: &Root, settings: Option<&Settings>) -> Result<Service, ReleaseError> {
    let users = TrustedUsers::of(settings, None);
    if let Some(Server::Systemd { unit, manager, .. }) = settings.map(|settings| &settings.server)
        && let Some(group) = kernel::control_group(*manager, unit)
    {
        let (service, _) = found(root, &ProcessScope::ControlGroup(group), &users)?;
        return Ok(Service { unit: Some(unit.clone()), ..service });
    }
    if let Some(listener) = settings.and_then(listener) {
        let name = listener.to_string();
        let (service, is_whole) = found(root, &ProcessScope::Listener(listener), &users)?;
        // What was not looked at may be what listens.
        if !is_whole || !service.processes.is_empty() {
            return Ok(Service { listener: Some(name), ..service });
        }
    }
    match found(root, &ProcessScope::Users(users.0.clone()), &users)? {
        (service, _) if !service.processes.is_empty() => Ok(service),
        _ => Ok(found(root, &ProcessScope::All, &users)?.0),
    }
}

/// Every process that runs from a release of the root, a service for each systemd unit; those of no unit are the first. What
/// only stands in a directory of a release is in none.
pub fn by_unit(root: &Root) -> Result<Vec<Service>, ReleaseError> {
    Ok(units_of(root, processes(root, &ProcessScope::All)?))
}

/// The same without processes of other users.
pub(crate) fn by_unit_of(root: &Root, users: &TrustedUsers) -> Result<Vec<Service>, ReleaseError> {
    Ok(units_of(root, users.processes(root)?))
}

fn units_of(root: &Root, processes: Vec<Process>) -> Vec<Service> {
    let mut units: BTreeMap<Option<String>, Vec<Process>> = BTreeMap::new();
    for process in processes {
        if judge(std::slice::from_ref(&process)) != Verdict::Nothing {
            units.entry(process.unit.clone()).or_default().push(process);
        }
    }
    units.into_iter().map(|(unit, processes)| service(root, unit, processes, false)).collect()
}

/// Whose processes speak for a site. Everybody else can have one that looks like that of any release.
#[derive(Debug)]
pub(crate) struct TrustedUsers(BTreeSet<u32>);

impl TrustedUsers {
    /// Root, the user of this process, the site's user, and those of the site's server if it is known which that is.
    pub(crate) fn of(settings: Option<&Settings>, server: Option<&Service>) -> Self {
        let owner = settings.and_then(|settings| settings.identity.as_ref()?.user);
        let server = server.filter(|server| server.unit.is_some() || server.listener.is_some());
        let its = server.into_iter().flat_map(|server| &server.processes).flat_map(|process| &process.users);
        Self(own_users().into_iter().chain(owner).chain(its.copied()).inserted())
    }

    /// The processes of these users that have to do with releases.
    pub(crate) fn processes(&self, root: &Root) -> Result<Vec<Process>, ReleaseError> {
        let all = processes(root, &ProcessScope::Users(self.0.clone()))?;
        Ok(all.into_iter().filter(|process| self.have(process)).collect())
    }

    fn have(&self, process: &Process) -> bool {
        !process.users.is_empty() && process.users.is_subset(&self.0)
    }
}

/// Whether these are processes of `id` and nothing else.
pub(crate) fn runs(service: &Service, id: &ReleaseId) -> bool {
    service.environment.is_none() && matches!(&service.verdict, Verdict::One { id: one } if one == id)
}

/// The other site root whose process listens where the probe asks: no proxy does that.
pub(crate) fn other_root(root: &Root, settings: &Settings) -> Option<PathBuf> {
    let (limits, own) = (ScanLimits::usual(), fs::canonicalize(root.path()).ok()?);
    let until = Instant::now() + limits.all;
    let (pids, _) = super::listener::service(&listener(settings)?, &limits, &|| false).ok()?;
    let roots = pids.into_iter().filter_map(|pid| kernel::root_of(pid, until));
    roots.into_iter().find(|found| *found != own)
}

/// Where the probe asks on this machine.
fn listener(settings: &Settings) -> Option<Listener> {
    let address = ProbeAddress::of(settings.probe.as_ref()?).ok()?;
    match address.socket {
        Some(path) => Some(Listener::Socket(path)),
        None => Some(Listener::Address(address.authority)),
    }
}

/// What runs in `scope`, and whether there was time for all of it.
fn found(root: &Root, scope: &ProcessScope, users: &TrustedUsers) -> Result<(Service, bool), ReleaseError> {
    let limits = ScanLimits { first: users.0.clone(), ..ScanLimits::usual() };
    let seen = kernel::scan(root, scope, &limits, &|| false)?;
    let is_partial = !seen.is_whole || hides_some(scope)?;
    Ok((service(root, None, seen.processes, is_partial), seen.is_whole))
}

fn service(root: &Root, unit: Option<String>, processes: Vec<Process>, is_partial: bool) -> Service {
    let verdict = judge(&processes);
    let environment = match &verdict {
        Verdict::One { id } => other_environment(root, id, &processes),
        _ => None,
    };
    Service { unit, listener: None, verdict, environment, processes, is_partial }
}

/// The first process whose environment.json is not that of `id`, though it has the code of it.
fn other_environment(root: &Root, id: &ReleaseId, processes: &[Process]) -> Option<OtherEnvironment> {
    let digest = |id: &ReleaseId| root.complete(id).ok().map(|release| release.record().environment_sha256);
    let its = digest(id)?;
    processes.iter().filter(|process| process.code.is_some()).find_map(|process| {
        let of = process.started_in.clone().filter(|of| of != id)?;
        (digest(&of)? != its).then_some(OtherEnvironment { pid: process.pid, of })
    })
}
