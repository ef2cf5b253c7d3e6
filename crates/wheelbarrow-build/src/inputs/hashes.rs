//! Hashes that requirements demand, besides those of the lock.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pep508_rs::MarkerTree;

use super::requirements::{Subject, parse};
use crate::lock::{Digest, Place, TargetMarkers};
use crate::{Error, Result};

/// The lines that have a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequiredHashes {
    pub(super) lines: Vec<RequiredHash>,
}

/// One line. The file that it names must have one of its hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequiredHash {
    pub(super) path: PathBuf,
    pub(super) line: usize,
    pub(super) subject: Subject,
    pub(super) marker: MarkerTree,
    pub(super) digests: BTreeSet<Digest>,
    /// A constraint speaks of what something else requires.
    pub(super) is_constraint: bool,
}

impl RequiredHashes {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// For the file `file` of the package `name` (normalised): the hashes of each line that means it. The file must have
    /// one out of each set.
    pub(crate) fn of(
        &self,
        name: &str,
        file: Option<&Place>,
        environment: &TargetMarkers<'_>,
    ) -> Vec<BTreeSet<Digest>> {
        let lines = self.lines.iter().filter(|line| line.subject.is(name, file));
        lines.filter(|line| environment.is_met(&line.marker)).map(|line| line.digests.clone()).collect()
    }

    /// Refuses a line with a hash that none of the chosen packages, by name and file, was compared with.
    pub(crate) fn check_all_used<'a>(
        &self,
        chosen: &(impl Iterator<Item = (&'a str, Option<&'a Place>)> + Clone),
        environment: &TargetMarkers<'_>,
    ) -> Result<()> {
        let is_used = |line: &RequiredHash| chosen.clone().any(|(name, file)| line.subject.is(name, file));
        let mut wanted =
            self.lines.iter().filter(|line| !line.is_constraint && environment.is_met(&line.marker));
        match wanted.find(|line| !is_used(line)) {
            None => Ok(()),
            Some(line) => Err(Error::Requirements {
                path: line.path.clone(),
                line: line.line,
                reason: "this hash belongs to no file of the lock, so it cannot be compared".to_owned(),
            }),
        }
    }

    /// Adds the hashes in the URLs of pyproject.toml: of `"x @ https://h/x.whl#sha256=HEX"` among its dependencies, and of
    /// `url` in `[tool.uv.sources]`. uv reads the rest, and ignores these.
    pub(crate) fn add_pyproject(&mut self, path: &Path, text: &str) -> Result<()> {
        let document: toml::Table = text.parse().unwrap_or_default();
        let mut found = Vec::new();
        let places = [
            &["project", "dependencies"][..],
            &["project", "optional-dependencies"],
            &["dependency-groups"],
            &["tool", "uv"],
        ];
        for place in places {
            let root = toml::Value::Table(document.clone());
            let value = place.iter().try_fold(&root, |value, key| value.get(*key));
            value.into_iter().for_each(|value| collect(value, "", &mut found));
        }
        for requirement in found {
            let fragment = requirement.split_once('#').map_or("", |(_, fragment)| fragment);
            let line = text.lines().position(|line| line.contains(fragment)).map_or(1, |line| line + 1);
            let wrong = |reason| Error::Requirements { path: path.to_path_buf(), line, reason };
            let entry = parse(&requirement, path.parent().unwrap_or(Path::new("."))).map_err(wrong)?;
            self.lines.extend(entry.digests.into_iter().map(|digest| RequiredHash {
                path: path.to_path_buf(),
                line,
                subject: entry.subject.clone(),
                marker: entry.marker.clone(),
                digests: BTreeSet::from([digest]),
                // It may belong to an extra or a group that is not taken.
                is_constraint: true,
            }));
        }
        Ok(())
    }
}

/// Strings like `x @ https://h/x.whl#sha256=HEX` in `value`, which `key` names; of `x = { url = "..." }` the same.
fn collect(value: &toml::Value, key: &str, found: &mut Vec<String>) {
    match value {
        toml::Value::String(text) if has_hash(text) && text.contains('@') => found.push(text.clone()),
        toml::Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        toml::Value::Table(table) => {
            let url = table.get("url").and_then(toml::Value::as_str).filter(|url| has_hash(url));
            let marker = table.get("marker").and_then(toml::Value::as_str);
            let marker = marker.map(|marker| format!(" ; {marker}")).unwrap_or_default();
            found.extend(url.map(|url| format!("{key} @ {url}{marker}")));
            let others = table.iter().filter(|(name, _)| *name != "url");
            others.for_each(|(name, value)| collect(value, name, found));
        }
        _ => {}
    }
}

fn has_hash(text: &str) -> bool {
    let fragment = text.split_once('#').map_or("", |(_, fragment)| fragment);
    text.contains("://") && ["sha", "md5="].iter().any(|start| fragment.contains(start))
}
