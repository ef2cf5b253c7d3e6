//! The paths in a store, and in an entry.

use wheelbarrow_artifact::manifest::Sha256;

/// The format of the layout that this code writes, and the only one that it reads.
pub(super) const FORMAT: u32 = 1;

pub(super) const WHEELS: &str = "wheels";
pub(super) const PROGRAMS: &str = "programs";
pub(super) const STATIC: &str = "static";

/// The index of an entry.
pub(super) const INDEX: &str = "index";

/// The tree of an entry's files.
pub(super) const FILES: &str = "files";
pub(super) const BYTECODE: &str = "bytecode";

/// Where the entry of a wheel is in the store.
pub(super) fn wheel_entry(wheel: Sha256) -> String {
    format!("{WHEELS}/{wheel}")
}

pub(super) fn bytecode_entry(wheel: Sha256, pack: Sha256) -> String {
    format!("{WHEELS}/{wheel}/{BYTECODE}/{pack}")
}

/// Where a program is in the store.
pub(super) fn program_entry(sha256: Sha256) -> String {
    format!("{PROGRAMS}/{sha256}")
}

/// Where a static file is in the store.
pub(super) fn static_entry(sha256: Sha256) -> String {
    format!("{STATIC}/{sha256}")
}
