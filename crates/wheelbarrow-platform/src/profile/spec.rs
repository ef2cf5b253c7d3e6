//! The text of `--target`:
//!
//! ```text
//! SYSTEM[/MACHINE][:PYTHON]     debian-12   el8:3.11   ubuntu-24.04/aarch64   alpine-3.20/x86_64:3.12
//! PYTHON@PLATFORM               3.11@manylinux_2_28_x86_64   3.12@musllinux_1_2_aarch64   3.13t@manylinux2014_x86_64
//! ```

use std::fmt;
use std::str::FromStr;

use super::{MACHINES, System, alias, base_libraries};
use crate::facts::{AbiTag, MinorVersion};
use crate::platform::Platform;

/// CPython's minor version, and whether it is free-threaded (PEP 703).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PythonVersion {
    pub minor: u32,
    pub free_threaded: bool,
}

/// What an artifact must run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    pub python: PythonVersion,
    /// Whether the text names that Python; else it is the system's own.
    pub names_python: bool,
    pub platform: Platform,
    /// The system, if the text names one.
    pub system: Option<&'static System>,
}

/// An invalid `--target`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("invalid target `{text}`: `{python}` is not a Python version such as 3.12")]
    Python { text: String, python: String },
    #[error(
        "invalid target `{text}`: `{platform}` is not a platform tag such as manylinux_2_28_x86_64 or musllinux_1_2_aarch64"
    )]
    Platform { text: String, platform: String },
    #[error("invalid target `{text}`: the machine is x86_64 or aarch64, not `{machine}`")]
    Machine { text: String, machine: String },
    #[error("invalid target `{text}`: unknown system `{name}`")]
    System { text: String, name: String },
}

impl PythonVersion {
    /// `3.12`, `3.13t`.
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, free_threaded) = match text.strip_suffix('t') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let minor = digits.strip_prefix("3.")?;
        let minor = minor.bytes().all(|byte| byte.is_ascii_digit()).then(|| minor.parse().ok())??;
        Some(Self { minor, free_threaded })
    }

    /// Major and minor version, as in markers: `3.13`.
    pub fn version(self) -> MinorVersion {
        MinorVersion::new(3, self.minor)
    }

    /// The ABI tag: `cp312`, `cp37m`, `cp313t`.
    pub fn abi(self) -> AbiTag {
        let suffix = match self.minor {
            _ if self.free_threaded => "t",
            ..8 => "m",
            _ => "",
        };
        AbiTag::new(self.minor, suffix)
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "3.{}{}", self.minor, if self.free_threaded { "t" } else { "" })
    }
}

impl TargetSpec {
    /// The target that describes an interpreter: by its system, if that is known and has this C library, else
    /// by its platform.
    pub fn describe(python: PythonVersion, platform: Platform, system: Option<&'static System>) -> Self {
        let is_known =
            |system: &&System| system.libc == platform.libc() && MACHINES.contains(&platform.machine());
        Self { python, names_python: true, system: system.filter(is_known), platform }
    }

    /// Shared libraries of the smallest image, as in `DT_NEEDED`.
    pub fn libraries(&self) -> std::collections::BTreeSet<String> {
        base_libraries(&self.platform, self.system)
    }

    fn of_system(text: &str) -> Result<Self, SpecError> {
        let owned = || text.to_owned();
        let (place, python) = match text.split_once(':') {
            Some((place, python)) => (place, Some(python)),
            None => (text, None),
        };
        let (name, machine) = place.split_once('/').unwrap_or((place, MACHINES[0]));
        let system =
            System::named(name).ok_or_else(|| SpecError::System { text: owned(), name: name.to_owned() })?;
        if !MACHINES.contains(&machine) {
            return Err(SpecError::Machine { text: owned(), machine: machine.to_owned() });
        }
        let names_python = python.is_some();
        let python = match python {
            None => PythonVersion { minor: system.pythons[0], free_threaded: false },
            Some(python) => PythonVersion::parse(python)
                .ok_or_else(|| SpecError::Python { text: owned(), python: python.to_owned() })?,
        };
        Ok(Self { python, names_python, platform: system.platform(machine), system: Some(system) })
    }
}

impl FromStr for TargetSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let Some((version, tag)) = text.split_once('@') else { return Self::of_system(text) };
        let python = PythonVersion::parse(version)
            .ok_or_else(|| SpecError::Python { text: text.to_owned(), python: version.to_owned() })?;
        let platform = Platform::parse(tag)
            .ok_or_else(|| SpecError::Platform { text: text.to_owned(), platform: tag.to_owned() })?;
        Ok(Self { python, names_python: true, platform, system: None })
    }
}

/// The full form, which `--target` accepts.
impl fmt::Display for TargetSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(system) = self.system else { return write!(formatter, "{}@{}", self.python, self.platform) };
        formatter.write_str(system.name)?;
        if self.platform.machine() != MACHINES[0] {
            write!(formatter, "/{}", self.platform.machine())?;
        }
        write!(formatter, ":{}", self.python)
    }
}

