//! Compares this machine with the needs of the artifact: the CPU of the target's system, and for the wheels'
//! ELF files the C library and libraries that the loader finds.
//!
//! The audit at build compared the needs with the target. A machine may have less than the target, and an
//! allowed finding needs more than the target has.

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::loader::Loader;
use wheelbarrow_artifact::manifest::{Manifest, Target, Wheel};
use wheelbarrow_platform::Libc;

use crate::InstallError;
use crate::cpu::cpu_error;

/// What the machine lacks: the CPU and the C library first.
pub(crate) fn needs_errors(
    manifest: &Manifest,
    target: &Target,
    interpreter: &Interpreter,
) -> Vec<InstallError> {
    let mut errors: Vec<_> = target.needs.cpu.and_then(cpu_error).into_iter().collect();
    errors.extend(glibc_error(manifest, target, interpreter));
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
    let libc = interpreter.libc;
    let too_old = |needed: Option<Vec<u32>>| {
        needed.is_some_and(|needed| match libc {
            Libc::Glibc(major, minor) => needed.as_slice() > &[major, minor],
            Libc::Musl(..) => true,
        })
    };
    if !too_old(target.needs.glibc_version()) {
        return None;
    }
    Some(InstallError::Glibc {
        needed: target.needs.glibc.clone().unwrap_or_default(),
        here: libc.to_string(),
        wheels: wheels(manifest, target, |wheel| too_old(wheel.needs.glibc_version())),
    })
}

/// File names of the target's wheels that `needs`.
fn wheels(manifest: &Manifest, target: &Target, needs: impl Fn(&Wheel) -> bool) -> Vec<String> {
    let of_target = manifest.wheels.iter().filter(|wheel| target.wheels.contains(&wheel.path));
    let mut names: Vec<_> = of_target
        .filter(|wheel| needs(wheel))
        .map(|wheel| wheel.path.rsplit('/').next().unwrap_or_default().to_owned())
        .collect();
    // What no wheel needs, the interpreter does.
    if let (true, Some(own)) = (names.is_empty(), &manifest.interpreter) {
        names.push(format!("the bundled Python {}", own.version));
    }
    names
}
