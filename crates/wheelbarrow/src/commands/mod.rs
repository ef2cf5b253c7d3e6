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
    Build(Box<build::BuildArguments>),
    /// Install an artifact, as `./ARTIFACT -d DEST` does
    Install(install::InstallArguments),
    /// Leave out of an artifact what a host has already
    Thin(thin::ThinArguments),
    /// Show what an artifact holds, and for whom
    Inspect(inspect::InspectArguments),
    /// Show what differs between two artifacts of a site
    Diff(diff::DiffArguments),
    /// Say whether wheels will run there: what an artifact or wheels need, and what is wrong with them
    Audit(audit::AuditArguments),
    /// Print what an artifact is made of, as CycloneDX
    Sbom(sbom::SbomArguments),
    /// Sign an artifact with an SSH key, for hosts that take nothing unsigned
    Sign(sign::SignArguments),
    /// List the systems that --target knows, or say what this machine is
    Targets(targets::TargetsArguments),
    /// Write settings by looking at a project
    Init(init::InitArguments),
    /// See or empty the cache of builds
    Cache(cache::CacheArguments),
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
