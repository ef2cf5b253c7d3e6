//! The artifact: one executable zip with a site's code, its wheels and what installs them.
//!
//! `docs/format.md` is the specification; this crate is its only implementation in Rust, for writer and reader alike.

pub mod interpreter;
pub mod manifest;
pub mod progress;
pub mod python;
pub mod zip;
