//! Commit: marks the release as good.

use wheelbarrow_artifact::release::{Server, Service, ServiceProcess};

use crate::environment::shared_environment;
use crate::root::journal::{Operation, Phase};
use crate::root::settings::Settings;
use crate::root::{Mark, marker_files};
use crate::serving::{services, systemd};
use crate::steps::{Fault, Job, NOTHING, Step, UndoResult};
use crate::{ReleaseError, ReleaseId};

pub(crate) struct Commit;

impl Step for Commit {
    fn phase(&self) -> Phase {
        Phase::Commit
    }

    fn describe(&self, _settings: &Settings) -> String {
        "accept the release".to_owned()
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        let root = job.locked.root;
        marker_files::unset(root, &job.id, Mark::Bad)?;
        if let Some(left) = job.previous.as_ref().filter(|_| job.operation == Operation::Rollback)
            && !job.is_live_already()
        {
            marker_files::set(root, left, Mark::Bad)?;
        }
        if job.operation == Operation::Environment {
            // What was asked for counts from now on for other releases too.
            let before = shared_environment::before(root, job.release()?)?;
            let before = job.done.environment.insert(before);
            let release =
                job.release.as_ref().ok_or_else(|| ReleaseError::Incomplete { id: job.id.clone() })?;
            shared_environment::publish(root, release, before)?;
        }
        services::settle(root, Some((job.release()?, job.settings)), job.progress())?;
        let left = Settings::of_left(root, job.previous.as_ref());
        let left = left.map_or_else(Vec::new, |left| left_units(&left, job.settings, &job.id));
        left.iter().for_each(|text| job.progress().note(text));
        Ok(())
    }

    /// What it marks, the switch back marks again.
    fn undo(&self, job: &mut Job<'_>, _fault: &Fault) -> UndoResult {
        if let Some(before) = job.done.environment.take() {
            shared_environment::unpublish(job.locked.root, &before);
        }
        NOTHING
    }
}

/// What to say of the units of the release before that still run, and are nothing that the release `id` has.
fn left_units(left: &Settings, settings: &Settings, id: &ReleaseId) -> Vec<String> {
    let of_services = left.services.iter().filter_map(|service| match &service.process {
        ServiceProcess::Told(server) => Some((server, false)),
        ServiceProcess::Own(_) => None,
    });
    let still_runs = |(server, is_server): (&Server, bool)| {
        let Server::Systemd { unit, manager, .. } = server else { return None };
        let is_unit = |server: &Server| matches!(server, Server::Systemd { unit: one, .. } if one == unit);
        let has_unit =
            |service: &Service| services::units_of(&settings.unit_name, service, id).contains(unit);
        if is_unit(&settings.server) || settings.services.iter().any(has_unit) {
            return None;
        }
        systemd::state(*manager, unit).filter(|state| state.active == "active")?;
        let (what, then) = match is_server {
            true => ("the server", ", and its socket, once the proxy requests from the new server"),
            false => ("a service", ""),
        };
        Some(format!(
            "{unit}, {what} of the release before, still runs that release: `systemctl disable --now {unit}`{then}"
        ))
    };
    std::iter::once((&left.server, true)).chain(of_services).filter_map(still_runs).collect()
}
