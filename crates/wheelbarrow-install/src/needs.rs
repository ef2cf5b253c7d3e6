//! Whether this machine has what the wheels' ELF files need: the C library, and libraries that the loader finds.
//!
//! The audit at build compared them with what the target promises; a machine may have less, and what was let pass by
//! hand is known to need more.

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::loader::Loader;
use wheelbarrow_artifact::manifest::{Manifest, Target, Wheel};

use crate::InstallError;

/// What the machine lacks, the C library first.
pub(crate) fn needs_errors(
    manifest: &Manifest,
    target: &Target,
    interpreter: &Interpreter,
) -> Vec<InstallError> {
    let mut errors: Vec<_> = glibc_error(manifest, target, interpreter).into_iter().collect();
    if target.needs.libraries.is_empty() {
        return errors;
    }
    let loader = Loader::of(interpreter);
    for library in target.needs.libraries.iter().filter(|library| !loader.finds(library)) {
        let needs = |wheel: &Wheel| wheel.needs.libraries.contains(library);
        errors.push(InstallError::Library {
            library: library.clone(),
            wheels: wheels(manifest, target, needs),
        });
    }
    errors
}

fn glibc_error(manifest: &Manifest, target: &Target, interpreter: &Interpreter) -> Option<InstallError> {
    let libc = &interpreter.libc;
    let too_old = |needed: Option<Vec<u32>>| {
        needed.is_some_and(|needed| libc.name != "glibc" || needed.as_slice() > libc.version.as_slice())
    };
    if !too_old(target.needs.glibc_version()) {
        return None;
    }
    Some(InstallError::Glibc {
        needed: target.needs.glibc.clone().unwrap_or_default(),
        here: format!("{} {}.{}", libc.name, libc.version[0], libc.version[1]),
        wheels: wheels(manifest, target, |wheel| too_old(wheel.needs.glibc_version())),
    })
}

/// File names of the target's wheels that `needs`.
fn wheels(manifest: &Manifest, target: &Target, needs: impl Fn(&Wheel) -> bool) -> Vec<String> {
    let of_target = manifest.wheels.iter().filter(|wheel| target.wheels.contains(&wheel.path));
    of_target
        .filter(|wheel| needs(wheel))
        .map(|wheel| wheel.path.rsplit('/').next().unwrap_or_default().to_owned())
        .collect()
}

/// Debian's packages of libraries that wheels ask for and small servers lack; Ubuntu has the same.
const PACKAGES: [(&str, &str); 16] = [
    ("libGL.so.1", "libgl1"),
    ("libICE.so.6", "libice6"),
    ("libSM.so.6", "libsm6"),
    ("libX11.so.6", "libx11-6"),
    ("libXext.so.6", "libxext6"),
    ("libXrender.so.1", "libxrender1"),
    ("libatomic.so.1", "libatomic1"),
    ("libexpat.so.1", "libexpat1"),
    ("libgcc_s.so.1", "libgcc-s1"),
    ("libglib-2.0.so.0", "libglib2.0-0"),
    ("libgobject-2.0.so.0", "libglib2.0-0"),
    ("libgthread-2.0.so.0", "libglib2.0-0"),
    ("libpq.so.5", "libpq5"),
    ("libssl.so.3", "libssl3"),
    ("libstdc++.so.6", "libstdc++6"),
    ("libz.so.1", "zlib1g"),
];

/// Where a library is to be had.
pub(crate) fn package_hint(library: &str) -> String {
    let red_hat = format!("`dnf install '{library}()(64bit)'` on Red Hat's systems");
    match PACKAGES.iter().find(|(known, _)| *known == library) {
        Some((_, package)) => format!("`apt install {package}` on Debian and Ubuntu, {red_hat}"),
        None => format!("`apt-file search {library}` on Debian and Ubuntu names its package, {red_hat}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_know_the_same_packages() {
        let modules = wheelbarrow_artifact::python::MODULES;
        let (_, source) = modules.iter().find(|(name, _)| *name == "needs.py").unwrap();
        let lines = source.lines().filter_map(|line| line.strip_prefix("    \"lib")?.strip_suffix("\","));
        let theirs: Vec<_> = lines.map(|line| format!("lib{}", line.replace("\": \"", " "))).collect();
        assert_eq!(theirs, PACKAGES.map(|(library, package)| format!("{library} {package}")));
    }
}
