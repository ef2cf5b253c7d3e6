//! What a wheel says of itself: file name, metadata, RECORD, entry points, and where its members go.
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
pub mod record;
pub mod script;
pub mod text;

pub use error::Error;
pub use filename::WheelFilename;
pub use pep440_rs;
