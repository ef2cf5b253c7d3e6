//! Thin artifacts: artifacts without the members that their host has already. `docs/reference/format.md`,
//! "Thin artifacts", is the specification.
//!
//! The manifest and the signature of a thin artifact are those of the full artifact, byte for byte. A
//! separate member, which the manifest does not name, lists the members that are left out.

use std::collections::BTreeSet;
use std::path::Path;

use serde::de::Error as _;
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
    match left_out.is_empty() {
        _ if format != FORMAT => Err(Misread::Wrong(format::unknown(format, FORMAT))),
        true => Err(Misread::Wrong(serde_json::Error::custom("it leaves nothing out"))),
        false => Ok(left_out),
    }
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
