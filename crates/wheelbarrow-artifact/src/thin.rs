//! Thin artifacts: without what the host has that they are for. `docs/reference/format.md`, "Thin artifacts", is the
//! specification.
//!
//! The manifest of a thin artifact is that of the full one, byte for byte; so is its signature. What is left out stands in
//! a member of its own, which the manifest does not name.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bytecode::BYTECODE;
use crate::format::{self, Misread};
use crate::manifest::{INTERPRETER_FACTS, NATIVE};

/// Where it stands what a thin artifact leaves out.
pub const THIN_PATH: &str = ".wheelbarrow/thin.json";

/// The format of that member that this code writes, and the only one that it reads.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThinRecord {
    format: u32,
    /// Paths of members, ordered.
    left_out: BTreeSet<String>,
}

/// The text of the member.
pub fn text(left_out: &BTreeSet<String>) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&ThinRecord { format: FORMAT, left_out: left_out.clone() })
}

/// `path` is that of the artifact.
pub(crate) fn read(path: &Path, text: &[u8]) -> Result<BTreeSet<String>, Misread> {
    crate::manifest::check_values(text).map_err(Misread::Wrong)?;
    let ThinRecord { format, left_out } = format::read(path, text, FORMAT)?;
    if format == FORMAT { Ok(left_out) } else { Err(Misread::Wrong(format::unknown(format, FORMAT))) }
}

/// What a host may have: wheels, bytecode, the project's files and the native programs. What starts an install is always
/// there, and so is what is small and differs with every artifact.
pub fn may_be_left_out(path: &str) -> bool {
    match path.split_once('/') {
        Some((".wheelbarrow", _)) => path.starts_with(NATIVE) || path.starts_with(BYTECODE),
        Some(_) => path != INTERPRETER_FACTS,
        None => false,
    }
}

/// Whether a member is code or a static file: what an install leaves under the member's own path.
pub fn is_of_project(path: &str) -> bool {
    path.split_once('/')
        .is_some_and(|(top, _)| ![".wheelbarrow", "wheels", "bootstrap_wheels"].contains(&top))
}
