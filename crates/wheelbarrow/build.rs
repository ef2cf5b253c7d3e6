//! Builds the standalone binary, so that `cargo build` alone makes a wheelbarrow that contains it.
//!
//! It is a static program: for musl if that target is installed, else for glibc linked statically. A separate
//! cargo builds it, in a separate target directory, because it needs another profile and often another
//! target. `WHEELBARROW_NATIVE_INSTALLER=PATH` uses an existing binary instead. Builds other than releases
//! use a profile that compiles faster and makes a larger program.
//!
//! A release contains the binary for the other CPU too, if rustc has that target and there is a C compiler
//! for it; otherwise the build prints a warning, and servers with that CPU use the fallback installer. Other
//! builds leave it out, to be quick, unless `WHEELBARROW_OTHER_INSTALLERS=1`.
//!
//! The same sources and compilers give the same bytes, whatever the directory and the target of the program
//! around them: paths are mapped, flags of the outer cargo do not reach the inner one, and all targets share
//! its directory.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "this is how build scripts talk to cargo"
)]

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::Digest;

/// What it is made of, below the workspace.
const CRATES: [&str; 9] =
    ["artifact", "base", "commands", "install", "native", "platform", "release", "signature", "wheel"];

/// Levels of libdeflate.
const SMALLEST: i32 = 12;
const FAST: i32 = 1;

/// The CPUs of servers, and what compiles C for them elsewhere.
const OTHERS: [(&str, &str); 2] = [("x86_64", "x86_64-linux-gnu-gcc"), ("aarch64", "aarch64-linux-gnu-gcc")];

/// For a compiler with the headers of glibc: no checked variants of functions (Ubuntu), no strtol of C23 (GCC 15).
const PLAIN_C: &str = "-std=gnu11 -U_FORTIFY_SOURCE";

/// One key is checked now and then: no second implementation of Ed25519 for CPUs with AVX2.
const SMALL_ED25519: &str = "--cfg=curve25519_dalek_backend=\"serial\"";

/// SHA-256 in a loop for CPUs without instructions for it: 15 % slower there than unrolled code, which has 9 kB more.
const SMALL_SHA256: &str = "--cfg=sha2_backend_soft=\"compact\"";

/// Zstandard with one decoder of literals and one of sequences, which reads whatever was written, and without texts of errors.
const SMALL_ZSTD: &str =
    "-DHUF_FORCE_DECOMPRESS_X1=1 -DZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT=1 -DZSTD_STRIP_ERROR_STRINGS=1";

fn main() {
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-env-changed=WHEELBARROW_NATIVE_INSTALLER");
    println!("cargo::rerun-if-env-changed=WHEELBARROW_OTHER_INSTALLERS");
    let machine = variable("CARGO_CFG_TARGET_ARCH");
    let mut programs = Vec::new();
    match env::var_os("WHEELBARROW_NATIVE_INSTALLER").filter(|path| !path.is_empty()) {
        Some(ready) => {
            println!("cargo::rerun-if-changed={}", Path::new(&ready).display());
            programs.push((machine, PathBuf::from(ready)));
        }
        None if variable("CARGO_CFG_TARGET_OS") != "linux" => programs.extend(other_installers(&out, "")),
        None => {
            let target = static_target(&machine);
            let compiler = OTHERS.iter().find(|(other, _)| *other == machine && machine != host_machine());
            programs.push((machine.clone(), build(&out, &target, compiler.map(|(_, compiler)| *compiler))));
            programs.extend(other_installers(&out, &machine));
        }
    }
    // Artifacts carry them in this order, whichever CPU this is built for.
    programs.sort_by(|one, other| other.0.cmp(&one.0));
    let list: Vec<String> = programs.iter().map(|(machine, program)| embed(&out, machine, program)).collect();
    let code = format!("&[{}]", list.join(", "));
    std::fs::write(out.join("installers.rs"), code).expect("OUT_DIR can be written");
}

