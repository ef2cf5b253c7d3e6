//! One short file for each command: flags, one call of a library, a report.

mod allowances;
mod audit;
mod build;
mod cache;
mod diff;
mod init;
mod inspect;
mod sbom;
#[cfg(target_os = "linux")]
mod servers;
mod sign;
mod targets;
mod thin;
mod without_servers;

use clap::Subcommand;

use crate::failure::CommandResult;
use crate::printer::Printer;

#[cfg(target_os = "linux")]
pub(crate) use servers::Command as Here;
pub(crate) use without_servers::Command as WithoutServers;
#[cfg(not(target_os = "linux"))]
pub(crate) use without_servers::Command as Here;

/// The commands that build, and `S`: those on installs and releases, as far as a system has them.
#[derive(Subcommand)]
pub(crate) enum Command<S: Subcommand> {
    /// Pack a project and its dependencies into one executable zip
    Build(Box<build::BuildArguments>),
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
    Servers(S),
}

pub(crate) fn run(command: Command<Here>, printer: &Printer) -> CommandResult<()> {
    match command {
        Command::Build(arguments) => build::run(*arguments, printer),
        Command::Thin(arguments) => thin::run(&arguments, printer),
        Command::Inspect(arguments) => inspect::run(&arguments, printer),
        Command::Diff(arguments) => diff::run(&arguments, printer),
        Command::Sign(arguments) => sign::run(&arguments, printer),
        Command::Targets(arguments) => targets::run(&arguments, printer),
        Command::Audit(arguments) => audit::run(&arguments, printer),
        Command::Sbom(arguments) => sbom::run(&arguments, printer),
        Command::Init(arguments) => init::run(&arguments, printer),
        Command::Cache(arguments) => cache::run(&arguments, printer),
        Command::Servers(command) => command.run(printer),
    }
}
