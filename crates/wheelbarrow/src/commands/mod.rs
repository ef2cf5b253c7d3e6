//! One short file a command: flags, one call into a library, a report.

mod build;
mod env;
mod init;
mod inspect;
mod install;

use clap::Subcommand;
use wheelbarrow_commands::commands::Context;

use wheelbarrow_commands::printer::Printer;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Pack a project and its dependencies into one executable zip
    Build(Box<build::Arguments>),
    /// Install an artifact, as `./ARTIFACT -d DEST` does
    Install(install::Arguments),
    /// Show what an artifact holds, and for whom
    Inspect(inspect::Arguments),
    /// Write settings by looking at a project
    Init(init::Arguments),
    /// Judge an environment.json beforehand
    Env(env::Arguments),
    #[command(flatten)]
    Release(wheelbarrow_commands::commands::Command),
}

pub(crate) fn run(command: Command, printer: &Printer) -> anyhow::Result<()> {
    match command {
        Command::Build(arguments) => build::run(*arguments, printer),
        Command::Install(arguments) => install::run(&arguments, printer),
        Command::Inspect(arguments) => inspect::run(&arguments, printer),
        Command::Init(arguments) => init::run(&arguments, printer),
        Command::Env(arguments) => env::run(&arguments, printer),
        Command::Release(command) => {
            wheelbarrow_commands::commands::run(command, &Context::default(), printer)
        }
    }
}