/// Its deflated bytes in the output directory, and the code that includes them: every artifact has them like that, and
/// compressing takes longer than packing all the rest.
fn embed(out: &Path, machine: &str, program: &Path) -> String {
    let bytes = std::fs::read(program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let deflated = deflate(&bytes);
    let file = out.join(format!("installer-{machine}.deflated"));
    std::fs::write(&file, deflated).expect("OUT_DIR can be written");
    let (size, crc32) = (bytes.len(), libdeflater::crc32(&bytes));
    let sha256: [u8; 32] = sha2::Sha256::digest(&bytes).into();
    format!(
        "Installer {{ machine: {machine:?}, deflated: include_bytes!({:?}), size: {size}, crc32: {crc32}, sha256: Sha256({sha256:?}) }}",
        file.display().to_string()
    )
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let level = if profile() == "installer" { SMALLEST } else { FAST };
    let level = libdeflater::CompressionLvl::new(level).expect("libdeflate has this level");
    let mut compressor = libdeflater::Compressor::new(level);
    let mut deflated = vec![0; compressor.deflate_compress_bound(bytes.len())];
    let length = compressor.deflate_compress(bytes, &mut deflated).expect("there is room");
    deflated.truncate(length);
    deflated
}

fn other_installers(out: &Path, own: &str) -> Vec<(String, PathBuf)> {
    let wanted =
        env::var("WHEELBARROW_OTHER_INSTALLERS").map_or(variable("PROFILE") == "release", |set| set == "1");
    let others = OTHERS.iter().filter(|(machine, _)| wanted && *machine != own);
    let mut programs = Vec::new();
    for (machine, compiler) in others {
        let compiler = (*machine != host_machine()).then_some(*compiler);
        let target = format!("{machine}-unknown-linux-musl");
        let lacks = if !is_installed(&target) {
            format!("rustup target add {target}")
        } else if !has_lld() {
            "the linker rust-lld, which rustup's toolchains have".to_owned()
        } else if let Some(compiler) = compiler.filter(|compiler| !compiles(compiler)) {
            format!("{compiler} on PATH, with the headers of a C library")
        } else {
            programs.push(((*machine).to_owned(), build(out, &target, compiler)));
            continue;
        };
        println!(
            "cargo::warning=no native installer for {machine}, which needs: {lacks}; then `cargo clean --release -p wheelbarrow` \
             and build again. Without it, servers of that CPU use the fallback installer"
        );
    }
    programs
}

/// Builds it for `target`; for another CPU with that C compiler.
fn build(out: &Path, target: &str, cross_compiler: Option<&str>) -> PathBuf {
    let workspace = workspace();
    let of_crate = |name: &&str| {
        ["Cargo.toml", "build.rs", "discard.ld", "src", "python"]
            .map(|part| workspace.join(format!("crates/wheelbarrow-{name}/{part}")))
    };
    let inputs = ["Cargo.toml", "Cargo.lock"].map(|name| workspace.join(name)).into_iter();
    // The Python of the format is listed file by file.
    let inputs = inputs
        .chain(CRATES.iter().flat_map(of_crate))
        .filter(|path| path.exists() && !path.ends_with("wheelbarrow-artifact/python"));
    for input in inputs.chain(python_sources(&workspace)) {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    let directory = target_directory(out).join("installer");
    let mut cargo = Command::new(variable("CARGO"));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| !is_kept(name)) {
            cargo.env_remove(name);
        }
    }
    let profile = profile();
    cargo.args(["build", "--quiet", "--profile", profile, "--bin", "wheelbarrow-native", "--target", target]);
    cargo.arg("--manifest-path").arg(workspace.join("crates/wheelbarrow-native/Cargo.toml"));
    cargo.arg("--target-dir").arg(&directory);
    let name = target.replace('-', "_");
    let mut flags = mapped_paths(&workspace, &directory);
    flags.extend([SMALL_ED25519, SMALL_SHA256].map(str::to_owned));
    if target.ends_with("musl") {
        // What C there is needs little of the C library, so an ordinary compiler will do, if glibc's headers do not turn ordinary
        // functions into some that musl does not have.
        let compiler = cross_compiler.or_else(|| (!is_on_path("musl-gcc")).then_some("cc"));
        if let Some(compiler) = compiler {
            cargo.env(format!("CC_{name}"), compiler);
        }
        let plain = compiler.map_or("", |_| PLAIN_C);
        cargo.env(format!("CFLAGS_{name}"), format!("{plain} {SMALL_ZSTD}").trim_start());
        if has_lld() {
            cargo.env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), "rust-lld");
        }
    } else {
        flags.push("-Ctarget-feature=+crt-static".to_owned());
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    // For `__DATE__` and `__TIME__` in C: the same source gives the same bytes at any time.
    cargo.env("SOURCE_DATE_EPOCH", "315532800");
    let status = cargo.status().unwrap_or_else(|error| panic!("cannot run {cargo:?}: {error}"));
    assert!(status.success(), "the native installer could not be built for {target}");
    directory.join(target).join(profile).join("wheelbarrow-native")
}

