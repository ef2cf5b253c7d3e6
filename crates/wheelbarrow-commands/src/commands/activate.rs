//! `wheelbarrow activate ID --root ROOT`

use clap::Args;
use wheelbarrow_release::{Activated, Changes, ReleaseId, activate};

use super::changes::lines;
use super::root::{SwitchArguments, find};
use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text;

#[derive(Args)]
pub struct ActivateArguments {
    /// The release, by its id or number
    id: String,
    #[command(flatten)]
    switch: SwitchArguments,
}

pub(super) fn run(arguments: &ActivateArguments, printer: &Printer) -> CommandResult<()> {
    let ActivateArguments { id, switch } = arguments;
    let (root, json) = (switch.root.open()?, switch.root.json);
    let id = find(&root, id)?;
    if switch.dry_run {
        let previous = root.live()?;
        root.complete(&id)?;
        let (root, changes) = (root.path().to_path_buf(), Changes::default());
        let plan = Activated { root, id, previous, milliseconds: 0, changes, unproved: None };
        return report(&plan, "would be live", json, printer);
    }
    let progress = Bar::interruptible(printer);
    let operator = switch.operator(&progress);
    let activated = activate(&root, &id, switch.prepare(), &operator)?;
    printer.deed();
    report(&activated, "is live", json, printer)
}

pub(super) fn report(activated: &Activated, what: &str, json: bool, printer: &Printer) -> CommandResult<()> {
    if json {
        return printer.json(activated);
    }
    let Activated { id, previous, milliseconds, unproved, changes, .. } = activated;
    let before = match previous {
        Some(previous) if previous == id => ", as before".to_owned(),
        Some(previous) => format!(", in place of {previous}"),
        None => String::new(),
    };
    let seconds = text::seconds(*milliseconds);
    match unproved {
        Some(found) => printer.result(&does_not_serve(id, &before, *milliseconds, found)),
        None => printer.done(&format!("{id} {what}{before} ({seconds}){}", lines(changes))),
    }
    Ok(())
}

/// In place of "is live". People read this, even with --quiet.
pub(super) fn does_not_serve(id: &ReleaseId, before: &str, milliseconds: u64, found: &str) -> String {
    let seconds = text::seconds(milliseconds);
    format!("`current` leads to {id}{before} ({seconds}), which does not serve: {found}; restart the server")
}
