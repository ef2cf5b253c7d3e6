//! The texts of a wheel: file name, metadata, RECORD, entry points, and the paths of its members in an
//! install.
//!
//! This crate is pure: text in, values out; nothing is read or written. The rules are those of the pages of
//! packaging.python.org named beside the code. If tools differ from the page, the crate follows pip, because
//! all wheels of the index were tried with pip.

pub mod entry_points;
mod error;
pub mod filename;
pub mod layout;
pub mod metadata;
pub mod name;
pub mod order;
pub mod record;
pub mod script;
pub mod text;

pub use error::Error;
pub use filename::WheelFilename;
pub use pep440_rs;
