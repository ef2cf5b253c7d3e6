//! The program for one target, linked statically.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;

use crate::children::{cargo, run as run_child, target_directory, workspace};

/// For a compiler with the headers of glibc, as in `build.rs` of the program.
const PLAIN_C: &str = "-std=gnu11 -U_FORTIFY_SOURCE";

/// A CPU.
pub(super) struct Machine {
    /// As Rust, wheels and rpm call it.
    pub(super) name: &'static str,
    pub(super) debian: &'static str,
    /// Of C, on another machine.
    compiler: &'static str,
}

const MACHINES: [Machine; 2] = [
    Machine { name: "x86_64", debian: "amd64", compiler: "x86_64-linux-gnu-gcc" },
    Machine { name: "aarch64", debian: "arm64", compiler: "aarch64-linux-gnu-gcc" },
];

pub(super) struct Program {
    /// The triple.
    pub(super) target: String,
    pub(super) bytes: Vec<u8>,
    /// Whether it was linked here, and so needs no C library of the system.
    pub(super) is_static: bool,
    pub(super) machine: &'static Machine,
    pub(super) path: PathBuf,
}

impl Program {
    /// Compiles it.
    pub(super) fn build(target: &str) -> Result<Self> {
        let machine = machine_of(target, "musl")?;
        let name = target.replace('-', "_");
        let compiler = if machine.name == std::env::consts::ARCH { "cc" } else { machine.compiler };
        let mut build = cargo();
        build.args(["build", "--quiet", "--release", "--package", "wheelbarrow", "--target", target]);
        build.env(format!("CC_{name}"), compiler).env(format!("CFLAGS_{name}"), PLAIN_C);
        build.env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), "rust-lld");
        build.env("CARGO_ENCODED_RUSTFLAGS", mapped_paths()?.join("\u{1f}"));
        run_child(build.current_dir(workspace()))?;
        let path = target_directory().join(target).join("release/wheelbarrow");
        Ok(Self { target: target.to_owned(), bytes: fs::read(&path)?, is_static: true, machine, path })
    }

    /// Takes one that is there. It may need the C library of this machine.
    pub(super) fn ready(path: &Path) -> Result<Self> {
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let machine = machine_of(&target, "gnu")?;
        let path = fs::canonicalize(path)?;
        Ok(Self { target, bytes: fs::read(&path)?, is_static: false, machine, path })
    }

    pub(super) fn runs_here(&self) -> bool {
        self.machine.name == std::env::consts::ARCH
    }
}

fn machine_of(target: &str, libc: &str) -> Result<&'static Machine> {
    let machine = MACHINES.iter().find(|machine| target == format!("{}-unknown-linux-{libc}", machine.name));
    machine.with_context(|| {
        let known: Vec<_> =
            MACHINES.iter().map(|machine| format!("{}-unknown-linux-{libc}", machine.name)).collect();
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
