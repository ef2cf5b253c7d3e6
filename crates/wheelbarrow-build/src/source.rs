//! Wheels from sources: `uv build` in an isolated environment with the target's own Python.
//!
//! What was built is remembered by the source (hash, commit, or the digest of a directory's files), the ABI and the
//! platform; a wheel for every Python and platform is remembered for all of them. Times inside are those of
//! `SOURCE_DATE_EPOCH`, so that the same source gives the same bytes wherever the build backend cares.

mod build;
mod git;
mod tree;

pub use build::{Builder, BuiltWheel};
