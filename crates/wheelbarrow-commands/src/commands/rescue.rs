//! `wheelbarrow rescue ID --root ROOT`

use clap::Args;
use wheelbarrow_base::Exit;
use wheelbarrow_release::{plan_rescue, rescue};

use super::root::{RootArguments, WaitArguments, find};
use crate::failure::{CommandError, CommandResult};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text::count;

#[derive(Args)]
pub struct RescueArguments {
    /// The release, by its id or number
    id: String,
    #[command(flatten)]
    root: RootArguments,
    /// Print the files that would be copied, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArguments,
}

pub(super) fn run(arguments: &RescueArguments, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.open()?;
    let id = find(&root, &arguments.id)?;
    if arguments.dry_run {
        let files: Vec<_> =
            plan_rescue(&root, &id)?.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        if arguments.root.json {
            return printer.json(&serde_json::json!({ "root": root.path(), "id": id, "files": files }));
        }
        files.iter().for_each(|path| printer.result(&path.escape_debug().to_string()));
        printer.done(&format!("{} would be copied", count(files.len(), "file")));
        return Ok(());
    }
    let rescued = rescue(&root, &id, &arguments.wait.operator(&Bar::interruptible(printer)))?;
    printer.deed();
    let copied = &rescued.copied;
    if arguments.root.json {
        printer.json(&rescued)?;
    } else if let Some(path) = &rescued.path {
        printer.result(&path.display().to_string());
    }
    if !copied.links.is_empty() {
        let links: Vec<_> = copied.links.iter().map(|path| path.escape_debug().to_string()).collect();
        printer.note(&format!("links are not copied: {}", links.join(", ")));
    }
    for failed in &copied.failed {
        printer.note(&format!("not copied: {}: {}", failed.path.escape_debug(), failed.reason));
    }
    match (copied.failed.is_empty(), &rescued.path) {
        (false, _) => return Err(CommandError::Reported(Exit::Failed.code())),
        _ if arguments.root.json => {}
        (true, None) => printer.done(&format!("{id} holds no files that the site has written")),
        (true, Some(_)) => printer.done(&format!(
            "{} copied; `wheelbarrow remove {id} --discard-data` removes the release",
            count(copied.files, "file")
        )),
    }
    Ok(())
}
