//! Platforms of servers, and the platform tags that their interpreters accept.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The platform of an interpreter. Only Linux is supported.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Platform {
    Linux {
        /// As in tags: `x86_64`, `aarch64`, `i686`.
        machine: String,
        libc: Libc,
    },
}

/// The C library with its major and minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Facts", into = "Facts")]
pub enum Libc {
    Glibc(u32, u32),
    Musl(u32, u32),
}

/// The form in which an interpreter reports it: `{"name": "glibc", "version": [2, 36]}`.
#[derive(Serialize, Deserialize)]
struct Facts {
    name: Cow<'static, str>,
    version: [u32; 2],
}

impl Libc {
    /// For a system without glibc and musl, or with an unknown C library: older than every glibc that is
    /// needed.
    pub const UNKNOWN: Self = Self::Glibc(0, 0);
}

impl TryFrom<Facts> for Libc {
    type Error = String;

    fn try_from(Facts { name, version: [major, minor] }: Facts) -> Result<Self, String> {
        match &*name {
            "glibc" => Ok(Self::Glibc(major, minor)),
            "musl" => Ok(Self::Musl(major, minor)),
            "unknown" => Ok(Self::UNKNOWN),
            other => Err(format!("`{other}` is no C library that is known")),
        }
    }
}

impl From<Libc> for Facts {
    fn from(libc: Libc) -> Self {
        let (name, major, minor) = match libc {
            Libc::UNKNOWN => ("unknown", 0, 0),
            Libc::Glibc(major, minor) => ("glibc", major, minor),
            Libc::Musl(major, minor) => ("musl", major, minor),
        };
        Self { name: name.into(), version: [major, minor] }
    }
}

/// The names from before PEP 600, with the glibc of each.
const LEGACY: [(&str, (u32, u32)); 3] =
    [("manylinux2014", (2, 17)), ("manylinux2010", (2, 12)), ("manylinux1", (2, 5))];

/// Machines for which manylinux tags exist (PEP 600); others only have `linux_MACHINE`.
const MANYLINUX_MACHINES: [&str; 10] =
    ["x86_64", "i686", "aarch64", "armv7l", "armv8l", "ppc64", "ppc64le", "s390x", "loongarch64", "riscv64"];

impl Platform {
    /// From `manylinux_2_28_x86_64`, `manylinux2014_x86_64` or `musllinux_1_2_aarch64`. `any` and `linux_x86_64` name no
    /// C library and give `None`.
    pub fn parse(tag: &str) -> Option<Self> {
        let (machine, libc) = Self::versioned(tag)?;
        Some(Self::Linux { machine: machine.to_owned(), libc })
    }

    fn versioned(tag: &str) -> Option<(&str, Libc)> {
        for (legacy, (major, minor)) in LEGACY {
            if let Some(machine) = tag.strip_prefix(legacy).and_then(|rest| rest.strip_prefix('_')) {
                return is_machine(machine).then_some((machine, Libc::Glibc(major, minor)));
            }
        }
        let (libc, rest) = tag.split_once('_')?;
        let (major, rest) = rest.split_once('_')?;
        let (minor, machine) = rest.split_once('_')?;
        let (major, minor) = (number(major)?, number(minor)?);
        match libc {
            _ if !is_machine(machine) => None,
            "manylinux" => Some((machine, Libc::Glibc(major, minor))),
            "musllinux" => Some((machine, Libc::Musl(major, minor))),
            _ => None,
        }
    }

    /// The C library and its version.
    pub fn libc(&self) -> Libc {
        let Self::Linux { libc, .. } = self;
        *libc
    }

    /// The machine, as in tags.
    pub fn machine(&self) -> &str {
        let Self::Linux { machine, .. } = self;
        machine
    }

    /// Whether wheels that need `required` (`any` or a tag that [`Platform::parse`] accepts) run here.
    pub fn fits(&self, required: &str) -> bool {
        let Some((machine, libc)) = Self::versioned(required) else { return required == "any" };
        machines(self.machine()).contains(&machine)
            && match (self.libc(), libc) {
                (Libc::Glibc(major, minor), Libc::Glibc(..)) => Libc::Glibc(major, minor) >= libc,
                // musl promises nothing across major versions (PEP 656).
                (Libc::Musl(major, minor), Libc::Musl(wanted, at_least)) => {
                    major == wanted && minor >= at_least
                }
                _ => false,
            }
    }

