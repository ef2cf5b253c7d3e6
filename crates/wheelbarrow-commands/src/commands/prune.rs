//! `wheelbarrow prune --root ROOT`

use clap::Args;
use wheelbarrow_release::{PruneOptions, Pruned, SiteData, plan_prune, prune};

use super::root::{RootArguments, WaitArguments};
use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text::count;

#[derive(Args)]
pub struct PruneArguments {
    #[command(flatten)]
    root: RootArguments,
    /// The number of good releases to keep [default: as the settings say, else 5]
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Also remove releases that hold files written by the site
    #[arg(long)]
    discard_data: bool,
    /// Print what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArguments,
}

pub(super) fn run(arguments: &PruneArguments, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.open()?;
    let options = PruneOptions { keep: arguments.keep, written: written(arguments.discard_data) };
    let pruned = if arguments.dry_run {
        plan_prune(&root, &options)?
    } else {
        let pruned = prune(&root, &options, &arguments.wait.operator(&Bar::interruptible(printer)))?;
        printer.deed();
        pruned
    };
    if arguments.root.json {
        return printer.json(&pruned);
    }
    note(&pruned, printer);
    pruned.removed.iter().for_each(|id| printer.result(&id.to_string()));
    let what = if arguments.dry_run { "would be removed" } else { "removed" };
    printer.done(&format!("{} {what}, {} kept", count(pruned.removed.len(), "release"), pruned.kept.len()));
    Ok(())
}

pub(super) fn written(discard: bool) -> SiteData {
    if discard { SiteData::Discarded } else { SiteData::Kept }
}

/// What came of pruning after an operation that was answered already.
pub(super) fn note_after(pruned: &Pruned, printer: &Printer) {
    if let Some(problem) = &pruned.problem {
        printer.note(&format!("old releases could not be removed: {problem}"));
    }
    if !pruned.removed.is_empty() {
        printer.detail(&format!("{} removed", count(pruned.removed.len(), "old release")));
    }
    note(pruned, printer);
}

/// What is kept for the files in it, and what is removed while somebody may run from it.
pub(super) fn note(pruned: &Pruned, printer: &Printer) {
    for (id, data) in &pruned.data {
        printer.note(&format!(
            "{id} is kept for the files that were written into it: {data}; `wheelbarrow rescue {id}` copies them to \
             ROOT/shared/rescued, `wheelbarrow remove {id} --discard-data` removes it; `[release] shared` keeps such files \
             outside of releases"
        ));
    }
    if pruned.is_partial && !pruned.removed.is_empty() {
        printer.note("only root can see the releases that processes of other users run");
    }
}
