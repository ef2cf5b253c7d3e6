//! `wheelbarrow status --root ROOT`

use clap::Args;
use wheelbarrow_release::proof::Verdict;
use wheelbarrow_release::{Status, status};

use super::history::how_it_ended;
use super::root::RootArguments;
use crate::printer::Printer;
use crate::text::{Align, count, table, time};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    root: RootArguments,
}

pub(super) fn run(arguments: &Arguments, printer: &Printer) -> anyhow::Result<()> {
    let status = status(&arguments.root.open()?)?;
    if arguments.root.json {
        return printer.json(&status);
    }
    printer.result(&show(&status));
    Ok(())
}

/// With a word where it is not what should serve.
fn serving(status: &Status) -> String {
    let mut text = status.serving.to_string();
    let live = status.live.as_ref().map(|live| &live.id);
    if let Verdict::One { id } = &status.serving.verdict
        && live != Some(id)
    {
        text.push_str(", which is not live");
    }
    text
}

fn show(status: &Status) -> String {
    let live = match &status.live {
        Some(live) => {
            let version = live.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            format!("{}: {}{version}", live.id, live.name.as_deref().unwrap_or("?"))
        }
        None => "nothing".to_owned(),
    };
    let mut rows = vec![("live", live)];
    if let Some(broken) = &status.broken {
        rows.push(("broken", format!("{broken}: `wheelbarrow rollback` goes to one that is whole")));
    }
    rows.push(("serving", serving(status)));
    rows.push(("releases", count(status.releases, "release")));
    if let Some(story) = &status.last {
        let end = how_it_ended(story);
        let (at, by) = (time(story.at), &story.by);
        rows.push(("last", format!("{} of {} by {by} at {at}: {end}", story.operation, story.id)));
    }
    if let Some(holder) = &status.holder {
        rows.push(("working", holder.to_string()));
    }
    if status.interrupted {
        rows.push((
            "interrupted",
            "the next command recovers; `wheelbarrow recover` does only that".to_owned(),
        ));
    }
    let rows: Vec<_> = rows.into_iter().map(|(what, text)| vec![what.to_owned(), text]).collect();
    table(&[Align::Left, Align::Left], &rows)
}
