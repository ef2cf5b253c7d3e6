//! The subject of an audit: the wheels of a target, and the site that they are for.

use std::collections::BTreeMap;

use crate::floor::Floor;
use crate::read::{AuditedWheel, Modules};
use crate::status::Statuses;

/// What is judged.
pub struct Subject<'a> {
    pub floor: &'a Floor,
    pub wheels: Vec<&'a AuditedWheel<'a>>,
    /// Whether these are all the wheels of a site, and what else is in it; otherwise what one wheel asks of others is
    /// not judged.
    pub site: Option<Site<'a>>,
    /// The reasons for which versions were yanked, by distribution and version; empty where none was given.
    pub yanked: &'a BTreeMap<(String, String), String>,
    /// What indexes report of projects; only a build asks them.
    pub statuses: &'a Statuses,
}

/// What is in a virtualenv beside the wheels.
pub struct Site<'a> {
    /// Of the project whose code travels, normalised; nothing where it is none.
    pub name: Option<&'a str>,
    /// Goes in too, unless one of the wheels is a pip.
    pub pip: Option<&'a AuditedWheel<'a>>,
    /// The file that puts the code on `sys.path`.
    pub pth: Option<String>,
    /// Names of the modules of the site's code.
    pub modules: &'a Modules,
}
