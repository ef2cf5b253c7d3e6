//! Verifies an artifact file: by its manifest and by the allowed signers.

use std::path::Path;

use serde::Serialize;
use wheelbarrow_artifact::{Artifact, SIGNATURE_PATH, Trust};

use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text;

/// Who may sign what is installed on this host, where there is such a file.
pub const HOST_SIGNERS: &str = "/etc/wheelbarrow/allowed_signers";

#[derive(Serialize)]
struct Judged<'a> {
    artifact: &'a Path,
    members: usize,
    /// How many members a thin artifact leaves out.
    left_out: usize,
    signed_by: Option<&'a str>,
}

/// Every byte against the manifest, and that against the signature.
pub fn verify_artifact(path: &Path, trust: &dyn Trust, json: bool, printer: &Printer) -> CommandResult<()> {
    let artifact = Artifact::open_thin(path, trust)?.verify(&Bar::new(printer))?;
    let left_out = artifact.left_out().len();
    let members = artifact.manifest().members.len() - left_out;
    let judged = Judged { artifact: path, members, left_out, signed_by: artifact.vouched_by() };
    if json {
        return printer.json(&judged);
    }
    let is_signed = artifact.archive().find(SIGNATURE_PATH).is_some();
    let signed = match judged.signed_by {
        Some(signer) => format!("signed by {signer}"),
        None if is_signed => "signed; the signer was not verified (--allowed-signers)".to_owned(),
        None => "not signed".to_owned(),
    };
    let thin = match left_out {
        0 => String::new(),
        left_out => format!(", {left_out} left out"),
    };
    let members = text::count(members, "member");
    printer.done(&format!("{}: {members}, all as built{thin}; {signed}", path.display()));
    Ok(())
}
