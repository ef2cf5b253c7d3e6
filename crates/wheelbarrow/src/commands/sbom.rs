//! `wheelbarrow sbom ARTIFACT`

use std::path::PathBuf;

use clap::Args;
use wheelbarrow_artifact::{Anybody, Artifact};
use wheelbarrow_audit::sbom;
use wheelbarrow_base::Exit;

use crate::failure::{CommandResult, Refusal, WithContext};
use crate::printer::Printer;

#[derive(Args)]
pub(crate) struct SbomArguments {
    /// The artifact
    artifact: PathBuf,
    /// The file to write, instead of printing
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &SbomArguments, printer: &Printer) -> CommandResult<()> {
    let artifact = Artifact::open_thin(&arguments.artifact, &Anybody)?;
    let Some(entry) = artifact.archive().find(sbom::PATH) else {
        let message = format!("{} has no SBOM", arguments.artifact.display());
        let hint = Some("it was built by an older wheelbarrow: build it again".to_owned());
        return Err(Refusal { message, hint, exit: Exit::Broken }.into());
    };
    let text = artifact.read_member(entry, sbom::LARGEST)?;
    match &arguments.output {
        Some(output) => wheelbarrow_base::write_atomic(output, &text, 0o666)
            .context(|| format!("cannot write {}", output.display()))?,
        None => printer.result(String::from_utf8_lossy(&text).trim_end()),
    }
    Ok(())
}
