//! What a wheel says of itself: file name, tags, metadata, RECORD, entry points, and where its members go; and the systems
//! that wheels are for.
//!
//! Everything here is pure: text in, values out, nothing is read or written. The rules are those of the pages of
//! packaging.python.org named beside the code; where tools differ from the page, what pip does is followed, because
//! the wheels of the index were all tried with it.

pub mod entry_points;
mod error;
pub mod filename;
pub mod layout;
pub mod metadata;
pub mod name;
pub mod order;
mod platform;
pub mod profile;
pub mod record;
pub mod script;
mod tag;
pub mod tags;
pub mod text;

pub use error::Error;
pub use filename::WheelFilename;
pub use pep440_rs;
