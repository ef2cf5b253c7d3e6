//! The differences between two artifacts of a site, for the approval of a new version.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Value, json};
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::manifest::{Allowed, Manifest, Member, Needs, Sha256};
use wheelbarrow_artifact::thin::is_of_project;
use wheelbarrow_wheel::pep440_rs::Version;

use crate::thin::{inventory_of, left_out};

/// From an old artifact to a new one. Lists are ordered by name and hold what differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub old: Side,
    pub new: Side,
    pub distributions: Vec<Distribution>,
    /// Code and static files.
    pub files: Vec<File>,
    pub settings: Vec<Setting>,
    pub targets: Vec<Target>,
    pub allowed: Vec<Allowance>,
    /// What a thin artifact for a host that has the old one has, in bytes, to a few hundred of them.
    pub thin_bytes: u64,
}

/// One of the two artifacts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    pub path: String,
    pub name: String,
    pub version: Option<String>,
    /// Of the file.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Added,
    Removed,
    Upgraded,
    Downgraded,
    /// Other bytes of the same version; for anything that has no version, another content.
    Changed,
}

/// What one side has of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// More than one where targets have different ones; ordered.
    pub versions: Vec<String>,
    /// Of all its wheels.
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Distribution {
    /// Normalised.
    pub name: String,
    pub change: Change,
    pub old: Option<Versions>,
    pub new: Option<Versions>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    pub path: String,
    pub change: Change,
    /// In bytes.
    pub old: Option<u64>,
    /// In bytes.
    pub new: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// As in a settings file: `release.keep`, `release.service.worker.instances`.
    pub key: String,
    pub old: Option<Value>,
    pub new: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// `Python 3.12 (cp312) on manylinux_2_28_x86_64`
    pub target: String,
    pub change: Change,
    pub old: Option<Needs>,
    pub new: Option<Needs>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Allowance {
    pub change: Change,
    pub allowed: Allowed,
}

/// Compares what the manifests say; no wheel is read.
pub fn difference(old: &Artifact, new: &Artifact) -> Difference {
    let [before, after] = [old, new].map(Artifact::manifest);
    Difference {
        old: side(old),
        new: side(new),
        distributions: distributions(before, after),
        files: files(before, after),
        settings: settings(before, after),
        targets: targets(before, after),
        allowed: allowed(before, after),
        thin_bytes: thin_bytes(before, new),
    }
}

impl Difference {
    /// Whether both install the same.
    pub fn is_empty(&self) -> bool {
        let Self { distributions, files, settings, targets, allowed, .. } = self;
        distributions.is_empty()
            && files.is_empty()
            && settings.is_empty()
            && targets.is_empty()
            && allowed.is_empty()
    }
}

fn side(artifact: &Artifact) -> Side {
    let manifest = artifact.manifest();
    Side {
        path: artifact.path().display().to_string(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        bytes: artifact.size(),
    }
}

/// Each key of either side with what both have, where that is not the same.
fn pairs<V: PartialEq>(
    old: BTreeMap<String, V>,
    mut new: BTreeMap<String, V>,
) -> Vec<(String, Option<V>, Option<V>)> {
    let mut pairs = Vec::new();
    for (key, before) in old {
        let after = new.remove(&key);
        if after.as_ref() != Some(&before) {
            pairs.push((key, Some(before), after));
        }
    }
    pairs.extend(new.into_iter().map(|(key, after)| (key, None, Some(after))));
    pairs.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    pairs
}

fn change<V>(old: Option<&V>, new: Option<&V>) -> Change {
    match (old, new) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::Changed,
    }
}

fn distributions(old: &Manifest, new: &Manifest) -> Vec<Distribution> {
    pairs(wheels(old), wheels(new))
        .into_iter()
        .map(|(name, old, new)| {
            let [old, new] = [old, new].map(|wheels| wheels.map(|(versions, _)| versions));
            let change = match (&old, &new) {
                (Some(old), Some(new)) => version_change(&old.versions, &new.versions),
                _ => change(old.as_ref(), new.as_ref()),
            };
            Distribution { name, change, old, new }
        })
        .collect()
}

/// The distributions, each with its versions and the content of its wheels.
fn wheels(manifest: &Manifest) -> BTreeMap<String, (Versions, BTreeSet<Sha256>)> {
    let members = manifest.members_by_path();
    let mut found: BTreeMap<&str, (BTreeSet<&str>, u64, BTreeSet<Sha256>)> = BTreeMap::new();
    for wheel in &manifest.wheels {
        let (versions, bytes, contents) = found.entry(&wheel.name).or_default();
        versions.insert(&wheel.version);
        if let Some(member) = members.get(wheel.path.as_str()) {
            *bytes += member.size;
            contents.insert(member.sha256);
        }
    }
    let versions = |(name, (versions, bytes, contents)): (&str, (BTreeSet<&str>, _, _))| {
        let versions = versions.into_iter().map(str::to_owned).collect();
        (name.to_owned(), (Versions { versions, bytes }, contents))
    };
    found.into_iter().map(versions).collect()
}

fn version_change(old: &[String], new: &[String]) -> Change {
    let highest = |versions: &[String]| versions.iter().filter_map(|text| Version::from_str(text).ok()).max();
    match highest(new).cmp(&highest(old)) {
        std::cmp::Ordering::Greater => Change::Upgraded,
        std::cmp::Ordering::Less => Change::Downgraded,
        std::cmp::Ordering::Equal => Change::Changed,
    }
}

fn files(old: &Manifest, new: &Manifest) -> Vec<File> {
    let of = |manifest: &Manifest| -> BTreeMap<String, Member> {
        let members = manifest.members.iter().filter(|member| is_of_project(&member.path));
        members.map(|member| (member.path.clone(), member.clone())).collect()
    };
    let file = |(path, old, new): (String, Option<Member>, Option<Member>)| File {
        path,
        change: change(old.as_ref(), new.as_ref()),
        old: old.map(|member| member.size),
        new: new.map(|member| member.size),
    };
    pairs(of(old), of(new)).into_iter().map(file).collect()
}

fn settings(old: &Manifest, new: &Manifest) -> Vec<Setting> {
    let flat = |manifest: &Manifest| {
        let mut flat = BTreeMap::new();
        let Manifest { release, environment, project, .. } = manifest;
        flatten("release", &json!(release), &mut flat);
        flatten("environment", &json!(environment), &mut flat);
        flatten("import_path", &json!(project.import_path), &mut flat);
        flatten("static_root", &json!(project.static_root), &mut flat);
        flat
    };
    let setting = |(key, old, new)| Setting { key, old, new };
    pairs(flat(old), flat(new)).into_iter().map(setting).collect()
}

/// A value for each key that leads to no table. Tables of an array are told apart by their name.
fn flatten(key: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Null => {}
        Value::Object(table) => {
            for (name, value) in table {
                flatten(&format!("{key}.{name}"), value, into);
            }
        }
        Value::Array(tables) if tables.iter().any(|table| table.get("name").is_some()) => {
            for table in tables {
                let name = table.get("name").and_then(Value::as_str).unwrap_or_default();
                flatten(&format!("{key}.{name}"), table, into);
            }
        }
        _ => _ = into.insert(key.to_owned(), value.clone()),
    }
}

