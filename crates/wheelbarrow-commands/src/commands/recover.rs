//! `wheelbarrow recover --root ROOT`

use clap::Args;
use wheelbarrow_release::{recover, recover_moved};

use super::root::{RootArguments, WaitArguments};
use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::progress::Bar;

#[derive(Args)]
pub struct RecoverArguments {
    #[command(flatten)]
    root: RootArguments,
    /// Correct the paths in releases after the root was moved
    #[arg(long)]
    moved: bool,
    #[command(flatten)]
    wait: WaitArguments,
}

pub(super) fn run(arguments: &RecoverArguments, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.open()?;
    let progress = Bar::interruptible(printer);
    let operator = arguments.wait.operator(&progress);
    let recovered =
        if arguments.moved { recover_moved(&root, &operator)? } else { recover(&root, &operator)? };
    printer.deed();
    if arguments.root.json {
        printer.json(&recovered)?;
    } else if recovered.is_nothing() {
        printer.done("nothing to recover");
    } else {
        recovered
            .moved
            .iter()
            .for_each(|id| printer.done(&format!("{id} repaired: it names the root's new place")));
        recovered.removed.iter().for_each(|id| printer.done(&format!("{id} removed: it never was complete")));
        if let (Some(operation), Some(id)) = (recovered.interrupted, &recovered.id) {
            let now = if recovered.committed { "live and verified" } else { "not live" };
            printer.done(&format!("{operation} of {id} was interrupted: it is {now}"));
        }
    }
    recovered.failure.map_or(Ok(()), |failure| Err(failure.into()))
}
