//! Builds wheels from sources: by `uv build` with the target's own Python if this machine is such a system,
//! else in a container of the system.
//!
//! A built wheel is cached by the source (hash, commit, or the digest of a directory's files and its `cache-keys`), the
//! variables of compilers, the ABI, the platform and the system that it was built on; a wheel for every Python and
//! platform is cached for all of them. Times inside are those of `SOURCE_DATE_EPOCH`, so that the same source gives the same bytes if the
//! build backend respects it. A wheel of `linux_MACHINE` gets the tag of the system that it was built on
//! instead: then its name shows where it runs, and wheels of two systems have different names.

mod build_requirements;
mod builder;
mod cache_keys;
mod check_out;
mod contained;
mod git;
mod here;
mod repository;
mod unpacked_tree;

pub use builder::{Builder, BuiltWheel};
pub(crate) use git::Checkouts;
