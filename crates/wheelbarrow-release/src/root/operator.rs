//! The caller of an operation on a site root, and its options.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wheelbarrow_base::progress::Progress;

/// Who asks for something, and how.
pub struct Operator<'a> {
    /// A user's name, for people.
    pub by: String,
    pub wait: Wait,
    /// The deploy of a fleet that this is a part of; it stands in the journal.
    pub deploy: Option<String>,
    pub probing: Probing,
    /// Times are for people, so nothing but what is shown depends on it.
    pub clock: &'a (dyn Fn() -> SystemTime + Sync),
    pub progress: &'a dyn Progress,
}

/// What to do while somebody else works on the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    No,
    /// At most so long.
    For(Duration),
}

/// Whether the server is asked after a switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probing {
    #[default]
    Asked,
    /// Not this time: nothing serves yet.
    LeftOut,
}

impl Operator<'_> {
    /// Seconds since 1970; 0 where the clock stands before that.
    pub(crate) fn now(&self) -> u64 {
        (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}
