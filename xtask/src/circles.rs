//! No two modules of a crate import each other, directly or by a chain: a file can then be read with what is below it, and
//! without what is above. The same for the Python files that stand together in a directory.
//!
//! What counts is what a module names outside its tests: `use` declarations and paths, followed through re-exports to the
//! module that defines the item. A re-export alone is no import. An error enum may be named by every module of its crate,
//! so the types that it holds do not count as its imports; a function that it calls does.

mod graph;
mod python;
mod source;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use fs_err as fs;

use crate::children::workspace;
use graph::Graph;

/// The directories below the workspace whose Python files import each other by name.
const PYTHON: &[&str] =
    &["crates/wheelbarrow-artifact/python", "ansible/plugins/module_utils", "ansible/plugins/plugin_utils"];

/// Fails with the chain of each circle.
pub(crate) fn check() -> Result<()> {
    let mut chains = Vec::new();
    for root in crate_roots()? {
        let graph =
            source::graph(&root).with_context(|| format!("read the modules of {}", root.display()))?;
        report(&root, &graph, &mut chains);
    }
    for directory in PYTHON.iter().map(|directory| workspace().join(directory)) {
        report(&directory, &python::graph(&directory)?, &mut chains);
    }
    if !chains.is_empty() {
        bail!("modules import each other:\n  {}", chains.join("\n  "));
    }
    println!("no modules import each other");
    Ok(())
}

fn report(place: &Path, graph: &Graph, chains: &mut Vec<String>) {
    let place = place.strip_prefix(workspace()).unwrap_or(place);
    chains.extend(graph.circles().iter().map(|chain| format!("{}: {}", place.display(), chain.join(" -> "))));
}

/// The files with which the crates of the workspace begin.
fn crate_roots() -> Result<Vec<PathBuf>> {
    let manifest: toml::Table = fs::read_to_string(workspace().join("Cargo.toml"))?.parse()?;
    let members = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("members"))
        .and_then(toml::Value::as_array)
        .context("Cargo.toml names no members of the workspace")?;
    let mut roots = Vec::new();
    for member in members.iter().filter_map(toml::Value::as_str) {
        for directory in expand(member)? {
            roots.extend(
                ["src/lib.rs", "src/main.rs"]
                    .map(|file| directory.join(file))
                    .into_iter()
                    .filter(|f| f.is_file()),
            );
        }
    }
    Ok(roots)
}

fn expand(member: &str) -> Result<Vec<PathBuf>> {
    let Some(parent) = member.strip_suffix("/*") else {
        return Ok(vec![workspace().join(member)]);
    };
    let mut found: Vec<_> =
        fs::read_dir(workspace().join(parent))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    found.sort();
    Ok(found)
}
