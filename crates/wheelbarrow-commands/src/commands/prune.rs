//! `wheelbarrow prune --root ROOT`

use clap::Args;
use wheelbarrow_release::{Pruned, plan_prune, prune};

use super::root::{RootArguments, WaitArguments};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text::count;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    root: RootArguments,
    /// How many good releases stay [default: as the settings say, else 5]
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Say what would be removed, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArguments,
}

pub(super) fn run(arguments: &Arguments, printer: &Printer) -> anyhow::Result<()> {
    let root = arguments.root.open()?;
    let pruned = if arguments.dry_run {
        plan_prune(&root, arguments.keep)?
    } else {
        let pruned = prune(&root, arguments.keep, &arguments.wait.operator(&Bar::interruptible(printer)))?;
        printer.deed();
        pruned
    };
    if arguments.root.json {
        return printer.json(&pruned);
    }
    note_what_is_hidden(&pruned, printer);
    pruned.removed.iter().for_each(|id| printer.result(&id.to_string()));
    let what = if arguments.dry_run { "would be removed" } else { "removed" };
    printer.done(&format!("{} {what}, {} kept", count(pruned.removed.len(), "release"), pruned.kept.len()));
    Ok(())
}

/// What is removed while somebody may run from it.
pub(super) fn note_what_is_hidden(pruned: &Pruned, printer: &Printer) {
    if pruned.is_partial && !pruned.removed.is_empty() {
        printer.note("which releases the processes of other users run from is seen by root only");
    }
}
