//! Programs for macOS, which have the half that builds: compiled here by cargo-zigbuild, with the C compiler, the linker and the
//! libraries of zig. Nothing here can run them.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::children::{clean, run as run_child, succeeds, unavailable, workspace};
use crate::tools;

pub(crate) const TARGETS: [&str; 2] = ["aarch64-apple-darwin", "x86_64-apple-darwin"];

/// Other versions may link other programs.
const TOOLS: [&str; 2] = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"];
/// The oldest Python that they are made for, 3.x.
const OLDEST: u32 = 8;

/// `cargo xtask mac`: whether it compiles. To link it is a matter of `dist`.
pub(crate) fn check() -> Result<()> {
    let mut check = match zigbuild() {
        Ok(check) => check,
        Err(reason) => return unavailable("mac", &reason),
    };
    check.args(["check", "--quiet", "--package", "wheelbarrow"]);
    check.args(TARGETS.iter().flat_map(|target| ["--target", target]));
    // It carries a standalone binary, which is compiled elsewhere and not looked at.
    check.env("WHEELBARROW_NATIVE_INSTALLER", workspace().join("Cargo.lock"));
    check.env("CARGO_ENCODED_RUSTFLAGS", "-Dwarnings");
    run_child(check.current_dir(workspace()))
}

/// cargo-zigbuild, that of PATH or one of PyPI, with the standard libraries for macOS.
pub(crate) fn zigbuild() -> Result<Command> {
    let target_add = |target| succeeds(Command::new("rustup").args(["target", "add", target]));
    if let Some(target) = TARGETS.into_iter().find(|target| !target_add(target)) {
        bail!("rustc cannot compile for {target}: `rustup target add {target}` failed");
    }
    let program = Path::new("cargo-zigbuild");
    if succeeds(Command::new(program).arg("--version")) {
        return Ok(clean(program));
    }
    let tools = tools::of_pypi("zig", &TOOLS, OLDEST)?;
    let mut command = clean(tools.join("cargo-zigbuild"));
    // It looks for zig as a module of the Python there.
    let others = env::var_os("PATH").unwrap_or_default();
    command.env("PATH", env::join_paths([tools].into_iter().chain(env::split_paths(&others)))?);
    Ok(command)
}

/// The oldest macOS that a program says to run on: major and minor version, by its LC_BUILD_VERSION (`mach-o/loader.h`).
pub(crate) fn oldest_system(program: &[u8]) -> Result<(u32, u32)> {
    const BUILD_VERSION: u32 = 0x32;
    const VERSION_MIN_MACOSX: u32 = 0x24;
    for (kind, at) in load_commands(program)? {
        let version = match kind {
            BUILD_VERSION => little(program, at + 12)?,
            VERSION_MIN_MACOSX => little(program, at + 8)?,
            _ => continue,
        };
        return Ok((version >> 16, version >> 8 & 0xff));
    }
    bail!("it does not say which macOS it is for")
}

/// Whether the hashes of pages in the signature of a program are right: Apple silicon starts no other. Without a certificate such a
/// signature says nothing more (`cs_blobs.h`).
pub(crate) fn check_signature(program: &[u8]) -> Result<()> {
    const CODE_SIGNATURE: u32 = 0x1d;
    const CODE_DIRECTORY: u32 = 0xfade_0c02;
    let commands = load_commands(program)?;
    let command = commands.iter().find(|(kind, _)| *kind == CODE_SIGNATURE).context("it is not signed")?;
    let start = size(little(program, command.1 + 8)?);
    let count = size(big(program, start + 8)?);
    let blobs = (0..count).map(|index| Ok(start + size(big(program, start + 16 + 8 * index)?)));
    let blobs = blobs.collect::<Result<Vec<_>>>()?;
    let is_directory = |at: &usize| big(program, *at).is_ok_and(|magic| magic == CODE_DIRECTORY);
    let at = blobs.into_iter().find(is_directory).context("its signature has no code directory")?;
    let (hashes, slots, limit) = (big(program, at + 16)?, big(program, at + 28)?, big(program, at + 32)?);
    let [length, kind, _, page] = big(program, at + 36)?.to_be_bytes();
    if (length, kind) != (32, 2) || page > 16 {
        bail!("its signature has other hashes than SHA-256");
    }
    let code = program.get(..size(limit)).context("its signature is for a longer program")?;
    let pages: Vec<_> = code.chunks(1 << page).collect();
    if pages.len() != size(slots) {
        bail!("its signature is for {slots} pages, not {}", pages.len());
    }
    let first = at + size(hashes);
    let is_wrong = |(index, page): (usize, &&[u8])| {
        program.get(first + 32 * index..first + 32 * (index + 1)) != Some(&Sha256::digest(page)[..])
    };
    match pages.iter().enumerate().position(is_wrong) {
        None => Ok(()),
        Some(page) => bail!("its signature is not that of page {page}"),
    }
}

/// Kinds, and where they are.
fn load_commands(program: &[u8]) -> Result<Vec<(u32, usize)>> {
    const MAGIC: u32 = 0xfeed_facf;
    if little(program, 0)? != MAGIC {
        bail!("it is no Mach-O of 64 bits");
    }
    let mut at = 32;
    let mut commands = Vec::new();
    for _ in 0..little(program, 16)? {
        commands.push((little(program, at)?, at));
        at += size(little(program, at + 4)?);
    }
    Ok(commands)
}

fn bytes(program: &[u8], at: usize) -> Result<[u8; 4]> {
    Ok(program.get(at..at + 4).context("it is cut off")?.try_into()?)
}

fn little(program: &[u8], at: usize) -> Result<u32> {
    bytes(program, at).map(u32::from_le_bytes)
}

fn big(program: &[u8], at: usize) -> Result<u32> {
    bytes(program, at).map(u32::from_be_bytes)
}

fn size(number: u32) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_system_is_read() {
        let program = |commands: &[[u32; 4]]| {
            let count = u32::try_from(commands.len()).unwrap();
            let header = [0xfeed_facf, 0, 0, 2, count, 16 * count, 0, 0];
            let words = header.into_iter().chain(commands.iter().flatten().copied());
            words.flat_map(u32::to_le_bytes).collect::<Vec<u8>>()
        };
        let other = [0x19, 16, 0, 0];
        assert_eq!(oldest_system(&program(&[other, [0x32, 16, 1, 0x000b_0000]])).unwrap(), (11, 0));
        assert_eq!(oldest_system(&program(&[other, [0x24, 16, 0x000a_0c00, 0]])).unwrap(), (10, 12));
        assert!(oldest_system(&program(&[other])).is_err());
        assert!(oldest_system(b"\x7fELF").is_err());
    }
    #[test]
    fn signatures_are_compared() {
        let code: Vec<u8> =
            [0xfeed_facf_u32, 0, 0, 2, 1, 16, 0, 0, 0x1d, 16, 48, 0].map(u32::to_le_bytes).concat();
        let signed = |hash: &[u8]| {
            let super_blob = [0xfade_0cc0_u32, 0, 1, 0, 20];
            let directory = [0xfade_0c02_u32, 0, 0, 0, 40, 0, 0, 1, 48, 0x2002_000c];
            let words = super_blob.into_iter().chain(directory).flat_map(u32::to_be_bytes);
            [code.clone(), words.collect(), hash.to_vec()].concat()
        };
        check_signature(&signed(&Sha256::digest(&code))).unwrap();
        let error = check_signature(&signed(&[7; 32])).unwrap_err().to_string();
        assert_eq!(error, "its signature is not that of page 0");
    }
}
