//! Compares this machine with the needs of the artifact: the CPU of the target's system, and for the wheels'
//! ELF files the C library and libraries that the loader finds.
//!
//! The audit at build compared the needs with the target. A machine may have less than the target, and an
//! allowed finding needs more than the target has.

use std::collections::BTreeSet;

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::loader::Loader;
use wheelbarrow_artifact::manifest::{Manifest, Target, Wheel};
use wheelbarrow_platform::Libc;
use wheelbarrow_wheel::order::Inserted;

use crate::InstallError;
use crate::cpu::cpu_error;

/// What the machine lacks: the CPU and the C library first.
pub(crate) fn needs_errors(
    manifest: &Manifest,
    target: &Target,
    interpreter: &Interpreter,
) -> Vec<InstallError> {
    let mut errors: Vec<_> = target.needs.cpu.and_then(cpu_error).into_iter().collect();
    let paths: BTreeSet<&str> = target.wheels.iter().map(String::as_str).inserted();
    let of_target = manifest.wheels.iter().filter(|wheel| paths.contains(wheel.path.as_str()));
    let wheels: Vec<&Wheel> = of_target.collect();
    errors.extend(glibc_error(manifest, target, &wheels, interpreter));
    if target.needs.libraries.is_empty() {
        return errors;
    }
    let loader = Loader::of(interpreter);
    let libraries: BTreeSet<&str> = target.needs.libraries.iter().map(String::as_str).inserted();
    let missing = libraries.into_iter().filter(|library| !loader.finds(library)).collect();
    for (library, names) in by_library(missing, &wheels) {
        let (library, wheels) = (library.to_owned(), or_interpreter(names, manifest));
        errors.push(InstallError::Library { library, wheels });
    }
    errors
}

fn glibc_error(
    manifest: &Manifest,
    target: &Target,
    wheels: &[&Wheel],
    interpreter: &Interpreter,
) -> Option<InstallError> {
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
    let names = wheels.iter().filter(|wheel| too_old(wheel.needs.glibc_version()));
    Some(InstallError::Glibc {
        needed: target.needs.glibc.clone().unwrap_or_default(),
        here: libc.to_string(),
        wheels: or_interpreter(names.map(|wheel| filename(wheel).to_owned()).collect(), manifest),
    })
}

/// The file names of the wheels that need each library; `libraries` are sorted. Each wheel is looked at once: an artifact can
/// name thousands of both.
fn by_library<'l>(libraries: Vec<&'l str>, wheels: &[&Wheel]) -> Vec<(&'l str, Vec<String>)> {
    let mut found: Vec<_> = libraries.into_iter().map(|library| (library, Vec::<String>::new())).collect();
    for wheel in wheels {
        for library in &wheel.needs.libraries {
            let place = found.binary_search_by(|(known, _)| (*known).cmp(library));
            let Some((_, names)) = place.ok().and_then(|place| found.get_mut(place)) else { continue };
            if names.last().is_none_or(|last| last != filename(wheel)) {
                names.push(filename(wheel).to_owned());
            }
        }
    }
    found
}

fn filename(wheel: &Wheel) -> &str {
    wheel.path.rsplit('/').next().unwrap_or_default()
}

/// What no wheel needs, the interpreter does.
fn or_interpreter(mut names: Vec<String>, manifest: &Manifest) -> Vec<String> {
    if let (true, Some(own)) = (names.is_empty(), &manifest.interpreter) {
        names.push(format!("the bundled Python {}", own.version));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_library_has_the_wheels_that_need_it() {
        let wheel = |name: &str, libraries: &[&str]| -> Wheel {
            serde_json::from_value(serde_json::json!({
                "path": format!("wheels/{name}.whl"), "name": name, "version": "1",
                "needs": { "libraries": libraries },
            }))
            .unwrap()
        };
        let wheels = [wheel("a", &["libb.so", "liba.so", "libb.so"]), wheel("b", &["libb.so", "libd.so"])];
        let found = by_library(vec!["liba.so", "libb.so", "libc.so"], &wheels.each_ref());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let expected = [
            ("liba.so", names(&["a.whl"])),
            ("libb.so", names(&["a.whl", "b.whl"])),
            ("libc.so", Vec::new()),
        ];
        assert_eq!(found, expected);
    }
}
