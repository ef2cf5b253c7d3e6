//! `wheelbarrow history --root ROOT`

use clap::Args;
use wheelbarrow_release::{End, Outcome, Story, history};

use super::root::RootArguments;
use crate::printer::Printer;
use crate::text::{Align, seconds, table, time};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    root: RootArguments,
}

pub(super) fn run(arguments: &Arguments, printer: &Printer) -> anyhow::Result<()> {
    let stories = history(&arguments.root.open()?)?;
    if arguments.root.json {
        return printer.json(&stories);
    }
    let mut rows = vec![["WHEN", "BY", "WHAT", "RELEASE", "TOOK", "RESULT"].map(str::to_owned).to_vec()];
    rows.extend(stories.iter().map(|story| {
        let took = match &story.end {
            Some(End::Done { milliseconds } | End::Failed { milliseconds, .. }) => seconds(*milliseconds),
            None => "-".to_owned(),
        };
        let (what, id) = (story.operation.to_string(), story.id.to_string());
        vec![time(story.at), story.by.clone(), what, id, took, how_it_ended(story)]
    }));
    printer.result(&table(&[Align::Left; 6], &rows));
    Ok(())
}

pub(super) fn how_it_ended(story: &Story) -> String {
    match &story.end {
        None => "not ended".to_owned(),
        Some(End::Done { .. }) => "done".to_owned(),
        Some(End::Failed { phase, error, outcome, .. }) => {
            let left = match outcome {
                Outcome::Unchanged => "nothing switched",
                Outcome::Reverted => "taken back",
                Outcome::RevertFailed => "could not be taken back",
            };
            format!("failed at the {phase}, {left}: {error}")
        }
    }
}
