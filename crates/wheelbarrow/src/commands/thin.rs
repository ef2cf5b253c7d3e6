//! `wheelbarrow thin ARTIFACT --have INVENTORY | --base OLD -o THIN`

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::inventory::Inventory;
use wheelbarrow_build::BuildError;
use wheelbarrow_build::thin::{inventory_of, left_out, write};

use crate::failure::{CommandResult, Refusal};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text::{bytes, count};

#[derive(Args)]
pub(crate) struct ThinArguments {
    /// The artifact
    artifact: PathBuf,
    /// The inventory of the host: the output of `wheelbarrow store inventory --root ROOT --json`
    #[arg(long, value_name = "INVENTORY", required_unless_present = "base", conflicts_with = "base")]
    have: Option<PathBuf>,
    /// A full artifact that was deployed on the host
    #[arg(long, value_name = "ARTIFACT")]
    base: Option<PathBuf>,
    /// The thin artifact to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Print the sizes as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &ThinArguments, printer: &Printer) -> CommandResult<()> {
    let ThinArguments { artifact: path, have, base, output, json } = arguments;
    for read in [Some(path), have.as_ref(), base.as_ref()].into_iter().flatten() {
        if is_same(read, output) {
            let message = format!("{} would be written over what it is made from", output.display());
            return Err(Refusal::usage(message, "`-o` names another file").into());
        }
    }
    let progress = Bar::interruptible(printer);
    let inventory = match (have, base) {
        (Some(have), _) => Inventory::read(have)?,
        (None, Some(base)) => inventory_of(Artifact::open(base)?.manifest()),
        (None, None) => Inventory::default(),
    };
    let artifact = Artifact::open(path)?.verify(&progress)?;
    let thinned =
        write(&artifact, &left_out(artifact.manifest(), &inventory), output).map_err(BuildError::from)?;
    printer.deed();
    let size = artifact.size();
    if *json {
        return printer.json(&json!({
            "full": { "path": path, "bytes": size },
            "thin": { "path": output, "bytes": thinned.size },
            "left_out": thinned.left_out,
        }));
    }
    let (thin, full, files) = (bytes(thinned.size), bytes(size), count(thinned.left_out, "file"));
    printer.done(&format!("{}: {thin} of {full}; {files} left out", output.display()));
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    let inode = |path: &Path| fs_err::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    inode(one).is_some_and(|found| inode(other) == Some(found))
}
