//! One short file for each command: flags, one call of a library, a report.

mod activate;
mod changes;
mod check;
mod context;
mod deploy;
mod doctor;
mod env;
mod exec;
mod find;
mod history;
mod list;
mod pin;
mod prune;
mod recover;
mod remove;
mod rescue;
mod rollback;
mod root;
mod singletons;
mod status;
mod store;
mod unit;
mod verify;

use clap::Subcommand;

use crate::failure::CommandResult;
use crate::printer::Printer;

pub use context::{Context, Judge};

#[derive(Subcommand)]
pub enum Command {
    /// Make a release of an artifact and make it live; roll back if it fails
    Deploy(Box<deploy::DeployArguments>),
    /// Make an existing release live
    Activate(activate::ActivateArguments),
    /// Check whether a release could be made live
    Check(check::CheckArguments),
    /// Run the `prepare` commands of a release that change a database
    Migrate(check::MigrateArguments),
    /// Roll back to the previous good release, and mark the live one as bad
    Rollback(rollback::RollbackArguments),
    /// List the releases of a site root
    List(list::ListArguments),
    /// Find the release of an artifact with the current environment
    Find(find::FindArguments),
    /// Show the live release, what the processes run, and the last operation
    Status(status::StatusArguments),
    /// Show past operations: who, when, how long, and the result
    History(history::HistoryArguments),
    /// Remove old, unused releases
    Prune(prune::PruneArguments),
    /// Remove one unused release
    Remove(remove::RemoveArguments),
    /// Copy files that the site wrote into a release to ROOT/shared/rescued
    Rescue(rescue::RescueArguments),
    /// Keep a release from being pruned
    Pin(pin::PinArguments),
    /// Allow a pinned release to be pruned again
    Unpin(pin::PinArguments),
    /// Show or set whether this host runs what only one host of a fleet may run
    Singletons(singletons::SingletonsArguments),
    /// Complete or revert the work of a killed command
    Recover(recover::RecoverArguments),
    /// Check an environment.json, or change the variables of the live release
    Env(env::EnvArguments),
    /// Run a command in the virtualenv of the live release
    Exec(exec::ExecArguments),
    /// Print systemd units for a site root
    Unit(unit::UnitArguments),
    /// Find server configuration that would not run a new release, or would lose requests
    Doctor(doctor::DoctorArguments),
    /// Verify, list and clean a store of unpacked wheels
    Store(store::StoreArguments),
    /// Verify the files of an install, or an artifact and its signature
    Verify(verify::VerifyArguments),
}

pub fn run(command: Command, context: &Context, printer: &Printer) -> CommandResult<()> {
    match command {
        Command::Deploy(arguments) => deploy::run(*arguments, context, printer),
        Command::Activate(arguments) => activate::run(&arguments, printer),
        Command::Check(arguments) => check::check(&arguments, printer),
        Command::Migrate(arguments) => check::run_migrations(&arguments, printer),
        Command::Rollback(arguments) => rollback::run(arguments, printer),
        Command::List(arguments) => list::run(&arguments, printer),
        Command::Find(arguments) => find::run(&arguments, printer),
        Command::Status(arguments) => status::run(&arguments, printer),
        Command::History(arguments) => history::run(&arguments, printer),
        Command::Prune(arguments) => prune::run(&arguments, printer),
        Command::Remove(arguments) => remove::run(&arguments, printer),
        Command::Rescue(arguments) => rescue::run(&arguments, printer),
        Command::Pin(arguments) => pin::run(&arguments, pin::Pin::Set, printer),
        Command::Unpin(arguments) => pin::run(&arguments, pin::Pin::Unset, printer),
        Command::Singletons(arguments) => singletons::run(&arguments, printer),
        Command::Recover(arguments) => recover::run(&arguments, printer),
        Command::Env(arguments) => env::run(arguments, printer),
        Command::Exec(arguments) => exec::run(arguments, printer),
        Command::Unit(arguments) => unit::run(&arguments, context, printer),
        Command::Doctor(arguments) => doctor::run(&arguments, printer),
        Command::Store(arguments) => store::run(&arguments, printer),
        Command::Verify(arguments) => verify::run(&arguments, context, printer),
    }
}

#[cfg(test)]
mod tests {
    use wheelbarrow_testing::generated::assert_part;

    use super::*;

    /// The fallback installer has to know which words are commands, before it knows whether the binary runs.
    #[test]
    fn python_has_every_command() {
        let command = Command::augment_subcommands(clap::Command::new("wheelbarrow"));
        let mut lines = vec![String::new()];
        for name in command.get_subcommands().map(clap::Command::get_name) {
            match lines.last_mut() {
                Some(line) if line.len() + name.len() < 110 => {
                    line.push_str(if line.is_empty() { "" } else { " " });
                    line.push_str(name);
                }
                _ => lines.push(name.to_owned()),
            }
        }
        let text = format!("    \"{}\".split()\n", lines.join(" \"\n    \""));
        assert_part(
            "crates/wheelbarrow-artifact/python/__main__.py",
            "COMMANDS = (\n",
            ")\n# The same",
            &text,
        );
    }
}
