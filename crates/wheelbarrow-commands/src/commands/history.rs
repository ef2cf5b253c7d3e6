//! `wheelbarrow history --root ROOT`

use clap::Args;
use wheelbarrow_release::{End, Outcome, Story, history};

use super::root::RootArguments;
use crate::printer::Printer;
use crate::text::{Align, seconds, table, time};

#[derive(Args)]
pub struct Arguments {
    /// Show how long each phase and each command took
    #[arg(long)]
    times: bool,
    #[command(flatten)]
    root: RootArguments,
}

pub(super) fn run(arguments: &Arguments, printer: &Printer) -> anyhow::Result<()> {
    let stories = history(&arguments.root.open()?)?;
    if arguments.root.json {
        return printer.json(&stories);
    }
    let mut rows = vec![["WHEN", "BY", "WHAT", "RELEASE", "TOOK", "RESULT"].map(str::to_owned).to_vec()];
    rows.extend(stories.iter().flat_map(|story| {
        let took = story.milliseconds().map_or_else(|| "-".to_owned(), seconds);
        let (what, id) = (story.operation.to_string(), story.id.to_string());
        let row = vec![time(story.at), story.by.clone(), what, id, took, how_it_ended(story)];
        std::iter::once(row).chain(times(story).filter(|_| arguments.times))
    }));
    printer.result(&table(&[Align::Left; 6], &rows));
    Ok(())
}

/// A row for each phase, then one for each command.
fn times(story: &Story) -> impl Iterator<Item = Vec<String>> {
    let phases = story.phases.iter().map(|(phase, took)| (phase.to_string(), String::new(), *took));
    let commands = story.commands.iter().map(|(words, took)| ("command".to_owned(), words.clone(), *took));
    let none = String::new;
    phases.chain(commands).map(move |(what, words, took)| {
        vec![none(), none(), format!("  {what}"), none(), seconds(took), words]
    })
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
