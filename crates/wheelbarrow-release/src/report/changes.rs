//! The changes of an operation, compared with the previous live release.

use std::collections::BTreeMap;

use serde::Serialize;
use wheelbarrow_artifact::release::{Service, ServiceName};
use wheelbarrow_wheel::order::Inserted;

use crate::ReleaseError;
use crate::environment::shared_environment::{EnvironmentDifference, of_release};
use crate::report::bundled_python::bundled_python;
use crate::root::distributions;
use crate::root::receipt::Receipt;
use crate::root::release::CompleteRelease;
use crate::stage::statics;

/// What an operation that made a release live has changed. A part that cannot be known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// None if it is the Python of before, or nothing was live.
    pub python: Option<VersionChange>,
    /// All of them are added if nothing was live before.
    pub distributions: Distributions,
    /// Those that were applied, as `app.name`, in their order.
    pub migrations: Vec<String>,
    /// None of a release that collects none, or too many to be counted.
    pub static_files: Option<StaticFiles>,
    pub services: ServiceChanges,
    /// Empty if nothing was live before.
    pub environment: EnvironmentDifference,
    /// How the server was told; none if no server is configured.
    pub server: Option<String>,
    /// Of Django's `check --deploy`.
    pub findings: Findings,
    /// What was done, and how long it took, in milliseconds.
    pub phases: Vec<(String, u64)>,
}

/// Distributions by which two releases differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Distributions {
    pub added: Vec<Distribution>,
    pub removed: Vec<Distribution>,
    /// Upgraded, or downgraded.
    pub changed: Vec<VersionChange>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Distribution {
    pub name: String,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionChange {
    pub name: String,
    pub from: String,
    pub to: String,
}

/// Files in STATIC_ROOT, without those that were kept of versions before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StaticFiles {
    pub files: usize,
    /// By their names.
    pub added: usize,
    pub removed: usize,
}

/// Services by which two releases differ, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServiceChanges {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Their settings are others.
    pub changed: Vec<String>,
}

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// What the live release does not have.
    pub new: Vec<String>,
    /// How many the live release has too.
    pub known: usize,
}

impl Changes {
    /// What two releases say; the rest is empty.
    pub(crate) fn between(before: Option<&CompleteRelease>, after: &CompleteRelease) -> Self {
        let installed = |release: Option<&CompleteRelease>| release.map_or(Ok(BTreeMap::new()), installed);
        let distributions = match (installed(before), installed(Some(after))) {
            (Ok(before), Ok(after)) => Distributions::between(&before, &after),
            _ => Distributions::default(),
        };
        let own = |release: &CompleteRelease| statics::own_files(release).ok().flatten();
        let static_files = own(after).map(|files| {
            let before = before.and_then(own).unwrap_or_default();
            StaticFiles {
                files: files.len(),
                added: files.difference(&before).count(),
                removed: before.difference(&files).count(),
            }
        });
        let python = before.zip(python_of(after)).and_then(|(before, after)| python_change(before, after));
        let environment =
            before.and_then(|before| Some(of_release(before).ok()?.difference(&of_release(after).ok()?)));
        let environment = environment.unwrap_or_default();
        Self { python, distributions, static_files, environment, ..Self::default() }
    }
}

/// From the Python of the release `before` to another one, which [`shown_python`] gave.
pub(crate) fn python_change(before: &CompleteRelease, to: String) -> Option<VersionChange> {
    let from = python_of(before).filter(|from| *from != to)?;
    Some(VersionChange { name: "python".to_owned(), from, to })
}

/// None if its receipt does not have it.
pub(crate) fn python_of(release: &CompleteRelease) -> Option<String> {
    let receipt = Receipt::of(release).ok().filter(|receipt| !receipt.python_version().is_empty())?;
    Some(shown_python(receipt.python_version(), bundled_python(release).is_some()))
}

/// `3.12.11`, or `3.12.11 (bundled)`.
pub(crate) fn shown_python(version: &str, is_bundled: bool) -> String {
    format!("{version}{}", if is_bundled { " (bundled)" } else { "" })
}

impl Distributions {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    fn between(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Self {
        let missing = |of: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
            let missing = of.iter().filter(|(name, _)| !other.contains_key(*name));
            missing
                .map(|(name, version)| Distribution { name: name.clone(), version: version.clone() })
                .collect()
        };
        let changed = after.iter().filter_map(|(name, to)| {
            let from = before.get(name).filter(|from| *from != to)?;
            Some(VersionChange { name: name.clone(), from: from.clone(), to: to.clone() })
        });
        Self { added: missing(after, before), removed: missing(before, after), changed: changed.collect() }
    }
}

impl ServiceChanges {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    pub(crate) fn between(before: &[Service], after: &[Service]) -> Self {
        let find = |of: &'_ [Service], name: &ServiceName| of.iter().find(|one| one.name == *name).cloned();
        let names = |of: &[Service], is_one: &dyn Fn(&Service) -> bool| {
            of.iter().filter(|one| is_one(one)).map(|one| one.name.to_string()).collect()
        };
        let is_changed = |one: &Service| find(before, &one.name).is_some_and(|before| before != *one);
        Self {
            added: names(after, &|one| find(before, &one.name).is_none()),
            removed: names(before, &|one| find(after, &one.name).is_none()),
            changed: names(after, &is_changed),
        }
    }
}

/// Versions by name.
fn installed(release: &CompleteRelease) -> Result<BTreeMap<String, String>, ReleaseError> {
    let wheels = distributions::installed(release, &Receipt::of(release)?)?;
    Ok(wheels.into_iter().map(|wheel| (wheel.name, wheel.version)).inserted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_compared_by_name_and_version() {
        let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
        };
        let before = of(&[("django", "5.1"), ("requests", "2.31"), ("pillow", "11")]);
        let after = of(&[("django", "5.2"), ("httpx", "0.27"), ("pillow", "11")]);
        let distribution =
            |name: &str, version: &str| Distribution { name: name.to_owned(), version: version.to_owned() };
        let difference = Distributions::between(&before, &after);
        assert_eq!(difference.added, [distribution("httpx", "0.27")]);
        assert_eq!(difference.removed, [distribution("requests", "2.31")]);
        let changed =
            VersionChange { name: "django".to_owned(), from: "5.1".to_owned(), to: "5.2".to_owned() };
        assert_eq!(difference.changed, [changed]);
        assert!(Distributions::between(&before, &before).is_empty());
        assert_eq!(Distributions::between(&BTreeMap::new(), &before).added.len(), 3);
    }

    #[test]
    fn services_are_compared_by_name_and_settings() {
        let of = |text: &str| -> Vec<Service> { serde_json::from_str(text).unwrap() };
        let before = of(
            r#"[{"name": "web", "run": "x", "socket": true}, {"name": "a", "run": "x"}, {"name": "b", "run": "x"}]"#,
        );
        let after = of(
            r#"[{"name": "c", "run": "x"}, {"name": "b", "run": "y"}, {"name": "web", "run": "x", "socket": true}]"#,
        );
        let changes = ServiceChanges::between(&before, &after);
        assert_eq!(
            (changes.added, changes.removed, changes.changed),
            (vec!["c".to_owned()], vec!["a".to_owned()], vec!["b".to_owned()])
        );
        assert!(ServiceChanges::between(&after, &after).is_empty());
        assert_eq!(ServiceChanges::between(&[], &after).added, ["c", "b", "web"]);
    }
}
