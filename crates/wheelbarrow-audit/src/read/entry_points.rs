//! Scripts whose module or object is not in the wheel.

use rustc_hash::FxHashSet;
use wheelbarrow_artifact::wheel::{OpenWheel, WheelError};
use wheelbarrow_wheel::layout::Destination;

use crate::facts::DeadEntryPoint;

/// Larger modules are generated, and have what they say.
const LARGEST: u64 = 4 << 20;

/// With any of these in a module its attributes cannot be told by reading.
const DYNAMIC: [&str; 6] = ["import *", "__getattr__", "globals", "exec", "vars", "sys.modules"];

/// The entry points that are clearly not there. Those of other distributions' modules are among them: that is for who
/// knows all the wheels to settle.
pub(super) fn dead(wheel: &OpenWheel<'_>) -> Result<Vec<DeadEntryPoint>, WheelError> {
    let mut dead = Vec::new();
    if wheel.entry_points().iter().next().is_none() {
        return Ok(dead);
    }
    let modules: FxHashSet<String> = modules(wheel).collect();
    for point in wheel.entry_points().iter() {
        let found =
            |attribute| DeadEntryPoint { name: point.name.clone(), module: point.module.clone(), attribute };
        if !modules.contains(&point.module) {
            dead.push(found(None));
            continue;
        }
        let attribute = point.object.split('.').next().unwrap_or_default();
        // The script's `from e import cli` imports a submodule too.
        if modules.contains(&format!("{}.{attribute}", point.module)) {
            continue;
        }
        if source(wheel, &point.module)?.is_some_and(|source| !may_have(&source, attribute)) {
            dead.push(found(Some(attribute.to_owned())));
        }
    }
    Ok(dead)
}

/// Names of the modules that a wheel brings, with those of the packages above them.
pub(crate) fn modules(wheel: &OpenWheel<'_>) -> impl Iterator<Item = String> {
    let paths = wheel.files().iter().filter_map(|file| match &file.destination {
        Destination::SitePackages(path) => Some(path.as_str()),
        _ => None,
    });
    paths.flat_map(module_names)
}

/// The name of the module in the file at `path` below a directory of `sys.path`, and those of the packages above it;
/// nothing if it is no module.
pub fn module_names(path: &str) -> Vec<String> {
    let stem = path
        .strip_suffix(".py")
        .or_else(|| path.strip_suffix(".pyc"))
        .or_else(|| path.strip_suffix(".so").map(without_tag));
    let mut names = Vec::new();
    if let Some(stem) = stem {
        let name = stem.strip_suffix("/__init__").unwrap_or(stem).replace('/', ".");
        let parents = name.match_indices('.').map(|(end, _)| name[..end].to_owned());
        names.extend(parents);
        names.push(name);
    }
    names
}

/// `pkg/mod` of `pkg/mod.cpython-312-x86_64-linux-gnu`.
fn without_tag(path: &str) -> &str {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    path[name..].find('.').map_or(path, |dot| &path[..name + dot])
}

fn source(wheel: &OpenWheel<'_>, module: &str) -> Result<Option<String>, WheelError> {
    let path = module.replace('.', "/");
    let candidates = [format!("{path}.py"), format!("{path}/__init__.py")];
    let file = wheel.files().iter().find(
        |file| matches!(&file.destination, Destination::SitePackages(path) if candidates.contains(path)),
    );
    let Some(entry) = file.map(|file| wheel.entry(file)).filter(|entry| entry.size <= LARGEST) else {
        return Ok(None);
    };
    let bytes = wheel
        .archive()
        .read(entry, LARGEST)
        .map_err(|source| WheelError::Zip { wheel: wheel.filename().to_string(), source })?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whether the name occurs at all, or the module is one that makes its names.
fn may_have(source: &str, attribute: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    let named = source.match_indices(attribute).any(|(start, _)| {
        !source[..start].ends_with(is_part) && !source[start + attribute.len()..].starts_with(is_part)
    });
    named || DYNAMIC.iter().any(|sign| source.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_clearly_missing_is_missed() {
        assert!(may_have("def main():\n", "main"));
        assert!(may_have("from .cli import main as run, main_\n", "run"));
        assert!(may_have("from .cli import *\n", "main"));
        assert!(!may_have("def main_():\n    domain = 1\n", "main"));
        assert!(!may_have("", "main"));
    }
}
