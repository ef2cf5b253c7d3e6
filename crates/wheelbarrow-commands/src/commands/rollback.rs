//! `wheelbarrow rollback --root ROOT`

use clap::Args;
use wheelbarrow_release::{RollbackOptions, plan_rollback, rollback};

use super::activate::report;
use super::root::{RootArguments, WaitArguments, find};
use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::progress::Bar;

#[derive(Args)]
pub struct RollbackArguments {
    /// The release to go to, by its id or number [default: the nearest good ancestor]
    #[arg(long, value_name = "ID")]
    to: Option<String>,
    #[command(flatten)]
    root: RootArguments,
    /// Roll back across migrations that cannot be reversed
    #[arg(long)]
    force: bool,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArguments,
}

pub(super) fn run(arguments: RollbackArguments, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.open()?;
    let to = arguments.to.map(|to| find(&root, &to)).transpose()?;
    let of = arguments.wait.deploy_id.clone();
    let options = RollbackOptions { to, of, force: arguments.force };
    let progress = Bar::interruptible(printer);
    if arguments.dry_run {
        let planned = plan_rollback(&root, &options, &progress)?;
        return report(&planned, "would be live", arguments.root.json, printer);
    }
    let activated = rollback(&root, &options, &arguments.wait.operator(&progress))?;
    printer.deed();
    report(&activated, "is live", arguments.root.json, printer)
}
