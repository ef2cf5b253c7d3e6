//! A site root during an operation: the file lock is held, and the journal records the operation.

use std::time::Duration;

use wheelbarrow_base::SharedUmask;

use crate::root::journal::{JournalEntry, JournalEvent};
use crate::root::lock::RootLock;
use crate::root::operator::Operator;
use crate::root::reserve;
use crate::{ReleaseError, Root};

/// The right to change a root, and the means to say what was done.
pub(crate) struct LockedRoot<'a> {
    pub(crate) root: &'a Root,
    pub(crate) operator: &'a Operator<'a>,
    pub(crate) lock: RootLock,
    /// What is made under a root is for the site too, whoever deploys.
    _umask: SharedUmask,
}

impl Drop for LockedRoot<'_> {
    /// What a full disk has taken of the reserve is there again once there is room.
    fn drop(&mut self) {
        reserve::keep(self.root);
    }
}

impl<'a> LockedRoot<'a> {
    pub(crate) fn acquire(
        root: &'a Root,
        what: &str,
        operator: &'a Operator<'a>,
    ) -> Result<Self, ReleaseError> {
        let lock = RootLock::acquire(root, what, operator)?;
        // What takes more than it gives must not live on it.
        if !["deploy", "environment", "migrate"].contains(&what) {
            reserve::give_if_full(root);
        }
        Ok(Self { root, operator, lock, _umask: SharedUmask::set() })
    }

    pub(crate) fn record(&self, event: JournalEvent) -> Result<(), ReleaseError> {
        let by = self.operator.by.clone();
        let entry = JournalEntry { at: self.operator.now(), by, event };
        match self.root.journal().append(&entry) {
            Err(error) if error.is_full() => {
                reserve::give(self.root);
                self.root.journal().append(&entry)
            }
            done => done,
        }
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
