//! `wheelbarrow diff OLD NEW`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wheelbarrow_artifact::{Anybody, Artifact};
use wheelbarrow_build::difference::{Change, Difference, difference};

use crate::failure::{CommandResult, Refusal, WithContext};
use crate::pages;
use crate::pages::artifact::needs;
use crate::pages::difference::{change, growth, value, version, versions};
use crate::printer::Printer;
use crate::text::{Align, bytes, count, table};

/// Files that are named before the rest is counted.
const MOST_FILES: usize = 20;

#[derive(Args)]
pub(crate) struct DiffArguments {
    /// The older artifact
    old: PathBuf,
    /// The newer artifact
    new: PathBuf,
    /// Write a page about it, which needs no network and runs no script
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the difference as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &DiffArguments, printer: &Printer) -> CommandResult<()> {
    let open = |path| Artifact::open_thin(path, &Anybody);
    let difference = difference(&open(&arguments.old)?, &open(&arguments.new)?);
    if let Some(path) = &arguments.html {
        write_page(path, &pages::difference::page(&difference))?;
    }
    match arguments.json {
        true => printer.json(&json!(difference)),
        false => {
            printer.result(&told(&difference, printer.is_verbose()));
            Ok(())
        }
    }
}

/// Writes a page, all of it or nothing. `--html OLD NEW` with the page forgotten would otherwise replace an artifact.
pub(super) fn write_page(path: &std::path::Path, text: &str) -> CommandResult<()> {
    let is_artifact = path.is_file() && Artifact::open_thin(path, &Anybody).is_ok();
    if is_artifact || path.extension().is_some_and(|extension| extension == "zip") {
        let message = format!("{} is an artifact, not a page", path.display());
        return Err(Refusal::usage(message, "name the page first: `--html page.html`").into());
    }
    wheelbarrow_base::write_atomic(path, text.as_bytes(), 0o666)
        .context(|| format!("cannot write {}", path.display()))
}

/// A paragraph for each kind of thing that differs.
fn told(difference: &Difference, all: bool) -> String {
    let Difference { old, new, thin_bytes, .. } = difference;
    let mut head = format!("{} {} -> {} {}", old.name, version(old), new.name, version(new));
    head += &format!(", {} -> {}", bytes(old.bytes), bytes(new.bytes));
    let mut paragraphs = vec![head];
    if difference.is_empty() {
        paragraphs.push("both install the same".to_owned());
    }
    let left = [Align::Left; 5];
    let mut add = |name: &str, rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            paragraphs.push(format!("{name}\n{}", table(&left, &rows)));
        }
    };
    add("distributions", distributions(difference));
    add("settings", settings(difference));
    add("targets", targets(difference));
    add("allowed", allowed(difference));
    add("files", files(difference, all));
    paragraphs.push(format!("a thin artifact for a host that has the old one: about {}", bytes(*thin_bytes)));
    paragraphs.join("\n\n")
}

fn distributions(difference: &Difference) -> Vec<Vec<String>> {
    let rows = difference.distributions.iter().map(|distribution| {
        let size = |side: &Option<_>| {
            side.as_ref().map_or(0, |side: &wheelbarrow_build::difference::Versions| side.bytes)
        };
        let arrow = match (&distribution.old, &distribution.new) {
            (Some(old), Some(new)) if old.versions != new.versions => {
                format!("{} -> {}", versions(Some(old)), versions(Some(new)))
            }
            (old, new) => versions(new.as_ref().or(old.as_ref())),
        };
        let grown = growth(size(&distribution.old), size(&distribution.new));
        vec![format!("  {}", change(distribution.change)), distribution.name.clone(), arrow, grown]
    });
    rows.collect()
}

fn settings(difference: &Difference) -> Vec<Vec<String>> {
    let text = |side: &Option<_>| if side.is_none() { "nothing".to_owned() } else { value(side.as_ref()) };
    let rows = difference.settings.iter().map(|setting| {
        vec![format!("  {}", setting.key), format!("{} -> {}", text(&setting.old), text(&setting.new))]
    });
    rows.collect()
}

fn targets(difference: &Difference) -> Vec<Vec<String>> {
    let rows = difference.targets.iter().map(|target| {
        let needed = match (&target.old, &target.new) {
            (Some(old), Some(new)) => format!("needed {}, needs {}", needs(old), needs(new)),
            _ => String::new(),
        };
        vec![format!("  {}", change(target.change)), target.target.clone(), needed]
    });
    rows.collect()
}

fn allowed(difference: &Difference) -> Vec<Vec<String>> {
    let rows = difference.allowed.iter().map(|allowance| {
        let allowed = &allowance.allowed;
        let reason = allowed.reason.clone().unwrap_or_else(|| "no reason given".to_owned());
        vec![format!("  {}", change(allowance.change)), format!("{}:{}", allowed.rule, allowed.name), reason]
    });
    rows.collect()
}

/// The first files, and how many more there are.
fn files(difference: &Difference, all: bool) -> Vec<Vec<String>> {
    let files = &difference.files;
    let shown = if all { files.len() } else { MOST_FILES };
    let mut rows: Vec<_> = files
        .iter()
        .take(shown)
        .map(|file| {
            let grown = growth(file.old.unwrap_or(0), file.new.unwrap_or(0));
            vec![format!("  {}", change(file.change)), file.path.clone(), grown]
        })
        .collect();
    if let Some(rest) = files.get(shown..).filter(|rest| !rest.is_empty()) {
        let number = |wanted| rest.iter().filter(|file| file.change == wanted).count();
        let [added, removed] = [Change::Added, Change::Removed].map(number);
        let text = format!(
            "and {}, {added} of them added, {removed} removed; -v lists them",
            count(rest.len(), "more file")
        );
        rows.push(vec![format!("  {text}")]);
    }
    rows
}
