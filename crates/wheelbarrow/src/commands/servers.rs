//! The commands on installs and releases.

mod install;

use clap::Subcommand;
use wheelbarrow_commands::commands::{self, Context};

use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::trust::judge;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Install an artifact, as `./ARTIFACT -d DEST` does
    Install(install::InstallArguments),
    #[command(flatten)]
    Release(commands::Command),
}

impl Command {
    pub(super) fn run(self, printer: &Printer) -> CommandResult<()> {
        match self {
            Self::Install(arguments) => install::run(&arguments, printer),
            Self::Release(command) => {
                commands::run(command, &Context { artifact: None, python: None, judge }, printer)
            }
        }
    }
}