    /// The platform tags that `packaging.tags.platform_tags()` gives here, best first.
    pub(crate) fn tags(&self) -> Vec<String> {
        let Self::Linux { machine, libc } = self;
        let machines = machines(machine);
        let mut tags: Vec<String> = machines.iter().map(|machine| format!("linux_{machine}")).collect();
        for machine in &machines {
            match *libc {
                Libc::Glibc(major, minor) if MANYLINUX_MACHINES.contains(machine) => {
                    manylinux(machine, (major, minor), &mut tags);
                }
                Libc::Glibc(..) => {}
                Libc::Musl(major, minor) => {
                    tags.extend(
                        (0..=minor).rev().map(|minor| format!("musllinux_{major}_{minor}_{machine}")),
                    );
                }
            }
        }
        tags
    }
}

/// The CPUs whose code runs on this one, its own first. A 32-bit interpreter is reported as such by
/// `machine`.
fn machines(machine: &str) -> Vec<&str> {
    match machine {
        "armv8l" => vec!["armv8l", "armv7l"],
        _ => vec![machine],
    }
}

/// PEP 600: every version from this one down to the first that the CPU ever had, with the old names between.
fn manylinux(machine: &str, (major, minor): (u32, u32), tags: &mut Vec<String>) {
    let oldest = if matches!(machine, "x86_64" | "i686") { 5 } else { 17 };
    let first = if major == 2 { oldest } else { 0 };
    for minor in (first..=minor).rev() {
        tags.push(format!("manylinux_{major}_{minor}_{machine}"));
        let legacy = LEGACY.iter().find(|(_, version)| *version == (major, minor));
        tags.extend(legacy.map(|(legacy, _)| format!("{legacy}_{machine}")));
    }
}

/// As in tags: `x86_64`.
fn is_machine(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// At most nine digits, without the `+` that `parse` would accept.
fn number(text: &str) -> Option<u32> {
    let are_digits = text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| text.parse().ok())?
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Linux { machine, libc } = self;
        match libc {
            Libc::Glibc(major, minor) => write!(formatter, "manylinux_{major}_{minor}_{machine}"),
            Libc::Musl(major, minor) => write!(formatter, "musllinux_{major}_{minor}_{machine}"),
        }
    }
}

impl fmt::Display for Libc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            &Self::UNKNOWN => formatter.write_str("an unknown C library"),
            Self::Glibc(major, minor) => write!(formatter, "glibc {major}.{minor}"),
            Self::Musl(major, minor) => write!(formatter, "musl {major}.{minor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(tag: &str) -> Platform {
        Platform::parse(tag).unwrap()
    }

    #[test]
    fn c_libraries_are_parsed_as_interpreters_print_them() {
        for (facts, libc) in [
            (("glibc", [2, 36]), Libc::Glibc(2, 36)),
            (("musl", [1, 2]), Libc::Musl(1, 2)),
            (("unknown", [0, 0]), Libc::UNKNOWN),
        ] {
            let (name, version) = facts;
            assert_eq!(Libc::try_from(Facts { name: name.into(), version }), Ok(libc));
            let told = Facts::from(libc);
            assert_eq!((&*told.name, told.version), facts);
        }
        assert!(Libc::try_from(Facts { name: "bionic".into(), version: [0, 0] }).is_err());
    }

    #[test]
    fn tags_are_read_and_written() {
        for tag in ["manylinux_2_28_x86_64", "musllinux_1_2_aarch64"] {
            assert_eq!(platform(tag).to_string(), tag);
        }
        assert_eq!(platform("manylinux2014_aarch64").to_string(), "manylinux_2_17_aarch64");
        for bad in [
            "any",
            "linux_x86_64",
            "manylinux_2_x86_64",
            "manylinux_2_+5_x86_64",
            "win_amd64",
            "manylinux_2_5_",
        ] {
            assert_eq!(Platform::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn newer_systems_run_what_older_ones_do() {
        let server = platform("manylinux_2_28_x86_64");
        for fit in ["any", "manylinux1_x86_64", "manylinux_2_28_x86_64"] {
            assert!(server.fits(fit), "{fit}");
        }
        for unfit in
            ["manylinux_2_29_x86_64", "manylinux_2_17_aarch64", "musllinux_1_1_x86_64", "linux_x86_64"]
        {
            assert!(!server.fits(unfit), "{unfit}");
        }
        assert!(platform("musllinux_1_2_x86_64").fits("musllinux_1_1_x86_64"));
        assert!(!platform("musllinux_2_0_x86_64").fits("musllinux_1_1_x86_64"));
        assert!(platform("manylinux_2_31_armv8l").fits("manylinux_2_17_armv7l"));
    }
}
