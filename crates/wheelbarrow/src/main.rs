//! `wheelbarrow`: parse, settings, printing, progress. The work is done by the crates below.

mod commands;
mod failure;
mod settings;

use std::alloc::System;
use std::process::ExitCode;

use clap::{ArgAction, Args, ColorChoice, Parser};
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_commands::{printer, progress, text};
use wheelbarrow_fs::Memory;

use crate::failure::Told;
use crate::printer::Printer;

/// A native installer, deflated as artifacts have it, and what they say of it.
pub(crate) struct Installer {
    pub(crate) machine: &'static str,
    pub(crate) deflated: &'static [u8],
    /// Bytes, inflated.
    pub(crate) size: u64,
    pub(crate) crc32: u32,
    pub(crate) sha256: Sha256,
}

/// As the build script made them.
pub(crate) const INSTALLERS: &[Installer] = include!(concat!(env!("OUT_DIR"), "/installers.rs"));

#[global_allocator]
static ALLOCATOR: Memory<System> = Memory(System);

/// Packs a Python site and its dependencies into one executable zip, and turns it into a running release.
#[derive(Parser)]
#[command(name = "wheelbarrow", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: commands::Command,
}

#[derive(Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
}

fn main() -> ExitCode {
    wheelbarrow_fs::watch_panics();
    wheelbarrow_fs::reset_signals();
    let cli = Cli::parse();
    let printer = Printer::new(cli.global.quiet, cli.global.verbose > 0, cli.global.color);
    match commands::run(cli.command, &printer).and_then(|()| printer.finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<Told>() {
                printer.failure(&error, failure::hint(&error), failure::exit_code(&error));
            }
            ExitCode::from(failure::exit_code(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installers_are_what_is_said_of_them() {
        for installer in INSTALLERS {
            let mut program = vec![0; usize::try_from(installer.size).unwrap()];
            let inflated =
                libdeflater::Decompressor::new().deflate_decompress(installer.deflated, &mut program);
            assert_eq!(inflated, Ok(program.len()), "{}", installer.machine);
            assert_eq!(installer.crc32, libdeflater::crc32(&program));
            assert_eq!(installer.sha256, Sha256::of(&program));
            assert!(program.starts_with(b"\x7fELF"));
        }
    }
}
