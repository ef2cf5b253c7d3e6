//! Releases under a site root: staged, switched, taken back, pruned.
//!
//! `docs/releases.md` is the specification. What is live is what the link `current` says; in what order things came to
//! be is what the journal says; a release is complete when its own record is there. Nothing else is believed: no clock,
//! no modification time, no order of names.

pub mod check;
mod child;
mod error;
mod id;
mod journal;
mod lock;
pub mod proof;
mod release;
mod root;
mod secrets;
mod switch;
pub mod unit;

pub use error::ReleaseError;
pub use id::{NotAnId, ReleaseId};
pub use journal::{Entry, Event, Journal, Operation, Outcome, Phase};
pub use lock::{Holder, RootLock, Wait};
pub use release::{CompleteRelease, ReleaseRecord};
pub use root::{Found, Root};