impl SpecError {
    pub fn hint(&self) -> String {
        match self {
            Self::System { text, name } => {
                if let Some(meant) = suggestion(text, name) {
                    return format!("did you mean `{meant}`? `wheelbarrow targets` lists all systems");
                }
                let names: Vec<_> = System::all().iter().map(|system| system.name).collect();
                format!("`wheelbarrow targets` lists them: {}", names.join(", "))
            }
            _ => "a target is SYSTEM[/MACHINE][:PYTHON], as debian-12 or el8/aarch64:3.11, or PYTHON@PLATFORM, as \
                3.11@manylinux_2_28_x86_64"
                .to_owned(),
        }
    }
}

/// A known target, to propose for an unknown system.
fn suggestion(text: &str, name: &str) -> Option<String> {
    if Platform::parse(name).is_some() {
        return Some(format!("3.12@{name}"));
    }
    match alias::meant(name) {
        Some(system) => Some(text.replacen(name, system.name, 1)),
        // As images of containers are named: `debian:12`.
        None => alias::meant(text).map(|system| system.name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_name_their_abi() {
        for (text, abi) in [("3.6", "cp36m"), ("3.8", "cp38"), ("3.12", "cp312"), ("3.13t", "cp313t")] {
            assert_eq!(PythonVersion::parse(text).unwrap().abi(), abi);
        }
        for bad in ["2.7", "3", "3.x", "3.", "312", "python3.12", "3.+1"] {
            assert!(PythonVersion::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn targets_are_read_and_written() {
        for (text, full) in [
            ("debian-12", "debian-12:3.11"),
            ("debian-12:3.12", "debian-12:3.12"),
            ("el8/aarch64", "el8/aarch64:3.6"),
            ("el8/x86_64:3.11", "el8:3.11"),
            ("alpine-3.20", "alpine-3.20:3.12"),
            ("3.11@manylinux_2_28_x86_64", "3.11@manylinux_2_28_x86_64"),
            ("3.13t@manylinux2014_aarch64", "3.13t@manylinux_2_17_aarch64"),
            ("3.12@musllinux_1_2_aarch64", "3.12@musllinux_1_2_aarch64"),
        ] {
            let spec: TargetSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), full);
            assert_eq!(spec.names_python, text.contains([':', '@']), "{text}");
            let again: TargetSpec = full.parse().unwrap();
            let again = TargetSpec { names_python: spec.names_python, ..again };
            assert_eq!(again, spec, "{full} is the same target");
        }
        let el8: TargetSpec = "el8/aarch64:3.7".parse().unwrap();
        assert_eq!(
            (el8.python.abi().as_str(), el8.platform.to_string().as_str()),
            ("cp37m", "manylinux_2_28_aarch64")
        );
    }

    #[test]
    fn a_refusal_names_the_part_that_is_wrong() {
        let message = |text: &str| {
            let error = text.parse::<TargetSpec>().unwrap_err();
            format!("{error}\n{}", error.hint())
        };
        insta::assert_snapshot!(message("debian-9"), @r"
        invalid target `debian-9`: unknown system `debian-9`
        `wheelbarrow targets` lists them: el7, el8, el9, el10, amazon-2, amazon-2023, sles-15, sles-15.6, sles-16, debian-11, debian-12, debian-13, debian-14, ubuntu-20.04, ubuntu-22.04, ubuntu-24.04, ubuntu-26.04, alpine-3.18, alpine-3.19, alpine-3.20, alpine-3.21, alpine-3.22, alpine-3.23, alpine-3.24
        ");
        for (text, meant) in [
            ("rhel8", "el8"),
            ("rocky9/aarch64:3.11", "el9/aarch64:3.11"),
            ("debain-12", "debian-12"),
            ("debian:12", "debian-12"),
            ("manylinux_2_28_x86_64", "3.12@manylinux_2_28_x86_64"),
        ] {
            let hint = format!("did you mean `{meant}`? `wheelbarrow targets` lists all systems");
            assert_eq!(text.parse::<TargetSpec>().unwrap_err().hint(), hint);
        }
        insta::assert_snapshot!(message("el8/sparc").lines().next().unwrap(), @"invalid target `el8/sparc`: the machine is x86_64 or aarch64, not `sparc`");
        insta::assert_snapshot!(message("el8:2.7").lines().next().unwrap(), @"invalid target `el8:2.7`: `2.7` is not a Python version such as 3.12");
        insta::assert_snapshot!(message("3.11@linux_x86_64"), @r"
        invalid target `3.11@linux_x86_64`: `linux_x86_64` is not a platform tag such as manylinux_2_28_x86_64 or musllinux_1_2_aarch64
        a target is SYSTEM[/MACHINE][:PYTHON], as debian-12 or el8/aarch64:3.11, or PYTHON@PLATFORM, as 3.11@manylinux_2_28_x86_64
        ");
    }
}
