//! `wheelbarrow pin ID --root ROOT`, `wheelbarrow unpin ID --root ROOT`

use clap::Args;
use wheelbarrow_release::{pin, unpin};

use super::root::{RootArguments, WaitArguments, find};
use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::progress::Bar;

#[derive(Args)]
pub struct PinArguments {
    /// The release, by its id or number
    id: String,
    #[command(flatten)]
    root: RootArguments,
    #[command(flatten)]
    wait: WaitArguments,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pin {
    Set,
    Unset,
}

pub(super) fn run(arguments: &PinArguments, which: Pin, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.open()?;
    let id = find(&root, &arguments.id)?;
    let progress = Bar::interruptible(printer);
    let operator = arguments.wait.operator(&progress);
    match which {
        Pin::Set => pin(&root, &id, &operator)?,
        Pin::Unset => unpin(&root, &id, &operator)?,
    }
    printer.deed();
    if arguments.root.json {
        return printer.json(&serde_json::json!({ "id": id, "pinned": which == Pin::Set }));
    }
    printer.done(&format!("{id} {}", if which == Pin::Set { "stays" } else { "may be pruned" }));
    Ok(())
}
