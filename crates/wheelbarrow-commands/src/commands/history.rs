//! `wheelbarrow history --root ROOT`

use clap::Args;
use wheelbarrow_release::{End, Outcome, RunCommand, Story, history};

use super::root::{RootArguments, find_id};
use crate::printer::Printer;
use crate::text::{Align, seconds, table, time};

#[derive(Args)]
pub struct Arguments {
    /// Show each phase and each command of what was done with this release: its id, or its number
    id: Option<String>,
    /// Show how long each phase and each command took
    #[arg(long)]
    times: bool,
    #[command(flatten)]
    root: RootArguments,
}

pub(super) fn run(arguments: &Arguments, printer: &Printer) -> anyhow::Result<()> {
    let root = arguments.root.open()?;
    let mut stories = history(&root)?;
    if let Some(text) = &arguments.id {
        let id = find_id(&root, stories.iter().map(|story| &story.id), text)?;
        stories.retain(|story| story.id == id);
    }
    if arguments.root.json {
        return printer.json(&stories);
    }
    if arguments.id.is_some() {
        stories.iter().for_each(|story| printer.result(&show(story)));
        return Ok(());
    }
    let mut rows = vec![["WHEN", "BY", "WHAT", "RELEASE", "TOOK", "RESULT"].map(str::to_owned).to_vec()];
    rows.extend(stories.iter().flat_map(|story| {
        let (what, id) = (story.operation.to_string(), story.id.to_string());
        let row = vec![time(story.at), story.by.clone(), what, id, took(story), how_it_ended(story)];
        std::iter::once(row).chain(times(story).filter(|_| arguments.times))
    }));
    printer.result(&table(&[Align::Left; 6], &rows));
    Ok(())
}

fn took(story: &Story) -> String {
    story.milliseconds().map_or_else(|| "-".to_owned(), seconds)
}

/// A row for each phase, then one for each command.
fn times(story: &Story) -> impl Iterator<Item = Vec<String>> {
    let phases = story.phases.iter().map(|(phase, took)| (phase.to_string(), String::new(), *took));
    let commands = story.runs.iter().map(|run| {
        let what = run.hook.clone().unwrap_or_else(|| "command".to_owned());
        (what, run.command.clone(), run.milliseconds)
    });
    let none = String::new;
    phases.chain(commands).map(move |(what, words, took)| {
        vec![none(), none(), format!("  {what}"), none(), seconds(took), words]
    })
}

/// All that is known of one operation.
fn show(story: &Story) -> String {
    let Story { operation, id, at, by, .. } = story;
    let head = format!("{} {operation} of {id} by {by}, {}: {}", time(*at), took(story), how_it_ended(story));
    let phases = story.phases.iter().map(|(phase, took)| (phase.to_string(), *took, String::new()));
    let run = |run: &RunCommand| {
        let what = run.hook.as_deref().unwrap_or("prepare");
        let log = run.log.iter().cloned();
        let problem = run.problem.iter().map(|problem| format!("failed: {problem}"));
        let more = log.chain(problem).collect::<Vec<_>>().join("  ");
        (format!("{what}: {}", run.command), run.milliseconds, more)
    };
    let lines = phases.chain(story.runs.iter().map(run));
    let rows: Vec<_> =
        lines.map(|(what, took, more)| vec![format!("  {what}"), seconds(took), more]).collect();
    let separator = if rows.is_empty() { "" } else { "\n" };
    format!("{head}{separator}{}", table(&[Align::Left, Align::Right, Align::Left], &rows))
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
