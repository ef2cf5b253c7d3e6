//! `wheelbarrow remove ID --root ROOT`

use clap::Args;
use wheelbarrow_release::{plan_remove_release, remove_release};

use super::root::{RootArguments, WaitArguments, find};
use crate::printer::Printer;
use crate::progress::Bar;

#[derive(Args)]
pub struct Arguments {
    /// The release: its id, or its number
    id: String,
    #[command(flatten)]
    root: RootArguments,
    /// Say what would be done, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArguments,
}

pub(super) fn run(arguments: &Arguments, printer: &Printer) -> anyhow::Result<()> {
    let root = arguments.root.open()?;
    let id = find(&root, &arguments.id)?;
    if arguments.dry_run {
        plan_remove_release(&root, &id)?;
    } else {
        remove_release(&root, &id, &arguments.wait.operator(&Bar::interruptible(printer)))?;
        printer.deed();
    }
    if arguments.root.json {
        return printer.json(&serde_json::json!({ "root": root.path(), "id": id }));
    }
    printer.done(&format!("{id} {}", if arguments.dry_run { "would be removed" } else { "is removed" }));
    Ok(())
}
