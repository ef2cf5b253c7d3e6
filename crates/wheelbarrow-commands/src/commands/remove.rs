//! `wheelbarrow remove ID --root ROOT`

use clap::Args;
use wheelbarrow_release::{plan_remove_release, remove_release};

use super::prune::written;
use super::root::{RootArguments, WaitArguments, find};
use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::progress::Bar;

#[derive(Args)]
pub struct RemoveArguments {
    /// The release, by its id or number
    id: String,
    #[command(flatten)]
    root: RootArguments,
    /// Also remove files that the site wrote into the release
    #[arg(long)]
    discard_data: bool,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArguments,
}

pub(super) fn run(arguments: &RemoveArguments, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.open()?;
    let id = find(&root, &arguments.id)?;
    let written = written(arguments.discard_data);
    if arguments.dry_run {
        plan_remove_release(&root, &id, written)?;
    } else {
        remove_release(&root, &id, written, &arguments.wait.operator(&Bar::interruptible(printer)))?;
        printer.deed();
    }
    if arguments.root.json {
        return printer.json(&serde_json::json!({ "root": root.path(), "id": id }));
    }
    printer.done(&format!("{id} {}", if arguments.dry_run { "would be removed" } else { "is removed" }));
    Ok(())
}
