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
    /// Make a thin artifact, without what a host has already
    Thin(thin::ThinArguments),
    /// Show the contents and the targets of an artifact
    Inspect(inspect::InspectArguments),
    /// Show what differs between two artifacts of a site
    Diff(diff::DiffArguments),
    /// Check whether wheels will run on their targets
    Audit(audit::AuditArguments),
    /// Print the SBOM of an artifact, as CycloneDX
    Sbom(sbom::SbomArguments),
    /// Sign an artifact with an SSH key
    Sign(sign::SignArguments),
    /// List the systems for --target, or print the target of this machine
    Targets(targets::TargetsArguments),
    /// Propose settings for a project, from its files
    Init(init::InitArguments),
    /// Show, prune or empty the build cache
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
