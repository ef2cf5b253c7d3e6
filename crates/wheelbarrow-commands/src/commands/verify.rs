//! `wheelbarrow verify DEST`, `wheelbarrow verify --root ROOT`, `wheelbarrow verify ARTIFACT --allowed-signers FILE`

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use fs_err as fs;
use wheelbarrow_base::Exit;
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_install::{Verification, verify};
use wheelbarrow_release::{Root, live_release};

use super::context::Context;
use super::root::{find, usual_root};
use crate::absolute;
use crate::failure::{CommandError, CommandResult, Refusal};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text;
use crate::verify_artifact::verify_artifact;

#[derive(Args)]
pub struct VerifyArguments {
    /// An install, an artifact, a release, or a site root (its live release)
    #[arg(value_name = "DEST|ARTIFACT", conflicts_with_all = ["root", "release"])]
    destination: Option<PathBuf>,
    /// The site root, whose live release is verified [default: $WHEELBARROW_ROOT]
    #[arg(long, value_name = "ROOT")]
    root: Option<PathBuf>,
    /// A release other than the live one, by its id or number
    #[arg(long, value_name = "ID")]
    release: Option<String>,
    /// The allowed signers of an artifact [default: /etc/wheelbarrow/allowed_signers, if it exists]
    #[arg(long, value_name = "FILE", requires = "destination")]
    allowed_signers: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &VerifyArguments, context: &Context, printer: &Printer) -> CommandResult<()> {
    let progress = Bar::new(printer);
    if let Some(artifact) = arguments.destination.as_deref().filter(|path| !is_directory(path)) {
        let trust = (context.judge)(arguments.allowed_signers.as_deref())?;
        return verify_artifact(artifact, &*trust, arguments.json, printer);
    }
    if arguments.allowed_signers.is_some() {
        return Err(Refusal::usage(
            "--allowed-signers is for an artifact, and that is no file",
            "what is installed is compared without it: its artifact was judged before",
        )
        .into());
    }
    let (root, id) = match &arguments.destination {
        Some(destination) => {
            let destination = absolute(destination)?;
            match Root::of(&destination) {
                Some((root, id)) => (root, id),
                None => {
                    let mut verification = verify(&destination, &progress)?;
                    verification.find_python();
                    return conclude(&verification, arguments, printer);
                }
            }
        }
        None => {
            let root = arguments.root.clone().or_else(usual_root).ok_or_else(|| {
                Refusal::usage("nothing to compare", "name DEST, or `--root ROOT` for what is live there")
            })?;
            let root = Root::open(&absolute(&root)?)?;
            let id = arguments.release.as_ref().map(|id| find(&root, id)).transpose()?;
            (root, id)
        }
    };
    let verification = live_release::verify(&root, &root.complete_or_live(id.as_ref())?, &progress)?;
    conclude(&verification, arguments, printer)
}

/// Whether `path` is or leads to a directory. What another user has mounted there is one, and is asked nothing.
fn is_directory(path: &Path) -> bool {
    match Directory::open(path).map_err(|error| error.kind()) {
        Ok(_) => true,
        Err(ErrorKind::InvalidData) if fs::read_link(path).is_err() => true,
        Err(_) => path.is_dir(),
    }
}

fn conclude(
    verification: &Verification,
    arguments: &VerifyArguments,
    printer: &Printer,
) -> CommandResult<()> {
    if arguments.json {
        printer.json(verification)?;
    } else {
        report(verification, printer);
    }
    if verification.is_clean() { Ok(()) } else { Err(CommandError::Reported(Exit::Differences.code())) }
}

fn report(verification: &Verification, printer: &Printer) {
    let Verification { destination, files, changed, missing, extra, has_more } = verification;
    for (word, paths) in [("changed", changed), ("missing", missing), ("extra", extra)] {
        for path in paths {
            // A name may hold anything but a slash; a line is a line.
            printer.line(&format!("{word:<7} {}", path.escape_debug()));
        }
    }
    if *has_more {
        printer.result("extra   more files and directories than can be named");
    }
    let files = text::count(*files, "file");
    let counts = [(changed, "changed"), (missing, "missing"), (extra, "extra")];
    let mut counts: Vec<_> = counts
        .iter()
        .filter(|(paths, _)| !paths.is_empty())
        .map(|(paths, word)| format!("{} {word}", paths.len()))
        .collect();
    counts.extend(has_more.then(|| "more extra".to_owned()));
    let result = if counts.is_empty() { "all as installed".to_owned() } else { counts.join(", ") };
    printer.done(&format!("{}: {files}, {result}", destination.display()));
}
