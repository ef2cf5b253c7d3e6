//! The status of a project, as its index reports it.
//! <https://packaging.python.org/en/latest/specifications/project-status-markers/> (PEP 792)

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// By normalised name; an active project has no entry.
pub type Statuses = BTreeMap<String, ProjectStatus>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProjectStatus {
    pub marker: StatusMarker,
    /// The reason that the index gives, one line; empty if it gives none.
    pub reason: String,
}

/// Every marker but `active`, which is the default; the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusMarker {
    /// No more updates are expected.
    Archived,
    /// Obsolete, and perhaps replaced by another project.
    Deprecated,
    /// Unsafe for use, such as malware.
    Quarantined,
}

impl FromStr for StatusMarker {
    type Err = ();

    /// `active` is an error too, and so is a marker of a later specification.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "archived" => Ok(Self::Archived),
            "deprecated" => Ok(Self::Deprecated),
            "quarantined" => Ok(Self::Quarantined),
            _ => Err(()),
        }
    }
}
