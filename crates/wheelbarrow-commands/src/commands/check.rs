//! `wheelbarrow check ID --root ROOT` and `wheelbarrow migrate ID --root ROOT`

use clap::Args;
use wheelbarrow_release::{check_release, migrate, plan_migrate};

use super::root::{RootArguments, WaitArguments, find};
use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text::seconds;

#[derive(Args)]
pub struct CheckArguments {
    /// The release, by its id or number
    id: String,
    #[command(flatten)]
    root: RootArguments,
    #[command(flatten)]
    wait: WaitArguments,
}

#[derive(Args)]
pub struct MigrateArguments {
    /// The release, by its id or number
    id: String,
    #[command(flatten)]
    root: RootArguments,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArguments,
}

pub(super) fn check(arguments: &CheckArguments, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.open()?;
    let id = find(&root, &arguments.id)?;
    let progress = Bar::interruptible(printer);
    let looked = check_release(&root, &id, &arguments.wait.operator(&progress))?;
    if arguments.root.json {
        return printer.json(&looked);
    }
    printer.done(&format!("{id} can be made live ({})", seconds(looked.milliseconds)));
    Ok(())
}

pub(super) fn run_migrations(arguments: &MigrateArguments, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.open()?;
    let id = find(&root, &arguments.id)?;
    let progress = Bar::interruptible(printer);
    let operator = arguments.wait.operator(&progress);
    let migrated = if arguments.dry_run {
        plan_migrate(&root, &id, &operator)?
    } else {
        let migrated = migrate(&root, &id, &operator)?;
        printer.deed();
        migrated
    };
    if arguments.root.json {
        return printer.json(&migrated);
    }
    migrated.migrations.iter().for_each(|name| printer.line(name));
    printer.done(&match (migrated.commands.is_empty(), arguments.dry_run) {
        (true, _) => format!("nothing to run for {id}"),
        (false, true) => format!("would run {}", migrated.commands.join("; ")),
        (false, false) => format!("{id} has run its migrations ({})", seconds(migrated.milliseconds)),
    });
    Ok(())
}
