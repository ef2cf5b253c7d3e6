//! `wheelbarrow verify DEST`, `wheelbarrow verify --root ROOT`

use std::path::{Path, PathBuf};

use clap::Args;
use wheelbarrow_install::{Verification, verify};
use wheelbarrow_release::{Root, live};

use super::root::find;
use crate::absolute;
use crate::failure::Told;
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text;

#[derive(Args)]
pub struct Arguments {
    /// Where an artifact was installed
    #[arg(value_name = "DEST", required_unless_present = "root", conflicts_with_all = ["root", "release"])]
    destination: Option<PathBuf>,
    /// A site root, of which the live release is compared
    #[arg(long, value_name = "ROOT")]
    root: Option<PathBuf>,
    /// Another release than the live one, by its id or its number
    #[arg(long, value_name = "ID", requires = "root")]
    release: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, printer: &Printer) -> anyhow::Result<()> {
    let progress = Bar::new(printer);
    let verification = match (&arguments.destination, &arguments.root) {
        (Some(destination), _) => verify(&absolute(destination)?, &progress)?,
        (None, root) => {
            let root = Root::open(&absolute(root.as_deref().unwrap_or(Path::new(".")))?)?;
            let id = arguments.release.as_ref().map(|id| find(&root, id)).transpose()?;
            live::verify(&root, &live::release(&root, id.as_ref())?, &progress)?
        }
    };
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
