//! Targets: Python, CPU and C library; and the interpreter on this machine that represents one.

use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder};
use std::mem::discriminant;

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::loader::Loader;
use wheelbarrow_audit::Floor;
use wheelbarrow_platform::{
    AbiTag, CompatibleTags, Libc, MinorVersion, Platform, TargetSpec, base_libraries,
};

use crate::this_system::{os_release, system_of};

/// Whether this machine can be a target itself, and sources be built on it for others.
pub const HAS_TARGETS: bool = cfg!(target_os = "linux");

/// A target that was asked for by name, with what the settings say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRequest {
    pub spec: TargetSpec,
    /// Shared libraries that its servers have beside those of the system, as in `DT_NEEDED`.
    pub libraries: Vec<String>,
    /// Where sources are built for it.
    pub container: Option<ContainerRequest>,
}

/// A container to build in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRequest {
    pub image: String,
    /// Of the image's own package manager; installed before building.
    pub packages: Vec<String>,
}

/// One system that the artifact is for.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildTarget {
    /// CPython's minor version: `3.12`.
    pub python: MinorVersion,
    /// `cp312`, `cp37m`, `cp313t`.
    pub abi: AbiTag,
    /// Of this version, on this machine; absent where there is none. It compiles bytecode whatever the system.
    pub interpreter: Option<Interpreter>,
    /// `x86_64`, `aarch64`.
    pub machine: String,
    pub libc: Libc,
    /// Where the target was asked for by name; else it is this machine.
    pub spec: Option<TargetSpec>,
    pub libraries: Vec<String>,
    pub container: Option<ContainerRequest>,
}

impl BuildTarget {
    /// This machine, with that interpreter.
    pub fn of(interpreter: Interpreter) -> Self {
        Self {
            python: interpreter.minor_version(),
            abi: interpreter.abi.clone(),
            machine: interpreter.machine.clone(),
            libc: interpreter.libc,
            interpreter: Some(interpreter),
            spec: None,
            libraries: Vec::new(),
            container: None,
        }
    }

    /// A named system; `interpreter` has its version and is on this machine.
    pub fn named(request: &TargetRequest, interpreter: Option<Interpreter>) -> Self {
        let spec = &request.spec;
        Self {
            python: spec.python.version(),
            abi: spec.python.abi(),
            interpreter,
            machine: spec.platform.machine().to_owned(),
            libc: spec.platform.libc(),
            spec: Some(spec.clone()),
            libraries: request.libraries.clone(),
            container: request.container.clone(),
        }
    }

    /// Major and minor.
    pub fn version(&self) -> (u32, u32) {
        self.python.numbers()
    }

    /// The interpreter whose very version the site will run on: not one that merely has the same minor version as a named
    /// target, or what is built would depend on the building machine.
    pub fn own_interpreter(&self) -> Option<&Interpreter> {
        self.interpreter.as_ref().filter(|_| self.spec.is_none())
    }

    /// `3.12.1`; `.0` where only the minor version is known.
    pub fn full_version(&self) -> String {
        match self.own_interpreter() {
            Some(interpreter) => interpreter.version.map(|part| part.to_string()).join("."),
            None => format!("{}.0", self.python),
        }
    }

    pub fn platform(&self) -> Platform {
        Platform::Linux { machine: self.machine.clone(), libc: self.libc }
    }

    /// What its wheels are judged by.
    pub fn floor(&self) -> Floor {
        let mut floor = match &self.spec {
            Some(spec) => Floor::from(spec),
            None => self.own_floor(),
        };
        floor.libraries.extend(self.libraries.iter().cloned());
        floor
    }

    /// This machine's, with the libraries of its system where that is a known one.
    fn own_floor(&self) -> Floor {
        let platform = self.platform();
        let mut floor = Floor::new(self.version(), &self.abi, Some(platform.clone()));
        let system = system_of(&os_release()).filter(|system| system.libc == platform.libc());
        if let Some(system) = system {
            floor.libraries.extend(base_libraries(&platform, Some(system)));
            floor.compilers = system.compilers;
            floor.cpu = system.least_cpu(&self.machine);
        }
        if let (None, Some(interpreter)) = (&self.container, &self.interpreter) {
            floor.here = Loader::of(interpreter).names();
        }
        floor
    }

    /// What wheels it takes, best first.
    pub fn tags(&self) -> CompatibleTags {
        CompatibleTags::new(self.version(), &self.abi, &self.platform())
    }

    /// `debian-12:3.11`, or `Python 3.11` where it is this machine.
    pub fn describe(&self) -> String {
        match &self.spec {
            Some(spec) => spec.to_string(),
            None => format!("Python {}", self.python),
        }
    }

    /// Whether what is compiled on a machine with `interpreter` runs on this target: the same CPU, and the same C library
    /// in this version or an older one. Nothing that another system than Linux compiles does.
    pub fn takes_builds_of(&self, interpreter: &Interpreter) -> bool {
        HAS_TARGETS
            && interpreter.abi == self.abi
            && interpreter.machine == self.machine
            && discriminant(&interpreter.libc) == discriminant(&self.libc)
            && interpreter.libc <= self.libc
    }

    /// The environment that markers are evaluated in (PEP 508). `platform_release` and `platform_version` are of a
    /// kernel that is not known yet, and empty.
    pub fn markers(&self) -> MarkerEnvironment {
        let full = self.full_version();
        MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
            implementation_name: "cpython",
            implementation_version: &full,
            os_name: "posix",
            platform_machine: &self.machine,
            platform_python_implementation: "CPython",
            platform_release: "",
            platform_system: "Linux",
            platform_version: "",
            python_full_version: &full,
            python_version: &self.python,
            sys_platform: "linux",
        })
        .expect("versions made of numbers are versions")
    }
}
