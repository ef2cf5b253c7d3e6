//! `wheelbarrow verify DEST`, `wheelbarrow verify --root ROOT`

use std::path::PathBuf;

use clap::Args;
use wheelbarrow_install::{Verification, verify};
use wheelbarrow_release::{Root, live};

use super::root::find;
use crate::absolute;
use crate::failure::{Refusal, Told};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text;

#[derive(Args)]
pub struct Arguments {
    /// Where an artifact was installed
    #[arg(value_name = "DEST", conflicts_with_all = ["root", "release"])]
    destination: Option<PathBuf>,
    /// A site root, of which the live release is compared [default: $WHEELBARROW_ROOT]
    #[arg(long, value_name = "ROOT")]
    root: Option<PathBuf>,
    /// Another release than the live one, by its id or its number
    #[arg(long, value_name = "ID")]
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
            let root = root.clone().or_else(usual_root).ok_or_else(|| {
                Refusal::usage("nothing to compare", "name DEST, or `--root ROOT` for what is live there")
            })?;
            let root = Root::open(&absolute(&root)?)?;
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

/// Not by clap: it would be in the way of DEST.
fn usual_root() -> Option<PathBuf> {
    std::env::var_os("WHEELBARROW_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from)
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
