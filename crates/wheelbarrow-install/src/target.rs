//! Which target of an artifact the running interpreter is.

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{Manifest, Target};
use wheelbarrow_wheel::tags::{Libc, Platform};

/// The artifact is not for this interpreter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is for {}; this is {here}", wanted.join(" or "))]
pub struct NoTarget {
    pub wanted: Vec<String>,
    pub here: String,
}

/// The first target of the manifest that the interpreter fits.
pub fn choose_target<'m>(manifest: &'m Manifest, interpreter: &Interpreter) -> Result<&'m Target, NoTarget> {
    let platform = platform(interpreter);
    let fits = |target: &&Target| {
        interpreter.implementation == "cpython"
            && target.python == interpreter.minor_version()
            && target.abi == interpreter.abi
            && platform.fits(&target.platform)
    };
    manifest.targets.iter().find(fits).ok_or_else(|| NoTarget {
        wanted: manifest
            .targets
            .iter()
            .map(|target| {
                format!("Python {} ({}) on {}", target.python, target.abi, any_system(&target.platform))
            })
            .collect(),
        here: format!(
            "{} {} ({}) on {platform}",
            if interpreter.implementation == "cpython" { "Python" } else { &interpreter.implementation },
            interpreter.minor_version(),
            interpreter.abi
        ),
    })
}

fn any_system(platform: &str) -> &str {
    if platform == "any" { "any system" } else { platform }
}

fn platform(interpreter: &Interpreter) -> Platform {
    let [major, minor] = interpreter.libc.version;
    let libc =
        if interpreter.libc.name == "musl" { Libc::Musl(major, minor) } else { Libc::Glibc(major, minor) };
    Platform::Linux { machine: interpreter.machine.clone(), libc }
}
