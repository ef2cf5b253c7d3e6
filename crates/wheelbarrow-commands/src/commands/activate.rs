//! `wheelbarrow activate ID --root ROOT`

use clap::Args;
use wheelbarrow_release::{Activated, Prepare, activate};

use super::root::{RootArguments, WaitArguments, find};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text;

#[derive(Args)]
pub struct Arguments {
    /// The release: its id, or its number
    id: String,
    #[command(flatten)]
    root: RootArguments,
    /// Leave out the commands that prepare a release that was never live
    #[arg(long)]
    no_prepare: bool,
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
        let previous = root.live()?;
        root.complete(&id)?;
        let plan = Activated { root: root.path().to_path_buf(), id, previous, milliseconds: 0 };
        return report(&plan, "would be live", arguments.root.json, printer);
    }
    let progress = Bar::interruptible(printer);
    let prepare = if arguments.no_prepare { Prepare::Skip } else { Prepare::Run };
    let operator = arguments.wait.operator(&progress);
    let activated = activate(&root, &id, &Default::default(), prepare, &operator)?;
    report(&activated, "is live", arguments.root.json, printer)
}

pub(super) fn report(activated: &Activated, what: &str, json: bool, printer: &Printer) -> anyhow::Result<()> {
    if json {
        return printer.json(activated);
    }
    let Activated { id, previous, milliseconds, .. } = activated;
    let before = match previous {
        Some(previous) if previous == id => ", as before".to_owned(),
        Some(previous) => format!(", in place of {previous}"),
        None => String::new(),
    };
    printer.done(&format!("{id} {what}{before} ({})", text::seconds(*milliseconds)));
    Ok(())
}
