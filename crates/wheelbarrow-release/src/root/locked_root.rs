//! Somebody at work on a root: they hold its lock, and what they do stands in its journal.

use std::time::{Duration, Instant};

use wheelbarrow_artifact::format::PROGRAM;
use wheelbarrow_fs::SharedUmask;

use crate::root::journal::{Entry, Event, Operation, Phase};
use crate::root::lock::RootLock;
use crate::root::operator::Operator;
use crate::root::reserve;
use crate::{ReleaseError, ReleaseId, Root};

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

/// A phase that did not end well.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) phase: Phase,
    pub(crate) cause: ReleaseError,
}

impl<'a> LockedRoot<'a> {
    pub(crate) fn take(root: &'a Root, what: &str, operator: &'a Operator<'a>) -> Result<Self, ReleaseError> {
        let lock = RootLock::take(root, what, operator)?;
        // What takes more than it gives must not live on it.
        if !["deploy", "environment", "migrate"].contains(&what) {
            reserve::give_if_full(root);
        }
        Ok(Self { root, operator, lock, _umask: SharedUmask::set() })
    }

    pub(crate) fn record(&self, event: Event) -> Result<(), ReleaseError> {
        let by = self.operator.by.clone();
        let entry = Entry { at: self.operator.now(), by, event };
        match self.root.journal().append(&entry) {
            Err(error) if error.is_full() => {
                reserve::give(self.root);
                self.root.journal().append(&entry)
            }
            done => done,
        }
    }

    /// An operation starts.
    pub(crate) fn begin(
        &self,
        operation: Operation,
        id: &ReleaseId,
        live: Option<&ReleaseId>,
    ) -> Result<(), ReleaseError> {
        let (deploy, program) = (self.operator.deploy.clone(), Some(PROGRAM.to_owned()));
        self.record(Event::Begun { operation, id: id.clone(), live: live.cloned(), deploy, program })
    }

    /// Does a phase, and writes down that it ended well and how long it took.
    pub(crate) fn phase<T>(
        &self,
        phase: Phase,
        body: impl FnOnce() -> Result<T, ReleaseError>,
    ) -> Result<T, Fault> {
        let begun = Instant::now();
        let fault = |cause| Fault { phase, cause };
        let value = body().map_err(fault)?;
        self.record(Event::Phase { phase, milliseconds: milliseconds(begun.elapsed()) }).map_err(fault)?;
        Ok(value)
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
