//! Finds programs of services that no wheel contains.
//!
//! A service looks for its program in the virtualenv, then on the `PATH` of its host. Only names are checked:
//! a path is an explicit decision.

use std::collections::BTreeSet;

use wheelbarrow_artifact::release::ReleaseSettings;
use wheelbarrow_audit::{AuditedWheel, Subject};
use wheelbarrow_wheel::layout::Destination;

/// What every Linux server has: shells, and programs that start another one.
const OF_EVERY_HOST: [&str; 5] = ["sh", "bash", "env", "nice", "timeout"];

/// A program that a service runs by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceProgram {
    service: String,
    program: String,
}

impl ServiceProgram {
    /// Those of the settings.
    pub fn all(release: Option<&ReleaseSettings>) -> Vec<Self> {
        let services = release.and_then(|release| release.service.as_deref()).unwrap_or_default();
        let programs = services.iter().filter_map(|service| {
            let program = service.own()?.run.program();
            let is_name = !program.contains('/') && !OF_EVERY_HOST.contains(&program);
            is_name.then(|| Self { service: service.name.to_string(), program: program.to_owned() })
        });
        programs.collect()
    }
}

/// A warning for each service that lacks its program in the virtualenv of a target.
pub(super) fn missing(programs: &[ServiceProgram], subjects: &[Subject<'_>]) -> Vec<String> {
    let warnings = programs.iter().filter_map(|ServiceProgram { service, program }| {
        let lacks = |subject: &&Subject<'_>| !is_in_virtualenv(program, subject);
        let targets: BTreeSet<_> = subjects.iter().filter(lacks).map(|subject| &subject.floor.name).collect();
        let of_which = match targets.len() {
            0 => return None,
            count if count == subjects.len() => String::new(),
            _ => format!(" for {}", targets.into_iter().cloned().collect::<Vec<_>>().join(", ")),
        };
        Some(format!(
            "the service {service} runs {program}, and no wheel{of_which} has a program of that name: add its package to the \
             requirements; if the server has it, give its path, as `run = \"/usr/bin/{program} ...\"`"
        ))
    });
    warnings.collect()
}

fn is_in_virtualenv(program: &str, subject: &Subject<'_>) -> bool {
    let (major, minor) = subject.floor.python;
    let pythons = ["python".to_owned(), format!("python{major}"), format!("python{major}.{minor}")];
    let pip = subject.site.as_ref().and_then(|site| site.pip);
    pythons.iter().any(|python| python == program)
        || subject.wheels.iter().copied().chain(pip).any(|wheel| has(wheel, program))
}

fn has(wheel: &AuditedWheel<'_>, program: &str) -> bool {
    let is_file = || {
        wheel.open.files().iter().any(|file| match &file.destination {
            Destination::Scripts(path) => path == program,
            Destination::Data(path) => path.strip_prefix("bin/") == Some(program),
            _ => false,
        })
    };
    wheel.open.entry_points().names().contains(program) || is_file()
}
