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
        chains.extend(chains_in(&root, &graph));
    }
    for directory in PYTHON.iter().map(|directory| workspace().join(directory)) {
        chains.extend(chains_in(&directory, &python::graph(&directory)?));
    }
    if !chains.is_empty() {
        bail!("modules import each other:\n  {}", chains.join("\n  "));
    }
    println!("no modules import each other");
    Ok(())
}

/// A line for each circle.
fn chains_in(place: &Path, graph: &Graph) -> Vec<String> {
    let place = place.strip_prefix(workspace()).unwrap_or(place).display();
    graph.circles().iter().map(|chain| format!("{place}: {}", chain.join(" -> "))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_circle_is_told_with_its_place_and_its_chain() {
        let mut graph = Graph::default();
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")] {
            graph.import(from, to);
        }
        let chains = chains_in(&workspace().join("crates/one/src/lib.rs"), &graph);
        assert_eq!(chains, ["crates/one/src/lib.rs: a -> b -> c -> a"]);
    }

    #[test]
    fn every_crate_and_every_directory_of_python_is_looked_at() {
        let roots = crate_roots().unwrap();
        for root in
            ["crates/wheelbarrow/src/main.rs", "crates/wheelbarrow-release/src/lib.rs", "xtask/src/main.rs"]
        {
            assert!(roots.contains(&workspace().join(root)), "{root}");
        }
        for directory in PYTHON {
            assert!(workspace().join(directory).is_dir(), "{directory}");
        }
    }
}
