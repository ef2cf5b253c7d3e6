//! The needs of ELF files outside the artifact, for the manifest and for comparison on the server.

use rustc_hash::FxHashSet;
use wheelbarrow_artifact::manifest::Needs;
use wheelbarrow_platform::is_of_libc;

use crate::allow::Allowance;
use crate::elf::{ElfFile, Kind};
use crate::read::AuditedWheel;
use crate::subject::Subject;

/// What the wheels bring for each other: the loader takes a library that is loaded already by its name, and packages
/// load theirs before they need them.
pub(crate) struct ProvidedLibraries<'a>(FxHashSet<&'a str>);

impl<'a> ProvidedLibraries<'a> {
    pub(crate) fn of(subject: &Subject<'a>) -> Self {
        let files = subject.wheels.iter().flat_map(|wheel| &wheel.facts.elf);
        Self(
            files
                .flat_map(|file| {
                    let name = file.path.rsplit('/').next().unwrap_or_default();
                    file.facts.soname.as_deref().into_iter().chain([name])
                })
                .collect(),
        )
    }

    pub(crate) fn has(&self, library: &str) -> bool {
        self.0.contains(library)
    }
}

/// Of each wheel, in their order. A library that is allowed is one that the servers do without, so it is not looked for
/// there.
pub fn needs(subject: &Subject<'_>, allowances: &[Allowance]) -> Vec<Needs> {
    let carried = ProvidedLibraries::of(subject);
    subject.wheels.iter().map(|wheel| of_wheel(wheel, subject, &carried, allowances)).collect()
}

fn of_wheel(
    wheel: &AuditedWheel<'_>,
    subject: &Subject<'_>,
    carried: &ProvidedLibraries<'_>,
    allowances: &[Allowance],
) -> Needs {
    let mut needs = Needs::default();
    for file in of_target(wheel, subject) {
        let Some(highest) = file.facts.versions_of("GLIBC").pop() else { continue };
        needs.add(&Needs { glibc: Some(text(&highest)), ..Needs::default() });
    }
    let distribution = &wheel.open.filename().name;
    let libraries = of_target(wheel, subject).flat_map(|file| &file.facts.needed).filter(|library| {
        !is_of_libc(library)
            && !carried.has(library)
            && !library.starts_with("libpython")
            && !allowances.iter().any(|allowance| allowance.allows_library(distribution, library))
    });
    needs.libraries.extend(libraries.cloned());
    needs.libraries.sort_unstable();
    needs.libraries.dedup();
    needs
}

/// The files that the target's loader would take.
pub(crate) fn of_target<'w>(
    wheel: &'w AuditedWheel<'_>,
    subject: &Subject<'_>,
) -> impl Iterator<Item = &'w ElfFile> {
    let machine = subject.floor.platform.as_ref().map(|platform| platform.machine().to_owned());
    wheel.facts.elf.iter().filter(move |file| {
        file.facts.kind != Kind::Other
            && machine.as_ref().is_none_or(|machine| *machine == file.facts.machine)
    })
}

/// `2.28`.
pub(crate) fn text(version: &[u32]) -> String {
    version.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}
