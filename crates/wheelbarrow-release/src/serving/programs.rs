//! Finds services whose program is missing: their unit would fail at its first start.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::path::Path;

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::wheel::OpenWheel;
use wheelbarrow_base::beneath;

use crate::root::settings::Settings;

/// Where the shell of a unit looks after the virtualenv, if no drop-in changes that: systemd.exec(5), of all distributions.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// NAME_MAX of Linux: no file has a longer name.
const LONGEST_NAME: usize = 255;

/// A sentence for each service with a program that is neither in its virtualenv, as `has` reports, nor on this host.
pub(crate) fn missing(settings: &Settings, has: &dyn Fn(&str) -> bool) -> Vec<String> {
    let programs =
        settings.services.iter().filter_map(|service| Some((service, service.own()?.run.program())));
    let is_missing = |program: &str| match program.find('/') {
        None => !PATH.iter().any(|directory| Path::new(directory).join(program).exists()) && !has(program),
        Some(0) => beneath::is_missing(Path::new(program)),
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

/// Tells whether a virtualenv with the wheels of an artifact has a program. Of wheels that a thin artifact leaves out it is
/// assumed.
pub(crate) fn of_wheels(artifact: &Artifact) -> impl Fn(&str) -> bool {
    lookup(move || {
        let mut programs = BTreeSet::new();
        for wheel in &artifact.manifest().wheels {
            let entry = artifact.archive().find(&wheel.path)?;
            let name = wheel.path.rsplit('/').next().unwrap_or(&wheel.path);
            if let Ok(wheel) = OpenWheel::open(name, artifact.archive().raw(entry)) {
                let names = wheel.programs().filter(|name| name.len() <= LONGEST_NAME);
                programs.extend(names.map(str::to_owned));
            }
        }
        Some(programs)
    })
}

/// Wheels are large, so `read` is called once, and only if a program is looked for. Nothing stands for any program.
fn lookup(read: impl FnOnce() -> Option<BTreeSet<String>>) -> impl Fn(&str) -> bool {
    let programs = LazyCell::new(read);
    move |program| {
        ["python", "pip"].iter().any(|own| program.starts_with(own))
            || programs.as_ref().is_none_or(|programs| programs.contains(program))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use fs_err as fs;
    use fs_err::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_wheels_are_read_once_and_only_if_needed() {
        let count = Cell::new(0);
        let has = lookup(|| {
            count.set(count.get() + 1);
            Some(BTreeSet::from(["celery".to_owned()]))
        });
        assert!(has("python3") && count.get() == 0);
        assert!(has("celery") && !has("daphne") && !has("uvicorn"));
        assert_eq!(count.get(), 1);
        assert!(lookup(|| None)("anything"));
    }

    #[test]
    fn no_link_of_another_user_is_followed_to_find_a_program() {
        let place = tempfile::tempdir().unwrap();
        let missing = |name: &str| beneath::is_missing(&place.path().join(name));
        fs::create_dir(place.path().join("theirs")).unwrap();
        for path in ["program", "link", "theirs/program", "theirs/link", "theirs/absent/program"] {
            assert!(missing(path), "{path}");
        }
        fs::write(place.path().join("program"), "").unwrap();
        symlink("program", place.path().join("link")).unwrap();
        symlink("/nowhere", place.path().join("theirs/link")).unwrap();
        assert!(!missing("program") && !missing("link"));
        assert!(missing("theirs/link"));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(place.path().join("theirs"), Some(4321), None).unwrap();
            for path in ["theirs/link", "theirs/program", "theirs/absent/program"] {
                assert!(!missing(path), "{path}");
            }
        }
    }
}
