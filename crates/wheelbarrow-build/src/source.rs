//! Wheels from sources: by `uv build` with the target's own Python where this machine is such a system, else in a
//! container of it.
//!
//! What was built is remembered by the source (hash, commit, or the digest of a directory's files), the ABI, the
//! platform and the system that it was built on; a wheel for every Python and platform is remembered for all of them.
//! Times inside are those of `SOURCE_DATE_EPOCH`, so that the same source gives the same bytes wherever the build backend
//! cares. A wheel of `linux_MACHINE` gets the tag of the system that it was built on instead: its name then says where it
//! runs, and those of two systems are not mistaken for each other.

mod build_requirements;
mod builder;
mod check_out;
mod contained;
mod git;
mod here;
mod unpacked_tree;

pub use builder::{Builder, BuiltWheel};
pub(crate) use git::Checkouts;
