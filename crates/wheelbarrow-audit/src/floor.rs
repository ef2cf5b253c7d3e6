//! The baseline of a target: what wheels are checked against.

use std::collections::BTreeSet;

use pep440_rs::Version;
use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder};
use wheelbarrow_platform::{
    CompatibleTags, CompilerSymbols, Cpu, Libc, Platform, PythonVersion, Tag, TargetSpec, base_libraries,
    promised_compilers, python_symbols, required_platform,
};
use wheelbarrow_wheel::WheelFilename;

/// One system that wheels are to run on.
#[derive(Clone, Debug, Hash)]
pub struct Floor {
    /// For people: `Python 3.12 on manylinux_2_28_x86_64`, or the name of a profile.
    pub name: String,
    /// Major and minor.
    pub python: (u32, u32),
    /// `cp312`.
    pub abi: String,
    /// Nothing where it may be any: then nothing that depends on it is judged.
    pub platform: Option<Platform>,
    /// Names of the shared libraries that its base system has.
    pub libraries: BTreeSet<String>,
    /// Libraries that the loader of this machine finds beside them, where the target is this machine.
    pub here: BTreeSet<String>,
    /// The highest symbol versions of libstdc++ and libgcc; nothing where it promises neither.
    pub compilers: Option<CompilerSymbols>,
    /// What its CPUs have, where its system's own packages need more than any x86_64 CPU has.
    pub cpu: Option<Cpu>,
}

/// Wheels that no system takes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no Python and no system fit all of these wheels")]
pub struct NoFloor;

impl Floor {
    /// With the libraries that the platform's tag promises.
    pub fn new(python: (u32, u32), abi: &str, platform: Option<Platform>) -> Self {
        let libraries = platform.as_ref().map(|platform| base_libraries(platform, None)).unwrap_or_default();
        let system = platform.as_ref().map_or_else(|| "any system".to_owned(), ToString::to_string);
        let name = format!("Python {}.{} on {system}", python.0, python.1);
        let compilers = platform.as_ref().and_then(|platform| promised_compilers(platform.libc()));
        let (abi, here) = (abi.to_owned(), BTreeSet::new());
        Self { name, python, abi, platform, libraries, here, compilers, cpu: None }
    }

    /// The narrowest system that the names of all `wheels` promise to run on: the highest Python that one of them asks
    /// for, and the oldest system that fits them all.
    pub fn promised(wheels: &[&WheelFilename]) -> Result<Self, NoFloor> {
        let minor = wheels
            .iter()
            .map(|wheel| least_python(wheel))
            .max()
            .flatten()
            .unwrap_or_else(python_symbols::newest);
        let tags = || wheels.iter().flat_map(|wheel| &wheel.tags);
        let free_threaded = tags().all(|tag| tag.abi.ends_with('t'));
        let abi = PythonVersion { minor, free_threaded }.abi();
        let machine = tags().find_map(|tag| Some(Platform::parse(&tag.platform)?.machine().to_owned()));
        let Some(machine) = machine else { return Ok(Self::new((3, minor), &abi, None)) };
        for libc in [Libc::Glibc(2, 99), Libc::Musl(1, 9)] {
            let system = Platform::Linux { machine: machine.clone(), libc };
            let tags = CompatibleTags::new((3, minor), &abi, &system);
            let wheels = wheels.iter().map(|wheel| wheel.tags.as_slice());
            if let Some(platform) = required_platform(wheels, &tags, libc) {
                return Ok(Self::new((3, minor), &abi, Platform::parse(&platform)));
            }
        }
        Err(NoFloor)
    }

    pub fn tags(&self) -> Option<CompatibleTags> {
        Some(CompatibleTags::new(self.python, &self.abi, self.platform.as_ref()?))
    }

    pub fn machine(&self) -> Option<&str> {
        self.platform.as_ref().map(Platform::machine)
    }

    pub fn libc(&self) -> Option<Libc> {
        self.platform.as_ref().map(Platform::libc)
    }

    /// The first and the last version of this Python that may be there; markers and specifiers may differ between them.
    pub(crate) fn versions(&self) -> [Version; 2] {
        let (major, minor) = self.python;
        [0, 99].map(|micro| Version::new([u64::from(major), u64::from(minor), micro]))
    }

    /// For the markers of both [`Floor::versions`].
    pub(crate) fn markers(&self) -> [MarkerEnvironment; 2] {
        let machine = self.platform.as_ref().map_or("x86_64", |platform| platform.machine());
        let python = format!("{}.{}", self.python.0, self.python.1);
        self.versions().map(|version| {
            let full = version.to_string();
            MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
                implementation_name: "cpython",
                implementation_version: &full,
                os_name: "posix",
                platform_machine: machine,
                platform_python_implementation: "CPython",
                platform_release: "",
                platform_system: "Linux",
                platform_version: "",
                python_full_version: &full,
                python_version: &python,
                sys_platform: "linux",
            })
            .expect("versions made of numbers are versions")
        })
    }
}

impl From<&TargetSpec> for Floor {
    fn from(spec: &TargetSpec) -> Self {
        let TargetSpec { python, platform, system, .. } = spec;
        let floor = Self::new((3, python.minor), &python.abi(), Some(platform.clone()));
        let compilers = system.map_or(floor.compilers, |system| system.compilers);
        let cpu = system.and_then(|system| system.least_cpu(platform.machine()));
        Self { name: spec.to_string(), libraries: spec.libraries(), compilers, cpu, ..floor }
    }
}

/// The lowest minor version of Python 3 that one of the wheel's tags takes; nothing where any will do.
fn least_python(wheel: &WheelFilename) -> Option<u32> {
    let minor = |tag: &Tag| {
        let digits = tag.python.strip_prefix("cp3").or_else(|| tag.python.strip_prefix("py3"))?;
        digits.parse::<u32>().ok()
    };
    wheel.tags.iter().filter_map(minor).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promised(filenames: &[&str]) -> String {
        let wheels: Vec<_> =
            filenames.iter().map(|filename| WheelFilename::parse(filename).unwrap()).collect();
        Floor::promised(&wheels.iter().collect::<Vec<_>>())
            .map_or_else(|error| error.to_string(), |floor| floor.name)
    }

    #[test]
    fn names_of_wheels_promise_a_system() {
        let pure = "a-1-py3-none-any.whl";
        assert_eq!(promised(&[pure]), "Python 3.15 on any system");
        let compiled = "b-1-cp311-cp311-manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl";
        assert_eq!(promised(&[pure, compiled]), "Python 3.11 on manylinux_2_17_x86_64");
        let stable = "c-1-cp37-abi3-manylinux_2_34_x86_64.whl";
        assert_eq!(promised(&[compiled, stable]), "Python 3.11 on manylinux_2_34_x86_64");
        assert_eq!(promised(&[stable]), "Python 3.7 on manylinux_2_34_x86_64");
        assert_eq!(
            promised(&["d-1-cp313-cp313t-musllinux_1_2_aarch64.whl"]),
            "Python 3.13 on musllinux_1_2_aarch64"
        );
        let other = "e-1-cp312-cp312-manylinux_2_17_x86_64.whl";
        assert_eq!(promised(&[compiled, other]), "no Python and no system fit all of these wheels");
    }

    #[test]
    fn a_named_system_has_its_own_libraries() {
        let floor = Floor::from(&"debian-12:3.11".parse().unwrap());
        assert!(floor.libraries.contains("libssl.so.3") && !floor.libraries.contains("libGL.so.1"));
        assert_eq!((floor.name.as_str(), floor.libc()), ("debian-12:3.11", Some(Libc::Glibc(2, 36))));
    }
}
