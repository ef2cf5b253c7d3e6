//! The program for one target: linked statically for Linux, by zig for macOS.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;

use crate::children::{cargo, run as run_child, target_directory, workspace};
use crate::mac;

/// The time that `__DATE__` and `__TIME__` in C name, in seconds since 1970: the begin of 1980, as for the standalone binary.
const TIME_OF_C: (&str, &str) = ("SOURCE_DATE_EPOCH", "315532800");
/// For a compiler with the headers of glibc, as in `build.rs` of the program.
const PLAIN_C: &str = "-std=gnu11 -U_FORTIFY_SOURCE";

/// A CPU.
pub(super) struct Machine {
    /// As Rust, wheels and rpm call it.
    pub(super) name: &'static str,
    pub(super) debian: &'static str,
    /// As tags of wheels for macOS call it.
    pub(super) mac: &'static str,
    /// The oldest macOS that Rust's standard library runs on.
    oldest_mac: &'static str,
    /// Of C, on another machine.
    compiler: &'static str,
}

const MACHINES: [Machine; 2] = [
    Machine {
        name: "x86_64",
        debian: "amd64",
        mac: "x86_64",
        oldest_mac: "10.12",
        compiler: "x86_64-linux-gnu-gcc",
    },
    Machine {
        name: "aarch64",
        debian: "arm64",
        mac: "arm64",
        oldest_mac: "11.0",
        compiler: "aarch64-linux-gnu-gcc",
    },
];

/// What a program runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    /// Without the C library of the system: it was linked here.
    StaticLinux,
    Linux,
    /// From this version on: major, minor.
    MacOs(u32, u32),
}

pub(super) struct Program {
    /// The triple.
    pub(super) target: String,
    pub(super) bytes: Vec<u8>,
    pub(super) system: System,
    pub(super) machine: &'static Machine,
    pub(super) path: PathBuf,
}

impl Program {
    /// Compiles it.
    pub(super) fn build(target: &str) -> Result<Self> {
        if mac::TARGETS.contains(&target) {
            return Self::build_for_mac(target);
        }
        let machine = machine_of(target, "musl")?;
        let name = target.replace('-', "_");
        let compiler = if machine.name == std::env::consts::ARCH { "cc" } else { machine.compiler };
        let mut build = cargo();
        build.args(["build", "--quiet", "--release", "--package", "wheelbarrow", "--target", target]);
        build.env(format!("CC_{name}"), compiler).env(format!("CFLAGS_{name}"), PLAIN_C);
        build.env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), "rust-lld");
        build.env("CARGO_ENCODED_RUSTFLAGS", mapped_paths()?.join("\u{1f}"));
        build.env(TIME_OF_C.0, TIME_OF_C.1);
        run_child(build.current_dir(workspace()))?;
        let path = target_directory().join(target).join("release/wheelbarrow");
        let system = System::StaticLinux;
        Ok(Self { target: target.to_owned(), bytes: fs::read(&path)?, system, machine, path })
    }

    fn build_for_mac(target: &str) -> Result<Self> {
        let machine = MACHINES.iter().find(|machine| target.starts_with(machine.name));
        let machine = machine.context("a machine that is known")?;
        let mut build = mac::zigbuild()?;
        build.args(["zigbuild", "--quiet", "--release", "--package", "wheelbarrow", "--target", target]);
        let mut flags = mapped_paths()?;
        // Its UUID is a hash of all that is linked: without the symbols for debuggers, in which paths of this machine are.
        flags.push("-Clink-arg=-Wl,-S".to_owned());
        build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        build.env("MACOSX_DEPLOYMENT_TARGET", machine.oldest_mac).env(TIME_OF_C.0, TIME_OF_C.1);
        run_child(build.current_dir(workspace()))?;
        let path = target_directory().join(target).join("release/wheelbarrow");
        let bytes = fs::read(&path)?;
        if machine.mac == "arm64" {
            mac::check_signature(&bytes).with_context(|| format!("{}", path.display()))?;
        }
        let (major, minor) = mac::oldest_system(&bytes).with_context(|| format!("{}", path.display()))?;
        println!("not run here: {}, for macOS {major}.{minor} and later", path.display());
        Ok(Self { target: target.to_owned(), bytes, system: System::MacOs(major, minor), machine, path })
    }

    /// Takes one that is there. It may need the C library of this machine.
    pub(super) fn ready(path: &Path) -> Result<Self> {
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let machine = machine_of(&target, "gnu")?;
        let path = fs::canonicalize(path)?;
        Ok(Self { target, bytes: fs::read(&path)?, system: System::Linux, machine, path })
    }

    pub(super) fn runs_here(&self) -> bool {
        !self.is_for_mac() && self.machine.name == std::env::consts::ARCH
    }

    pub(super) fn is_for_mac(&self) -> bool {
        matches!(self.system, System::MacOs(..))
    }
}

fn machine_of(target: &str, libc: &str) -> Result<&'static Machine> {
    let machine = MACHINES.iter().find(|machine| target == format!("{}-unknown-linux-{libc}", machine.name));
    machine.with_context(|| {
        let linux = MACHINES.iter().map(|machine| format!("{}-unknown-linux-{libc}", machine.name));
        let known: Vec<_> = linux.chain(mac::TARGETS.map(str::to_owned)).collect();
        format!("unknown target {target}; known are {}", known.join(", "))
    })
}

/// Flags of rustc, by which no path of this machine is in the program.
fn mapped_paths() -> Result<Vec<String>> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"));
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let cargo_home = cargo_home.context("neither CARGO_HOME nor HOME is set")?;
    let mapped = [(workspace(), "/wheelbarrow"), (target_directory(), "/target"), (cargo_home, "/cargo")];
    Ok(mapped.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect())
}