/// Flags of rustc, by which no path of this machine is in the program.
fn mapped_paths(workspace: &Path, directory: &Path) -> Vec<String> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let mapped =
        [(Some(workspace), "/wheelbarrow"), (Some(directory), "/target"), (cargo_home.as_deref(), "/cargo")];
    let mapped = mapped
        .iter()
        .filter_map(|(from, to)| Some(format!("--remap-path-prefix={}={to}", from.as_ref()?.display())));
    mapped.collect()
}

fn workspace() -> PathBuf {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate is in crates/").to_path_buf()
}

/// The CPU that this runs on.
fn host_machine() -> String {
    variable("HOST").split('-').next().unwrap_or_default().to_owned()
}

/// Of the workspace.
fn profile() -> &'static str {
    if variable("PROFILE") == "release" { "installer" } else { "installer-quick" }
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
    let directory = above_build.and_then(|build| build.parent()?.parent()).unwrap_or(out);
    let is_of_target = directory.file_name().is_some_and(|name| name == variable("TARGET").as_str());
    directory.parent().filter(|_| is_of_target).unwrap_or(directory).to_path_buf()
}

fn static_target(machine: &str) -> String {
    let musl = format!("{machine}-unknown-linux-musl");
    if is_installed(&musl) { musl } else { format!("{machine}-unknown-linux-gnu") }
}

/// Whether rustc has the standard library of that target.
fn is_installed(target: &str) -> bool {
    let query =
        Command::new(variable("RUSTC")).args(["--print", "target-libdir", "--target", target]).output();
    let directory = query.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    directory.is_some_and(|directory| !directory.trim().is_empty() && Path::new(directory.trim()).is_dir())
}

/// Whether rustc brings LLVM's linker, as those of rustup do: it links for any CPU, and links smaller.
fn has_lld() -> bool {
    let query = Command::new(variable("RUSTC")).args(["--print", "sysroot"]).output();
    let sysroot = query.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let programs = format!("lib/rustlib/{}/bin/rust-lld", variable("HOST"));
    Path::new(sysroot.trim()).join(programs).is_file()
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

/// Whether there is such a compiler, and a C library's headers for it: those can be missing.
fn compiles(compiler: &str) -> bool {
    let child = Command::new(compiler)
        .args(["-fsyntax-only", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    child.is_ok_and(|mut child| {
        let told =
            child.stdin.take().is_some_and(|mut stdin| stdin.write_all(b"#include <string.h>\n").is_ok());
        child.wait().is_ok_and(|status| told && status.success())
    })
}

fn is_on_path(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .any(|directory| directory.join(program).is_file())
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
