//! Finds services whose program is missing: their unit would fail at its first start.

use std::path::Path;

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::wheel::OpenWheel;

use crate::root::settings::Settings;

/// Where the shell of a unit looks after the virtualenv, if no drop-in changes that: systemd.exec(5), of all distributions.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A sentence for each service with a program that is neither in its virtualenv, as `has` says, nor on this host.
pub(crate) fn missing(settings: &Settings, has: &dyn Fn(&str) -> bool) -> Vec<String> {
    let programs =
        settings.services.iter().filter_map(|service| Some((service, service.own()?.run.program())));
    let is_missing = |program: &str| match program.find('/') {
        None => !PATH.iter().any(|directory| Path::new(directory).join(program).exists()) && !has(program),
        Some(0) => !Path::new(program).exists(),
        // Below the code.
        Some(_) => false,
    };
    let missing = programs.filter(|(_, program)| is_missing(program)).map(|(service, program)| {
        format!(
            "the service {} runs {program}, which is neither in the virtualenv nor on the PATH of this host: add its package to \
             the requirements, or give its path",
            service.name
        )
    });
    missing.collect()
}

/// Whether a virtualenv with the wheels of an artifact has a program. Of wheels that a thin artifact leaves out it is assumed.
pub(crate) fn has(artifact: &Artifact, program: &str) -> bool {
    let has = |path: &str| match artifact.archive().find(path) {
        None => true,
        Some(entry) => {
            let name = path.rsplit('/').next().unwrap_or(path);
            let wheel = OpenWheel::open(name, artifact.archive().raw(entry));
            wheel.is_ok_and(|wheel| wheel.has_program(program))
        }
    };
    ["python", "pip"].iter().any(|own| program.starts_with(own))
        || artifact.manifest().wheels.iter().any(|wheel| has(&wheel.path))
}
