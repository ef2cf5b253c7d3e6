//! What an install says of itself, in `DEST/.wheelbarrow/receipt.json`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{Sha256, Target};

use crate::Pip;
use crate::plan::PlannedFile;

pub(crate) const RECEIPT_PATH: &str = ".wheelbarrow/receipt.json";

/// Every file of the install but its bytecode, itself and the receipt, as `sha256sum` writes and checks them.
pub(crate) const SUMS_PATH: &str = ".wheelbarrow/SHA256SUMS";

/// A line a file, ordered by path: 64 digits, two spaces, the path. Where the path has a line end or a backslash, they
/// are escaped, and a backslash in front of the line says so.
pub(crate) fn sums(files: &[PlannedFile<'_>]) -> Vec<u8> {
    let mut files: Vec<&PlannedFile<'_>> = files.iter().collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let mut text = String::new();
    for PlannedFile { path, sha256, .. } in files {
        if path.contains(['\\', '\n', '\r']) {
            let escaped = path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
            text.push_str(&format!("\\{sha256}  {escaped}\n"));
        } else {
            text.push_str(&format!("{sha256}  {path}\n"));
        }
    }
    text.into_bytes()
}

/// Keys sorted, two spaces of indentation, a line end: as `docs/format.md` wants it from both ways of installing.
pub(crate) fn receipt(
    artifact: &VerifiedArtifact,
    target: &Target,
    interpreter: &Interpreter,
    pip: Pip,
    sums: Sha256,
) -> serde_json::Result<Vec<u8>> {
    let manifest = artifact.manifest();
    let [major, minor, micro] = interpreter.version;
    let mut receipt: BTreeMap<&str, Value> = BTreeMap::from([
        ("format", json!(1)),
        (
            "interpreter",
            json!({
                "executable": interpreter.executable,
                "version": format!("{major}.{minor}.{micro}"),
            }),
        ),
        ("manifest_sha256", json!(Sha256::of(artifact.manifest_bytes()))),
        ("method", json!("native")),
        ("name", json!(manifest.name)),
        ("pip", json!(pip == Pip::With)),
        ("sums_sha256", json!(sums)),
        ("target", json!({ "abi": target.abi, "platform": target.platform, "python": target.python })),
        ("wheels", json!(target.wheels)),
    ]);
    if let Some(version) = &manifest.version {
        receipt.insert("version", json!(version));
    }
    let mut text = serde_json::to_vec_pretty(&receipt)?;
    text.push(b'\n');
    Ok(text)
}
