//! The artifact: one executable zip with a site's code, its wheels and its installers.
//!
//! `docs/reference/format.md` is the specification; this crate is its only implementation in Rust, for writer and reader alike.

mod artifact;
pub mod bundled;
pub mod bytecode;
mod error;
pub mod format;
pub mod head;
pub mod interpreter;
pub mod inventory;
pub mod loader;
pub mod manifest;
mod parallel;
mod printable;
pub mod python;
pub mod release;
pub mod rules;
mod strict;
pub mod thin;
pub mod tree;
pub mod wheel;
pub mod zip;

pub use artifact::{Anybody, Artifact, SHEBANG, SHEBANG_PATH, SIGNATURE_PATH, Trust, VerifiedArtifact};
pub use error::{ArtifactError, Distrust};
pub use parallel::{both, in_parallel, on_all_cores, threads};
pub use printable::{printable, printable_json, printable_line};
pub use rules::DOORS;
