//! The rules of `docs/audit.md`, each from facts to findings.

pub(crate) mod collisions;
pub(crate) mod elf;
pub(crate) mod python;
pub(crate) mod requirements;
pub(crate) mod wheel;

use rustc_hash::FxHashSet;

use crate::audit::Subject;

/// What the wheels bring for each other: the loader takes a library that is loaded already by its name, and packages
/// load theirs before they need them.
pub(crate) struct Carried<'a>(FxHashSet<&'a str>);

impl<'a> Carried<'a> {
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

/// `a.so`, `a.so and 2 more files`.
pub(crate) fn and_more(first: &str, count: usize) -> String {
    match count {
        0 | 1 => first.to_owned(),
        2 => format!("{first} and 1 more file"),
        count => format!("{first} and {} more files", count - 1),
    }
}
