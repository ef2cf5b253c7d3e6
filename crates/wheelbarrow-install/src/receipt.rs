//! What an install says of itself, in `DEST/.wheelbarrow/receipt.json`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{Sha256, Target};

use crate::Pip;

pub(crate) const RECEIPT_PATH: &str = ".wheelbarrow/receipt.json";

/// Keys sorted, two spaces of indentation, a line end: as `docs/format.md` wants it from both ways of installing.
pub(crate) fn receipt(
    artifact: &VerifiedArtifact,
    target: &Target,
    interpreter: &Interpreter,
    pip: Pip,
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
