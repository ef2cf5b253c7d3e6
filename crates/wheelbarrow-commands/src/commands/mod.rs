//! One short file a command: flags, one call into a library, a report.

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

use crate::printer::Printer;

pub use context::{Context, HOST_SIGNERS, Judge};

#[derive(Subcommand)]
pub enum Command {
    /// Make a release of an artifact: checked, switched, proved, or taken back
    Deploy(Box<deploy::DeployArguments>),
    /// Make a release live that is there already
    Activate(activate::ActivateArguments),
    /// Look whether a release could be made live, as a deploy does before it changes anything
    Check(check::CheckArguments),
    /// Run those `prepare` commands of a release that change a database, once for all machines
    Migrate(check::MigrateArguments),
    /// Go back to the release before, and mark what is left as bad
    Rollback(rollback::RollbackArguments),
    /// Show the releases of a root
    List(list::ListArguments),
    /// Say which release is of an artifact already, with the environment of now
    Find(find::FindArguments),
    /// Say what is live, and whether all is well
    Status(status::StatusArguments),
    /// Show what was done under a root: who, when, how long, and how it ended
    History(history::HistoryArguments),
    /// Remove releases that nobody needs
    Prune(prune::PruneArguments),
    /// Remove one release that nobody needs
    Remove(remove::RemoveArguments),
    /// Copy the files that the site has written into a release to ROOT/shared/rescued
    Rescue(rescue::RescueArguments),
    /// Keep a release, whatever is pruned
    Pin(pin::PinArguments),
    /// Let a release be pruned again
    Unpin(pin::PinArguments),
    /// Say whether this host runs what only one host of a fleet may run, or change that
    Singletons(singletons::SingletonsArguments),
    /// Put right what a command left that was killed
    Recover(recover::RecoverArguments),
    /// Judge an environment.json, or change that of what is live
    Env(env::EnvArguments),
    /// Run a command in the environment of the live release
    Exec(exec::ExecArguments),
    /// Print systemd units for a root, with the reasons
    Unit(unit::UnitArguments),
    /// Look for set-ups of servers that would not run a new release, or would lose requests
    Doctor(doctor::DoctorArguments),
    /// Look after the wheels that installs share
    Store(store::StoreArguments),
    /// Compare an install with what was installed, or an artifact with its signature
    Verify(verify::VerifyArguments),
}

pub fn run(command: Command, context: &Context, printer: &Printer) -> anyhow::Result<()> {
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
        Command::Exec(arguments) => exec::run(arguments),
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
        assert_part("crates/wheelbarrow-artifact/python/__main__.py", "COMMANDS = (\n", ")\n# Where", &text);
    }
}
