//! The crates that a program and the standalone binary in it are made of.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::children::{cargo, workspace};

/// A crate, as `cargo metadata` has it.
pub(super) struct Contained {
    pub(super) package: Value,
    /// The identifiers of the crates that it uses when it runs.
    pub(super) uses: Vec<String>,
}

/// By identifier: those of the program for `target`, and of the standalone binary in it, which is for `carried`.
pub(super) fn contained(target: &str, carried: &str) -> Result<BTreeMap<String, Contained>> {
    let mut all = below("wheelbarrow", target)?;
    for (id, other) in below("wheelbarrow-native", carried)? {
        match all.entry(id) {
            Entry::Vacant(place) => _ = place.insert(other),
            Entry::Occupied(mut place) => {
                let uses = &mut place.get_mut().uses;
                uses.extend(other.uses);
                uses.sort_unstable();
                uses.dedup();
            }
        }
    }
    Ok(all)
}

/// A crate of the workspace for a target, with all that is in it.
fn below(root: &str, target: &str) -> Result<BTreeMap<String, Contained>> {
    let metadata = metadata(target)?;
    let edges = edges(&metadata);
    let is_root = |package: &&Value| package["name"] == *root;
    let id = |package: &Value| package["id"].as_str().unwrap_or_default().to_owned();
    let mut todo: Vec<String> = array(&metadata["packages"]).filter(is_root).map(id).collect();
    let mut found = BTreeSet::new();
    while let Some(id) = todo.pop() {
        todo.extend(edges.get(&id).into_iter().flatten().filter(|id| !found.contains(*id)).cloned());
        found.insert(id);
    }
    let packages = array(&metadata["packages"]).filter(|package| found.contains(&id(package)));
    let contained = packages.map(|package| {
        let uses = edges.get(&id(package)).cloned().unwrap_or_default();
        (id(package), Contained { package: package.clone(), uses })
    });
    Ok(contained.collect())
}

/// Who uses whom when it runs: neither to be built nor to be tested.
fn edges(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let is_normal = |dependency: &&Value| array(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
    let edges = array(&metadata["resolve"]["nodes"]).filter_map(|node| {
        let uses = array(&node["deps"]).filter(is_normal).filter_map(|one| one["pkg"].as_str());
        Some((node["id"].as_str()?.to_owned(), uses.map(str::to_owned).collect()))
    });
    edges.collect()
}

fn metadata(target: &str) -> Result<Value> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", target]);
    let output = command.current_dir(workspace()).output().context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
