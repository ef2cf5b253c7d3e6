//! One short file a command: flags, one call into a library, a report.

mod allowances;
mod audit;
mod build;
mod cache;
mod diff;
mod init;
mod inspect;
mod install;
mod sbom;
mod sign;
mod targets;
mod thin;

use clap::Subcommand;
use wheelbarrow_commands::commands::Context;

use crate::printer::Printer;
use crate::trust::judge;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Pack a project and its dependencies into one executable zip
    Build(Box<build::Arguments>),
    /// Install an artifact, as `./ARTIFACT -d DEST` does
    Install(install::Arguments),
    /// Leave out of an artifact what a host has already
    Thin(thin::Arguments),
    /// Show what an artifact holds, and for whom
    Inspect(inspect::Arguments),
    /// Show what differs between two artifacts of a site
    Diff(diff::Arguments),
    /// Say whether wheels will run there: what an artifact or wheels need, and what is wrong with them
    Audit(audit::Arguments),
    /// Print what an artifact is made of, as CycloneDX
    Sbom(sbom::Arguments),
    /// Sign an artifact with an SSH key, for hosts that take nothing unsigned
    Sign(sign::Arguments),
    /// List the systems that --target knows, or say what this machine is
    Targets(targets::Arguments),
    /// Write settings by looking at a project
    Init(init::Arguments),
    /// See or empty the cache of builds
    Cache(cache::Arguments),
    #[command(flatten)]
    Release(wheelbarrow_commands::commands::Command),
}

pub(crate) fn run(command: Command, printer: &Printer) -> anyhow::Result<()> {
    match command {
        Command::Build(arguments) => build::run(*arguments, printer),
        Command::Install(arguments) => install::run(&arguments, printer),
        Command::Thin(arguments) => thin::run(&arguments, printer),
        Command::Inspect(arguments) => inspect::run(&arguments, printer),
        Command::Diff(arguments) => diff::run(&arguments, printer),
        Command::Sign(arguments) => sign::run(&arguments, printer),
        Command::Targets(arguments) => targets::run(&arguments, printer),
        Command::Audit(arguments) => audit::run(&arguments, printer),
        Command::Sbom(arguments) => sbom::run(&arguments, printer),
        Command::Init(arguments) => init::run(&arguments, printer),
        Command::Cache(arguments) => cache::run(&arguments, printer),
        Command::Release(command) => {
            let context = Context { artifact: None, python: None, judge };
            wheelbarrow_commands::commands::run(command, &context, printer)
        }
    }
}
