//! `wheelbarrow history --root ROOT`

use clap::Args;
use wheelbarrow_release::{JournaledOperation, OperationEnd, Outcome, RunCommand, history};

use super::root::{RootArguments, find_id};
use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::text::{Align, seconds, table, time};

#[derive(Args)]
pub struct HistoryArguments {
    /// Show each phase and command of this release, by its id or number
    id: Option<String>,
    /// Show how long each phase and each command took
    #[arg(long)]
    times: bool,
    #[command(flatten)]
    root: RootArguments,
}

pub(super) fn run(arguments: &HistoryArguments, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.open()?;
    let mut journaled_operations = history(&root)?;
    if let Some(text) = &arguments.id {
        let id = find_id(&root, journaled_operations.iter().map(|journaled| &journaled.id), text)?;
        journaled_operations.retain(|journaled| journaled.id == id);
    }
    if arguments.root.json {
        return printer.json(&journaled_operations);
    }
    if arguments.id.is_some() {
        journaled_operations.iter().for_each(|journaled| printer.result(&show(journaled)));
        return Ok(());
    }
    let mut rows = vec![["WHEN", "BY", "WHAT", "RELEASE", "TOOK", "RESULT"].map(str::to_owned).to_vec()];
    rows.extend(journaled_operations.iter().flat_map(|journaled| {
        let (what, id) = (journaled.operation.to_string(), journaled.id.to_string());
        let row = vec![
            time(journaled.at),
            journaled.by.clone(),
            what,
            id,
            took(journaled),
            how_it_ended(journaled),
        ];
        std::iter::once(row).chain(times(journaled).filter(|_| arguments.times))
    }));
    printer.result(&table(&[Align::Left; 6], &rows));
    Ok(())
}

fn took(journaled: &JournaledOperation) -> String {
    journaled.milliseconds().map_or_else(|| "-".to_owned(), seconds)
}

/// A row for each phase, then one for each command.
fn times(journaled: &JournaledOperation) -> impl Iterator<Item = Vec<String>> {
    let phases = journaled.phases.iter().map(|(phase, took)| (phase.to_string(), String::new(), *took));
    let commands = journaled.runs.iter().map(|run| {
        let what = run.hook.clone().unwrap_or_else(|| "command".to_owned());
        (what, run.command.clone(), run.milliseconds)
    });
    let none = String::new;
    phases.chain(commands).map(move |(what, words, took)| {
        vec![none(), none(), format!("  {what}"), none(), seconds(took), words]
    })
}

/// All that is known of one operation.
fn show(journaled: &JournaledOperation) -> String {
    let JournaledOperation { operation, id, at, by, .. } = journaled;
    let head = format!(
        "{} {operation} of {id} by {by}, {}: {}",
        time(*at),
        took(journaled),
        how_it_ended(journaled)
    );
    let phases = journaled.phases.iter().map(|(phase, took)| (phase.to_string(), *took, String::new()));
    let run = |run: &RunCommand| {
        let what = run.hook.as_deref().unwrap_or("prepare");
        let log = run.log.iter().cloned();
        let problem = run.problem.iter().map(|problem| format!("failed: {problem}"));
        let more = log.chain(problem).collect::<Vec<_>>().join("  ");
        (format!("{what}: {}", run.command), run.milliseconds, more)
    };
    let lines = phases.chain(journaled.runs.iter().map(run));
    let rows: Vec<_> =
        lines.map(|(what, took, more)| vec![format!("  {what}"), seconds(took), more]).collect();
    let head = match &journaled.not_pruned {
        Some(problem) => format!("{head}; old releases could not be removed: {problem}"),
        None => head,
    };
    let separator = if rows.is_empty() { "" } else { "\n" };
    format!("{head}{separator}{}", table(&[Align::Left, Align::Right, Align::Left], &rows))
}

pub(super) fn how_it_ended(journaled: &JournaledOperation) -> String {
    match &journaled.end {
        None => "not ended".to_owned(),
        Some(OperationEnd::Done { .. }) => "done".to_owned(),
        Some(OperationEnd::Failed { phase, error, outcome, .. }) => {
            let left = match outcome {
                Outcome::Unchanged => "nothing switched",
                Outcome::Reverted => "rolled back",
                Outcome::RevertFailed => "could not be rolled back",
            };
            format!("failed at the {phase}, {left}: {error}")
        }
    }
}
