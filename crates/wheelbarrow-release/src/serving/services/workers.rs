//! Workers that drain: each release has instances of its own, which finish their tasks when another takes over.

use wheelbarrow_artifact::release::{Manager, Server};

use crate::ReleaseId;
use crate::serving::proof::{self, Process, Service};
use crate::serving::systemd::{self, EndingUnit, UnitState};

/// Units that systemd is asked for at once: a command line has a limit.
const MOST: usize = 1000;

/// What becomes of the workers of a release that run already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// They may have another environment.
    Restarted,
    /// What was to replace them has failed, and they were not asked to end. Their tasks may take hours.
    Kept,
}

/// What is to be done for a service to run a release.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    None,
    Reload,
    /// This unit finishes its tasks: systemd starts it again after that, and nobody waits for it.
    RestartLater(String),
}

impl Workers {
    pub(super) fn next_step(self, server: &Server) -> NextStep {
        let Server::Systemd { unit, manager, .. } = server else { return NextStep::Reload };
        match systemd::state(*manager, unit).filter(|_| of_release(unit)) {
            Some(state) => self.of_state(&state),
            None => NextStep::Reload,
        }
    }

    fn of_state(self, state: &UnitState) -> NextStep {
        let works = state.active == "active" && state.trouble().is_none();
        match self {
            _ if state.ends() => NextStep::RestartLater(state.unit.clone()),
            Self::Kept if works => NextStep::None,
            _ => NextStep::Reload,
        }
    }
}

/// Units of releases that end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EndingWorkers {
    /// They finish what they have.
    pub(crate) draining: Vec<String>,
    /// Their processes have failed, as those of a release that could not start.
    pub(crate) failing: Vec<String>,
}

impl EndingWorkers {
    pub(crate) fn contains(&self, unit: &String) -> bool {
        self.draining.contains(unit) || self.failing.contains(unit)
    }
}

/// The units of these services that end.
pub(crate) fn ending(manager: Manager, services: &[Service]) -> EndingWorkers {
    let units = systemd::ending(manager, &workers_of(manager, services, &proof::system_unit));
    let (failing, draining): (Vec<_>, Vec<_>) = units.into_iter().partition(|unit| unit.has_failed);
    let names = |units: Vec<EndingUnit>| units.into_iter().map(|unit| unit.name).collect();
    EndingWorkers { draining: names(draining), failing: names(failing) }
}

/// The workers among these units. Everybody can give the names of some to control groups, as many as they like: a systemd that is
/// not the user's own has not made these, and is not asked for them.
fn workers_of(
    manager: Manager,
    services: &[Service],
    system_unit: &dyn Fn(&Process) -> Option<String>,
) -> Vec<String> {
    let is_unit = |service: &&Service| {
        let mut processes = service.processes.iter();
        manager == Manager::User || processes.all(|process| system_unit(process) == service.unit)
    };
    let workers =
        services.iter().filter(|service| service.unit.as_deref().is_some_and(of_release)).filter(is_unit);
    workers.filter_map(|service| service.unit.clone()).take(MOST).collect()
}

/// Whether an instance has the name of a release.
pub(crate) fn of_release(unit: &str) -> bool {
    let instance = unit.split_once('@').map_or("", |(_, instance)| instance);
    instance.split('.').next().is_some_and(|id| id.parse::<ReleaseId>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_works_is_kept_and_one_that_ends_is_not_waited_for() {
        let unit = "acme-worker@3-1a2b3c4d.1.service";
        let next = |workers: Workers, active: &str, result: &str| {
            workers.of_state(&UnitState::example(unit, active, result))
        };
        let later = NextStep::RestartLater(unit.to_owned());
        assert_eq!(next(Workers::Kept, "active", "success"), NextStep::None);
        assert_eq!(next(Workers::Restarted, "active", "success"), NextStep::Reload);
        for workers in [Workers::Kept, Workers::Restarted] {
            assert_eq!(next(workers, "deactivating", "success"), later);
            assert_eq!(next(workers, "failed", "exit-code"), NextStep::Reload);
            assert_eq!(next(workers, "inactive", "success"), NextStep::Reload);
        }
    }

    #[test]
    fn systemd_is_asked_for_units_that_it_has_made() {
        let unit = |number: usize| format!("acme-worker@{number}-1a2b3c4d.1.service");
        let service = |number: usize| Service {
            unit: Some(unit(number)),
            listener: None,
            verdict: proof::Verdict::Nothing,
            environment: None,
            processes: vec![Process { unit: Some(unit(number)), ..Process::default() }],
            is_partial: false,
        };
        let services: Vec<_> = (1..=2000).map(service).collect();
        let made = |process: &Process| process.unit.clone().filter(|one| *one == unit(7));
        assert_eq!(workers_of(Manager::System, &services, &made), [unit(7)]);
        assert_eq!(workers_of(Manager::System, &services, &|_| Some("acme.service".to_owned())), [""; 0]);
        assert_eq!(workers_of(Manager::User, &services, &|_| None).len(), MOST);
    }

    #[test]
    fn only_instances_of_releases_are_workers() {
        assert!(of_release("acme-worker@3-1a2b3c4d.1.service"));
        for unit in ["acme-worker@1.service", "acme.service", "acme@.service"] {
            assert!(!of_release(unit), "{unit}");
        }
    }
}