fn targets(old: &Manifest, new: &Manifest) -> Vec<Target> {
    let of = |manifest: &Manifest| {
        let name = |target: &wheelbarrow_artifact::manifest::Target| {
            format!("Python {} ({}) on {}", target.python, target.abi, target.platform)
        };
        manifest.targets.iter().map(|target| (name(target), target.needs.clone())).collect()
    };
    let target = |(target, old, new): (String, Option<Needs>, Option<Needs>)| Target {
        target,
        change: change(old.as_ref(), new.as_ref()),
        old,
        new,
    };
    pairs(of(old), of(new)).into_iter().map(target).collect()
}

fn allowed(old: &Manifest, new: &Manifest) -> Vec<Allowance> {
    let of = |manifest: &Manifest| {
        let key = |allowed: &Allowed| format!("{}:{}", allowed.rule, allowed.name);
        manifest.allowed.iter().map(|allowed| (key(allowed), allowed.clone())).collect()
    };
    let allowance = |(_, old, new): (String, Option<Allowed>, Option<Allowed>)| {
        let change = change(old.as_ref(), new.as_ref());
        Some(Allowance { change, allowed: new.or(old)? })
    };
    pairs(of(old), of(new)).into_iter().filter_map(allowance).collect()
}

/// Of each member that stays: its compressed bytes, and its two headers (APPNOTE.TXT, 4.3.7 and 4.3.12).
fn thin_bytes(old: &Manifest, new: &Artifact) -> u64 {
    let left_out = left_out(new.manifest(), &inventory_of(old));
    let kept = new.archive().entries().iter().filter(|entry| !left_out.contains(&entry.name));
    kept.map(|entry| (entry.data.len() + 30 + 46 + 2 * entry.name.len()) as u64).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tables_are_distinguished_by_name() {
        let value =
            json!({ "keep": 3, "service": [{ "name": "web", "run": ["a", "b"] }, { "name": "worker" }] });
        let mut flat = BTreeMap::new();
        flatten("release", &value, &mut flat);
        let keys: Vec<_> = flat.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "release.keep",
                "release.service.web.name",
                "release.service.web.run",
                "release.service.worker.name"
            ]
        );
    }

    #[test]
    fn versions_are_compared_as_versions() {
        let change = |old: &str, new: &str| version_change(&[old.to_owned()], &[new.to_owned()]);
        assert_eq!(change("1.9", "1.10"), Change::Upgraded);
        assert_eq!(change("2.0", "2.0rc1"), Change::Downgraded);
        assert_eq!(change("1.0", "1.0.0"), Change::Changed);
    }

    proptest! {
        /// Whoever applies the pairs to the old side has the new one.
        #[test]
        fn pairs_lead_from_the_one_to_the_other(
            old in prop::collection::btree_map("[a-e]", 0..3u8, 0..6),
            new in prop::collection::btree_map("[a-e]", 0..3u8, 0..6),
        ) {
            let mut applied = old.clone();
            for (key, before, after) in pairs(old.clone(), new.clone()) {
                prop_assert_ne!(before, after);
                prop_assert_eq!(applied.remove(&key), before);
                applied.extend(after.map(|after| (key, after)));
            }
            prop_assert_eq!(applied, new);
        }
    }
}
