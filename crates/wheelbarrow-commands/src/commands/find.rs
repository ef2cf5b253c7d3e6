//! `wheelbarrow find SHA256|ARTIFACT --root ROOT`

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::{Anybody, Artifact};
use wheelbarrow_base::beneath;
use wheelbarrow_release::{FoundRelease, Root, find_release, probe_python};

use super::list::state;
use super::root::RootArguments;
use crate::absolute;
use crate::failure::CommandResult;
use crate::printer::Printer;

#[derive(Args)]
pub struct FindArguments {
    /// The artifact, or the SHA-256 of its manifest
    artifact: String,
    /// Find only a release that runs on this Python
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    #[command(flatten)]
    root: RootArguments,
}

pub(super) fn run(arguments: &FindArguments, printer: &Printer) -> CommandResult<()> {
    let manifest = match digest(&arguments.artifact) {
        Some(digest) => digest,
        None => Sha256::of(Artifact::open_thin(Path::new(&arguments.artifact), &Anybody)?.manifest_bytes()),
    };
    let path = absolute(&arguments.root.root)?;
    let probe = |python: &Path| probe_python(python, None, &Default::default());
    let python = arguments.python.as_deref().map(probe).transpose()?;
    let python = python.as_ref().map(|python| python.executable.as_path());
    // Where there is no root yet, there is no release.
    let found = match beneath::is_missing(&path.join("releases")) {
        false => find_release(&Root::open(&path)?, &manifest, &Default::default(), python)?,
        true => FoundRelease { id: None, state: None, live: None },
    };
    if arguments.root.json {
        return printer.json(&found);
    }
    match (&found.id, found.state) {
        (Some(id), Some(is)) => printer.result(&format!("{id} {}", state(is))),
        _ => printer.done("no good release of it has the current environment"),
    }
    Ok(())
}

fn digest(text: &str) -> Option<Sha256> {
    let text: StrDeserializer<'_, Error> = text.into_deserializer();
    Sha256::deserialize(text).ok()
}
