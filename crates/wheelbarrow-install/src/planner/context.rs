//! The inputs of every part of a plan.

use std::collections::HashMap;

use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_wheel::record::RecordRow;

use super::packs::Packs;
use crate::options::Compile;

/// What every part is made from.
pub(super) struct Planner<'p, 'a> {
    pub artifact: &'a VerifiedArtifact,
    /// Whether the interpreter is the artifact's.
    pub brings_python: bool,
    /// The virtualenv's Python, absolute.
    pub python: String,
    pub interpreter: &'p Interpreter,
    pub has_lib64_link: bool,
    pub packs: Packs<'a>,
    pub compile: Compile,
    /// The wheel that writes a path, by the path in RECORD, for paths that several wheels have.
    pub winners: HashMap<&'p str, &'p str>,
}

impl<'a> Planner<'_, 'a> {
    /// Whether another wheel than `wheel`, a path in the artifact, writes `path`.
    pub(super) fn loses(&self, wheel: &str, path: &str) -> bool {
        !self.winners.is_empty()
            && self
                .winners
                .get(self.relative_to_site_packages(path).as_str())
                .is_some_and(|winner| *winner != wheel)
    }

    pub(super) fn row(&self, path: &str, sha256: Sha256, size: u64) -> RecordRow {
        let digest = sha256.to_record();
        let (algorithm, digest) = digest.split_once('=').unwrap_or(("sha256", ""));
        RecordRow {
            path: self.relative_to_site_packages(path),
            hash: Some((algorithm.to_owned(), digest.to_owned())),
            size: Some(size),
        }
    }

    pub(super) fn relative_to_site_packages(&self, path: &str) -> String {
        let site_packages = format!("venv/{}/", self.interpreter.site_packages);
        if let Some(inside) = path.strip_prefix(&site_packages) {
            return inside.to_owned();
        }
        // site-packages is lib/pythonX.Y/site-packages: three up from it is the virtualenv.
        let up = "../".repeat(self.interpreter.site_packages.split('/').count());
        format!("{up}{}", path.strip_prefix("venv/").unwrap_or(path))
    }
}
