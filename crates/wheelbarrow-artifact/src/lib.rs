//! The artifact: one executable zip with a site's code, its wheels and what installs them.
//!
//! `docs/format.md` is the specification; this crate is its only implementation in Rust, for writer and reader alike.

mod artifact;
pub mod bytecode;
pub mod interpreter;
pub mod manifest;
pub mod progress;
pub mod python;
pub mod wheel;
pub mod zip;

pub use artifact::{Artifact, ArtifactError, SIGNATURE_PATH, VerifiedArtifact};

/// How many threads to work with: as many as there are cores for this process.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
