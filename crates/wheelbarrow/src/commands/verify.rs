//! `wheelbarrow verify DEST`

use std::path::PathBuf;

use clap::Args;
use wheelbarrow_install::{Verification, verify};

use crate::commands::install::absolute;
use crate::failure::Told;
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where an artifact was installed
    destination: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, printer: &Printer) -> anyhow::Result<()> {
    let verification = verify(&absolute(&arguments.destination)?, &Bar::new(printer))?;
    if arguments.json {
        printer.json(&verification)?;
    } else {
        report(&verification, printer);
    }
    if verification.is_clean() { Ok(()) } else { Err(Told { code: 10 }.into()) }
}

fn report(verification: &Verification, printer: &Printer) {
    let Verification { destination, files, changed, missing, extra } = verification;
    for (word, paths) in [("changed", changed), ("missing", missing), ("extra", extra)] {
        for path in paths {
            // A name may hold anything but a slash; a line is a line.
            printer.result(&format!("{word:<7} {}", path.escape_debug()));
        }
    }
    let files = text::count(*files, "file");
    let counts = [(changed, "changed"), (missing, "missing"), (extra, "extra")];
    let counts: Vec<_> = counts
        .iter()
        .filter(|(paths, _)| !paths.is_empty())
        .map(|(paths, word)| format!("{} {word}", paths.len()))
        .collect();
    let result = if counts.is_empty() { "all as installed".to_owned() } else { counts.join(", ") };
    printer.done(&format!("{}: {files}, {result}", destination.display()));
}
