//! Builds the native installer, so that `cargo build` alone gives a wheelbarrow that carries one.
//!
//! It is a static program: for musl where that target is installed, else for glibc linked statically. It is built by a
//! cargo of its own, in a target directory of its own, because it wants another profile and often another target.
//! `WHEELBARROW_NATIVE_INSTALLER=PATH` takes a ready one instead.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "this is how build scripts talk to cargo"
)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every artifact carries should stay small.
const LARGEST: u64 = 3 << 20;

/// What the installer is made of, below the workspace.
const INPUTS: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "crates/wheelbarrow-artifact/Cargo.toml",
    "crates/wheelbarrow-artifact/src",
    "crates/wheelbarrow-fs/Cargo.toml",
    "crates/wheelbarrow-fs/src",
    "crates/wheelbarrow-install/Cargo.toml",
    "crates/wheelbarrow-install/src",
    "crates/wheelbarrow-wheel/Cargo.toml",
    "crates/wheelbarrow-wheel/src",
];

fn main() {
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-env-changed=WHEELBARROW_NATIVE_INSTALLER");
    let machine = variable("CARGO_CFG_TARGET_ARCH");
    let program = match env::var_os("WHEELBARROW_NATIVE_INSTALLER").filter(|path| !path.is_empty()) {
        Some(ready) => Some(PathBuf::from(ready)),
        None if variable("CARGO_CFG_TARGET_OS") != "linux" => None,
        None => Some(build(&out, &machine)),
    };
    let list = program.map(|program| {
        println!("cargo::rerun-if-changed={}", program.display());
        check(&program);
        let copy = out.join("installer");
        std::fs::copy(&program, &copy)
            .unwrap_or_else(|error| panic!("cannot copy {}: {error}", program.display()));
        format!("({machine:?}, include_bytes!({:?}))", copy.display().to_string())
    });
    let code = format!("&[{}]", list.unwrap_or_default());
    std::fs::write(out.join("installers.rs"), code).expect("OUT_DIR can be written");
}

fn build(out: &Path, machine: &str) -> PathBuf {
    let workspace = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../..");
    let inputs = INPUTS.iter().map(|input| workspace.join(input));
    for input in inputs.chain(python_sources(&workspace)) {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    let directory = target_directory(out).join("installer");
    let target = static_target(machine);
    let mut cargo = Command::new(variable("CARGO"));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| !is_kept(name)) {
            cargo.env_remove(name);
        }
    }
    cargo.args([
        "build",
        "--quiet",
        "--profile",
        "installer",
        "--bin",
        "wheelbarrow-installer",
        "--target",
        &target,
    ]);
    cargo.arg("--manifest-path").arg(workspace.join("crates/wheelbarrow-install/Cargo.toml"));
    cargo.arg("--target-dir").arg(&directory);
    if target.ends_with("musl") {
        // What C there is needs nothing of the C library, so that an ordinary compiler will do.
        if !is_on_path("musl-gcc") {
            cargo.env(format!("CC_{}", target.replace('-', "_")), "cc");
        }
    } else {
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    }
    let status = cargo.status().unwrap_or_else(|error| panic!("cannot run {cargo:?}: {error}"));
    assert!(status.success(), "the native installer could not be built for {target}");
    directory.join(target).join("installer/wheelbarrow-installer")
}

/// They are compiled into the crate of the format. Their tests are not, and write bytecode beside themselves.
fn python_sources(workspace: &Path) -> Vec<PathBuf> {
    let directory = workspace.join("crates/wheelbarrow-artifact/python");
    let entries =
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect()
}

/// `TARGET_DIRECTORY/[TRIPLE/]PROFILE/build/PACKAGE/out` is where this runs.
fn target_directory(out: &Path) -> PathBuf {
    let above_build = out.ancestors().find(|path| path.file_name().is_some_and(|name| name == "build"));
    above_build.and_then(|build| build.parent()?.parent()).unwrap_or(out).to_path_buf()
}

fn static_target(machine: &str) -> String {
    let musl = format!("{machine}-unknown-linux-musl");
    let query =
        Command::new(variable("RUSTC")).args(["--print", "target-libdir", "--target", &musl]).output();
    let directory = query.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let installed = directory
        .is_some_and(|directory| !directory.trim().is_empty() && Path::new(directory.trim()).is_dir());
    if installed { musl } else { format!("{machine}-unknown-linux-gnu") }
}

/// The outer cargo tells this script, and clippy its wrapper, by variables that the inner cargo must not heed.
fn is_kept(name: &str) -> bool {
    const CARGO_KEPT: [&str; 4] = ["CARGO", "CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_TERM_COLOR"];
    const RUST_KEPT: [&str; 2] = ["RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
    const OF_SCRIPTS: [&str; 9] = [
        "CLIPPY_ARGS",
        "DEBUG",
        "HOST",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "RUSTC_LINKER",
        "TARGET",
    ];
    if name.starts_with("CARGO") {
        return CARGO_KEPT.contains(&name)
            || name.starts_with("CARGO_HTTP_")
            || name.starts_with("CARGO_NET_");
    }
    if name.starts_with("RUST") {
        return RUST_KEPT.contains(&name) || name.starts_with("RUSTUP_");
    }
    !OF_SCRIPTS.contains(&name)
}

fn check(program: &Path) {
    let size =
        std::fs::metadata(program).unwrap_or_else(|error| panic!("{}: {error}", program.display())).len();
    assert!(size <= LARGEST, "the native installer has {size} bytes; it should stay below {LARGEST}");
}

fn is_on_path(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .any(|directory| directory.join(program).is_file())
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
