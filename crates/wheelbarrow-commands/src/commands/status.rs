//! `wheelbarrow status --root ROOT`

use std::time::Duration;

use clap::Args;
use wheelbarrow_base::Exit;
use wheelbarrow_release::doctor::Finding;
use wheelbarrow_release::proof::{Process, Service, Verdict, judge};
use wheelbarrow_release::{
    AskSchema, BundledPython, Health, HealthProblem, Level, Schema, Status, health, status,
};

use super::history::how_it_ended;
use super::root::RootArguments;
use crate::failure::{CommandError, CommandResult, with_root};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text::{Align, count, table, time};

#[derive(Args)]
pub struct StatusArguments {
    #[command(flatten)]
    root: RootArguments,
    /// Also query the migrations of the database, which starts the site's Python
    #[arg(long)]
    schema: bool,
    /// Probe the site and exit with a code for monitors: 0 if the live release serves, 11 if it does not, 20 for
    /// warnings
    #[arg(long)]
    check: bool,
    /// The limit of the check, in seconds
    #[arg(long, value_name = "SECONDS", requires = "check", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

pub(super) fn run(arguments: &StatusArguments, printer: &Printer) -> CommandResult<()> {
    let ask = if arguments.schema { AskSchema::Yes } else { AskSchema::No };
    let (root, progress) = (arguments.root.open()?, Bar::interruptible(printer));
    if arguments.check {
        let health = health(&root, ask, Duration::from_secs(arguments.timeout), &progress)?;
        return conclude(&health, arguments.root.json, printer);
    }
    let status = status(&root, ask, &progress)?;
    if arguments.root.json {
        return printer.json(&status);
    }
    printer.result(&show(&status));
    Ok(())
}

/// A line for each finding, the worst first, since monitors show the first line; the exit code is that of the worst.
fn conclude(health: &Health, json: bool, printer: &Printer) -> CommandResult<()> {
    if json {
        printer.json(health)?;
    } else {
        health.findings.iter().for_each(|ailment| printer.line(&line(ailment)));
    }
    let exit = match health.level() {
        Some(Level::Critical) => Exit::Unhealthy,
        Some(Level::Warning) => Exit::Warnings,
        None if json => return Ok(()),
        None => {
            printer.line(&well(health));
            return Ok(());
        }
    };
    Err(CommandError::Reported(exit.code()))
}

fn line(ailment: &HealthProblem) -> String {
    let level = match ailment.level {
        Level::Critical => "critical",
        Level::Warning => "warning",
    };
    let Finding { rule, place, what, hint } = &ailment.finding;
    format!("{level}: {rule}: {place}: {what} (hint: {})", with_root(hint)).replace('\n', " ")
}

fn well(health: &Health) -> String {
    let (status, live) = (&health.status, health.status.live.as_ref());
    let live = live.map(|live| live.id.to_string()).unwrap_or_default();
    let probed = if health.is_probed { "answers the probe" } else { "no probe is configured" };
    let draining = match status.draining.len() {
        0 => String::new(),
        number => format!("; {} draining", count(number, "old unit")),
    };
    format!("ok: {live} is live, {probed}; {}{draining}", serving(status))
}

/// What the processes of a unit run, but for those of the server, which has a row of its own.
fn runs(status: &Status, running: &Service) -> Option<String> {
    let is_of_server = |process: &Process| status.serving.processes.iter().any(|one| one.pid == process.pid);
    let is_known = status.serving.unit.is_some() || status.serving.listener.is_some();
    let stem = |unit: &str| unit.trim_end_matches(".service").to_owned();
    if status.unit.as_ref().is_some_and(|unit| running.unit.as_deref().map(stem) == Some(stem(&unit.unit))) {
        return None;
    }
    let mut running = running.clone();
    if is_known {
        running.processes.retain(|process| !is_of_server(process));
        running.verdict = judge(&running.processes);
    }
    if running.processes.is_empty() || running.processes == status.serving.processes {
        return None;
    }
    let unit = running.unit.as_deref().unwrap_or("no unit");
    let processes = match running.processes.len() {
        1 => "1 process".to_owned(),
        number => format!("{number} processes"),
    };
    let is_one_of = |units: &[String]| units.iter().any(|one| one == unit);
    let ending = match () {
        () if is_one_of(&status.draining) => ", draining",
        () if is_one_of(&status.failing) => ", stopping after a failure",
        () => "",
    };
    Some(format!("{unit}, {processes}: {}{ending}", judged(status, &running)))
}

fn serving(status: &Status) -> String {
    let runs = judged(status, &status.serving);
    match &status.doubt {
        // That all of them run a release does not mean that they serve it.
        Some(doubt) => format!("{}; {doubt}", runs.replacen("every process runs", "the processes run", 1)),
        None => runs,
    }
}

/// With a word where it is not what should run.
fn judged(status: &Status, service: &Service) -> String {
    let mut text = service.to_string();
    let live = status.live.as_ref().map(|live| &live.id);
    if let Verdict::One { id } = &service.verdict
        && live != Some(id)
    {
        text.push_str(", which is not live");
    }
    text
}

fn show_schema(schema: &Schema) -> String {
    match &schema.unknown {
        Some(reason) => format!("not known: {reason}"),
        None if schema.due.is_empty() => {
            format!("{} applied, none pending", count(schema.applied, "migration"))
        }
        None => format!("{} applied, pending: {}", count(schema.applied, "migration"), schema.due.join(", ")),
    }
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
        let way =
            status.broken_hint.as_deref().unwrap_or("`wheelbarrow rollback` returns to a complete release");
        rows.push(("broken", with_root(&format!("{broken}; {way}"))));
    }
    if let Some(BundledPython { version, path }) = &status.interpreter {
        rows.push(("python", format!("{version}, bundled, in {}", path.display())));
    }
    rows.push(("serving", serving(status)));
    let troubled = status
        .services
        .iter()
        .filter_map(|service| Some(("service", format!("{}: {}", service.name, service.trouble.as_ref()?))));
    rows.extend(troubled);
    let timers = status.services.iter().filter_map(|service| {
        let next = service.timer.as_ref()?.next_at;
        let next = next.map_or_else(|| "no next run".to_owned(), |at| format!("next run at {}", time(at)));
        Some(("timer", format!("{}: {next}", service.name)))
    });
    rows.extend(timers);
    if let Some(elsewhere) = status.singletons.as_ref().filter(|found| !found.runs) {
        rows.push(("elsewhere", format!("{}: one host of the fleet runs it", elsewhere.services.join(", "))));
    }
    rows.extend(status.running.iter().filter_map(|running| Some(("running", runs(status, running)?))));
    if let Some(schema) = status.fingerprint.as_ref().and_then(|fingerprint| fingerprint.schema.as_ref()) {
        rows.push(("schema", show_schema(schema)));
    }
    rows.push(("releases", count(status.releases, "release")));
    rows.extend(status.allowed.iter().map(|allowed| ("allowed", format!("check {allowed}"))));
    for (id, data) in &status.data {
        rows.push(("data", format!("{id} is kept for the files that were written into it: {data}")));
    }
    if let Some(journaled) = &status.last {
        let end = how_it_ended(journaled);
        let (at, by) = (time(journaled.at), &journaled.by);
        rows.push(("last", format!("{} of {} by {by} at {at}: {end}", journaled.operation, journaled.id)));
    }
    if !status.is_history_readable {
        rows.push((
            "last",
            "not known: only the owner and the group of the root may read its journal".to_owned(),
        ));
    }
    if let Some(holder) = &status.holder {
        rows.push(("working", holder.to_string()));
    }
    if !status.trash.is_empty() {
        let names = status.trash.iter().filter_map(|path| path.file_name()?.to_str()).collect::<Vec<_>>();
        let what = "could not be deleted; `wheelbarrow recover` shows the reason";
        rows.push(("in the trash", format!("{}: {what}", names.join(", "))));
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
