//! Systems that servers run, by name: `debian-12`, `el8`, `alpine-3.20`. A named system replaces the platform
//! tag, and has facts that a tag does not have: the Pythons of the system, and the shared libraries in its
//! smallest image.
//!
//! The table has only certain facts: if a library is missing in the table, the audit reports it; a library
//! that is wrongly in the table breaks a server.

mod alias;
mod cpu;
mod libraries;
mod promised;
mod spec;
mod system;
mod systems;

use std::collections::BTreeSet;

use crate::platform::{Libc, Platform};

pub use cpu::Cpu;
pub use libraries::{is_of_glibc, is_of_libc, is_of_musl};
pub use promised::promised_compilers;
pub use spec::{PythonVersion, SpecError, TargetSpec};
pub use system::{CompilerSymbols, System};

/// The CPUs that a system can be named with; the first is the default.
pub const MACHINES: [&str; 2] = ["x86_64", "aarch64"];

impl System {
    /// All known systems, by family, the oldest first.
    pub fn all() -> &'static [Self] {
        &systems::SYSTEMS
    }

    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().iter().find(|system| system.name == name)
    }

    /// The system with this `ID` and `VERSION_ID` of os-release(5), compared up to the next dot: `8` is also
    /// the system of `8.10`.
    pub fn of_os_release(id: &str, version_id: &str) -> Option<&'static Self> {
        let is = |version: &str| version_id == version || version_id.starts_with(&format!("{version}."));
        Self::all()
            .iter()
            .find(|system| system.os_release.iter().any(|(name, version)| *name == id && is(version)))
    }

    /// The CPU level that the system's own packages need on such a machine; `None` if every machine has it.
    pub fn least_cpu(&self, machine: &str) -> Option<Cpu> {
        Some(self.cpu).filter(|cpu| machine == "x86_64" && *cpu > Cpu::V1)
    }

    pub fn platform(&self, machine: &str) -> Platform {
        Platform::Linux { machine: machine.to_owned(), libc: self.libc }
    }
}

/// The shared libraries, as in `DT_NEEDED`, that a wheel may need without containing them: those of the C
/// library, and those of the smallest image of `system`. If only a platform is known, they are the libraries
/// that [PEP 600](https://peps.python.org/pep-0600/) promises for every manylinux, X11 and GLib included; for
/// musllinux, PEP 656 promises only the C library.
pub fn base_libraries(platform: &Platform, system: Option<&System>) -> BTreeSet<String> {
    let own = libraries::of_libc(platform);
    let others: &[&[&str]] = match (system, platform.libc()) {
        (Some(system), _) => system.libraries,
        (None, Libc::Glibc(..)) => &[&promised::LIBRARIES],
        (None, Libc::Musl(..)) => &[],
    };
    own.into_iter().chain(others.iter().flat_map(|group| group.iter()).map(ToString::to_string)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_is_found_by_its_name_and_by_its_os_release() {
        for system in System::all() {
            assert_eq!(System::named(system.name), Some(system));
            for (id, version) in system.os_release {
                assert_eq!(System::of_os_release(id, version), Some(system));
            }
            assert!(!system.pythons.is_empty());
            let platform = system.platform("x86_64").to_string();
            assert!(platform.starts_with("manylinux_2_") || platform.starts_with("musllinux_1_"));
        }
        let name = |id, version| System::of_os_release(id, version).map(|system| system.name);
        assert_eq!(name("rocky", "8.10"), Some("el8"));
        assert_eq!(name("alpine", "3.20.3"), Some("alpine-3.20"));
        assert_eq!(name("alpine", "3.2"), None);
        assert_eq!(name("debian", ""), None);
    }

    #[test]
    fn a_named_system_has_what_it_really_has() {
        let has = |name: &str, machine, library: &str| {
            let system = System::named(name).unwrap();
            base_libraries(&system.platform(machine), Some(system)).contains(library)
        };
        assert!(has("debian-12", "x86_64", "ld-linux-x86-64.so.2"));
        assert!(has("debian-12", "aarch64", "ld-linux-aarch64.so.1"));
        assert!(has("debian-12", "x86_64", "libssl.so.3") && !has("debian-11", "x86_64", "libssl.so.3"));
        assert!(!has("debian-12", "x86_64", "libGL.so.1"), "promised by PEP 600, and on no server");
        assert!(has("alpine-3.20", "x86_64", "libc.musl-x86_64.so.1"));
        assert!(!has("alpine-3.20", "x86_64", "libstdc++.so.6"));

        let platform = Platform::parse("manylinux_2_28_x86_64").unwrap();
        let promised = base_libraries(&platform, None);
        assert!(promised.contains("libGL.so.1") && promised.contains("libc.so.6"));
        assert!(!promised.contains("libssl.so.3"));
    }
}
