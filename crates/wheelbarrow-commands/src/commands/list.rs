//! `wheelbarrow list --root ROOT`

use clap::Args;
use wheelbarrow_release::{ListedRelease, ReleaseState, list};

use super::root::{RootArguments, or_dash};
use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::text::{Align, table, time};

#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    root: RootArguments,
}

pub(super) fn run(arguments: &ListArguments, printer: &Printer) -> CommandResult<()> {
    let listed = list(&arguments.root.open()?)?;
    if arguments.root.json {
        return printer.json(&listed);
    }
    let mut rows = vec![["RELEASE", "STATE", "VERSION", "MADE", "BY", "PARENT"].map(str::to_owned).to_vec()];
    rows.extend(listed.iter().map(row));
    printer.result(&table(&[Align::Left; 6], &rows));
    listed.iter().filter_map(|listed| listed.needs.as_ref()).for_each(|needs| printer.note(needs));
    Ok(())
}

fn row(listed: &ListedRelease) -> Vec<String> {
    let pinned = if listed.is_pinned { ", pinned" } else { "" };
    vec![
        listed.id.to_string(),
        format!("{}{pinned}", state(listed.state)),
        listed.version.clone().unwrap_or_else(|| "-".to_owned()),
        listed.made_at.map_or_else(|| "-".to_owned(), time),
        listed.by.clone().unwrap_or_else(|| "-".to_owned()),
        or_dash(listed.parent.as_ref()),
    ]
}

pub(super) fn state(state: ReleaseState) -> &'static str {
    match state {
        ReleaseState::Live => "live",
        ReleaseState::Good => "good",
        ReleaseState::Staged => "staged",
        ReleaseState::Bad => "bad",
        ReleaseState::Incomplete => "incomplete",
        ReleaseState::Newer => "newer",
    }
}
