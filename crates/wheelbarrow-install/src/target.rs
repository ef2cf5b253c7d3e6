//! Chooses the target of an artifact for the running interpreter, and its members to install.

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{self, Manifest, Target};
use wheelbarrow_platform::{Libc, Platform};

use crate::options::Pip;

/// The artifact is not for this interpreter.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is for {}; this is {here}", wanted.join(" or "))]
pub struct NoTarget {
    pub wanted: Vec<String>,
    pub here: String,
    /// Of what the artifact is for first, `3.12`.
    pub first_python: String,
    /// Whether it is for this Python, and only the system is another.
    pub is_for_python: bool,
    /// Whether the Python is the artifact's own.
    pub is_bundled: bool,
}

wheelbarrow_base::debug_error!(NoTarget);

/// Of the targets that the interpreter fits, the one whose platform is the best tag that it takes: wheels for a newer C
/// library come before those for an older one, and these before what runs anywhere. Among equals the first.
pub fn choose_target<'m>(manifest: &'m Manifest, interpreter: &Interpreter) -> Result<&'m Target, NoTarget> {
    let platform = platform(interpreter);
    let fits = |target: &&Target| {
        interpreter.implementation == "cpython"
            && target.python == interpreter.minor_version()
            && target.abi == interpreter.abi
            && platform.fits(&target.platform)
    };
    let is_for_python =
        |target: &Target| target.python == interpreter.minor_version() && target.abi == interpreter.abi;
    let libc = |target: &&Target| target.platform.platform().map(|platform| platform.libc());
    // Of several with the highest, max_by_key takes the last.
    let best = manifest.targets.iter().rev().filter(fits).max_by_key(libc);
    best.ok_or_else(|| NoTarget {
        wanted: manifest
            .targets
            .iter()
            .map(|target| {
                format!("Python {} ({}) on {}", target.python, target.abi, any_system(&target.platform))
            })
            .collect(),
        here: format!(
            "{} {} ({}) on {}",
            if interpreter.implementation == "cpython" { "Python" } else { &interpreter.implementation },
            interpreter.minor_version(),
            interpreter.abi,
            match interpreter.libc {
                unknown @ Libc::UNKNOWN => format!("{} with {unknown}", interpreter.machine),
                _ => platform.to_string(),
            }
        ),
        first_python: manifest.targets.first().map(|target| target.python.to_string()).unwrap_or_default(),
        is_for_python: manifest.targets.iter().any(is_for_python),
        is_bundled: manifest.interpreter.as_ref().is_some_and(|own| own.machine == interpreter.machine),
    })
}

/// The wheels that are installed for a target, in order. A site that depends on pip brings its own.
pub(crate) fn wheel_paths<'m>(manifest: &Manifest, target: &'m Target, pip: Pip) -> Vec<&'m str> {
    let by_path = manifest.wheels_by_path();
    let has_own = target.wheels.iter().any(|path| by_path[path.as_str()].name == "pip");
    let pip = (pip == Pip::With && !has_own).then_some(&target.pip);
    target.wheels.iter().chain(pip).map(String::as_str).collect()
}

/// What bytecode of a target the interpreter can use.
pub(crate) fn usable_bytecode<'m>(
    target: &'m Target,
    interpreter: &Interpreter,
) -> Option<&'m manifest::Bytecode> {
    target
        .bytecode
        .as_ref()
        .filter(|bytecode| bytecode.magic == interpreter.magic && bytecode.cache_tag == interpreter.cache_tag)
}

fn any_system(platform: &str) -> &str {
    if platform == "any" { "any system" } else { platform }
}

fn platform(interpreter: &Interpreter) -> Platform {
    Platform::Linux { machine: interpreter.machine.clone(), libc: interpreter.libc }
}

#[cfg(test)]
mod tests {
    use wheelbarrow_artifact::manifest::{Project, Sha256, Unpacked};

    use super::*;

    fn manifest(targets: &[(&str, &str)]) -> Manifest {
        let target = |(number, (python, platform)): (usize, &(&str, &str))| Target {
            python: python.parse().unwrap(),
            abi: format!("cp{}", python.replace('.', "")).parse().unwrap(),
            platform: platform.parse().unwrap(),
            wheels: Vec::new(),
            pip: number.to_string(),
            bytecode: None,
            unpacked: Unpacked::default(),
            needs: Default::default(),
            collisions: Vec::new(),
        };
        Manifest {
            targets: targets.iter().enumerate().map(target).collect(),
            ..Manifest::of_project(
                "site",
                "a test",
                Project {
                    directory: "site".to_owned(),
                    import_path: "site".to_owned(),
                    static_root: None,
                    digest: Sha256::of(b""),
                },
            )
        }
    }

    fn interpreter(libc: Libc) -> Interpreter {
        Interpreter {
            executable: "/usr/bin/python3".into(),
            version: [3, 11, 2],
            implementation: "cpython".to_owned(),
            cache_tag: "cpython-311".to_owned(),
            magic: String::new(),
            abi: "cp311".parse().unwrap(),
            machine: "x86_64".to_owned(),
            libc,
            site_packages: String::new(),
            headers: String::new(),
            environment: Default::default(),
            virtualenv: None,
        }
    }

    #[test]
    fn the_best_tag_comes_first_whatever_the_order() {
        let manifest = manifest(&[
            ("3.11", "any"),
            ("3.11", "manylinux_2_17_x86_64"),
            ("3.12", "manylinux_2_17_x86_64"),
            ("3.11", "manylinux_2_36_x86_64"),
            ("3.11", "manylinux_2_36_x86_64"),
            ("3.11", "manylinux_2_5_x86_64"),
            ("3.11", "musllinux_1_2_x86_64"),
            ("3.11", "manylinux_2_17_aarch64"),
        ]);
        let chosen =
            |libc| choose_target(&manifest, &interpreter(libc)).map(|target| target.pip.clone()).unwrap();
        assert_eq!(chosen(Libc::Glibc(2, 41)), "3", "of two equals the first");
        assert_eq!(chosen(Libc::Glibc(2, 28)), "1");
        assert_eq!(chosen(Libc::Glibc(2, 4)), "0");
        assert_eq!(chosen(Libc::Musl(1, 2)), "6");
        assert_eq!(chosen(Libc::Musl(1, 1)), "0");
    }
}
