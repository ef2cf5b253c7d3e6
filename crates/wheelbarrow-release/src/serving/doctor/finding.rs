//! The findings of `doctor`.

use serde::Serialize;

use crate::report::rule::Rule;

/// What is wrong, where, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `old-virtualenv`: stable, for scripts.
    pub rule: Rule,
    /// `process 17 (gunicorn)`, or a file and a line.
    pub place: String,
    pub what: String,
    pub hint: String,
}
