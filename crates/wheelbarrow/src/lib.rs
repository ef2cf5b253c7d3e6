//! `wheelbarrow`: parse, settings, printing, progress. The work is done by the crates below.
//!
//! It is a library so that `examples/pages.rs` can make man pages and completions from the same command line.

mod commands;
mod help;
mod installers;
mod pages;
mod settings;
mod trust;
mod without_login;

use std::process::ExitCode;

use clap::{ArgAction, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use wheelbarrow_commands::failure::CommandError;
use wheelbarrow_commands::{failure, printer, progress, text};

use crate::commands::{Here, WithoutServers};
use crate::printer::Printer;

/// Pack a Python site and its dependencies into one executable zip, and release it on servers.
#[derive(Parser)]
#[command(name = "wheelbarrow", version, max_term_width = 100)]
struct Cli<S: Subcommand = Here> {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: commands::Command<S>,
}

#[derive(Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Print errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print details
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
}

/// The whole command line, as data.
pub fn command() -> clap::Command {
    help::decorated(<Cli>::command())
}

/// The same of a program for a system that has no servers.
pub fn command_without_servers() -> clap::Command {
    help::decorated(Cli::<WithoutServers>::command())
}

/// Parses the arguments of this process and does what they name.
pub fn main() -> ExitCode {
    wheelbarrow_base::watch_panics();
    wheelbarrow_base::reset_signals();
    let cli = <Cli>::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    let printer = Printer::new(cli.global.quiet, cli.global.verbose > 0, cli.global.color);
    match commands::run(cli.command, &printer).and_then(|()| printer.finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = without_login::shown(error);
            if !matches!(error, CommandError::Reported(_)) {
                printer.failure(&error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}
