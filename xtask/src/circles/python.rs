//! What the Python files of a directory import of each other.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use super::graph::Graph;

/// Imports inside functions count too: they are there to hide a circle.
pub(super) fn graph(directory: &Path) -> Result<Graph> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "py")
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
        {
            files.push((stem.to_owned(), fs::read_to_string(&path)?));
        }
    }
    let mut graph = Graph::default();
    for (module, text) in &files {
        for imported in statements(text).iter().flat_map(|line| imported(line)) {
            if files.iter().any(|(other, _)| *other == imported) {
                graph.import(module, &imported);
            }
        }
    }
    Ok(graph)
}

/// The lines, with those that stand in parentheses joined to the import that opens them.
fn statements(text: &str) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    for line in text.lines() {
        match statements.last_mut().filter(|last| last.ends_with('(') || last.ends_with(',')) {
            Some(last) if last.trim_start().starts_with("from ") => last.push_str(line.trim()),
            _ => statements.push(line.to_owned()),
        }
    }
    statements
}

/// The last part of each module's name: `from . import a, b`, `from .a import f`, `import a`.
fn imported(line: &str) -> Vec<String> {
    let line = line.trim();
    let last = |name: &str| {
        let name = name.trim().split(' ').next().unwrap_or_default();
        name.rsplit('.').next().unwrap_or_default().to_owned()
    };
    if let Some(names) = line.strip_prefix("import ") {
        return names.split(',').map(last).collect();
    }
    let Some((module, names)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import "))
    else {
        return Vec::new();
    };
    let names = names.trim_matches(['(', ')']).split(',').map(last);
    std::iter::once(last(module)).chain(names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_of_all_forms_count() {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.py", "import os, b\n"),
            ("b.py", "def f():\n    from c import (\n        one,\n    )\n"),
            ("c.py", "from . import d as other\n"),
            ("d.py", "from . import (\n    a,\n    os,\n)\n"),
        ] {
            fs::write(place.path().join(name), text).unwrap();
        }
        assert_eq!(graph(place.path()).unwrap().circles(), [["a", "b", "c", "d", "a"]]);
    }
}
