//! Finds scripts whose module or object is not in the wheel.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};
use wheelbarrow_artifact::wheel::{OpenWheel, WheelError, WheelFile};
use wheelbarrow_wheel::entry_points::EntryPoint;
use wheelbarrow_wheel::layout::Destination;

use crate::facts::DeadEntryPoint;

/// Larger modules are generated, and have what they say.
const LARGEST: u64 = 1 << 20;

/// With any of these in a module its attributes cannot be told by reading.
const DYNAMIC: [&str; 6] = ["import *", "__getattr__", "globals", "exec", "vars", "sys.modules"];

/// The entry points that are clearly not there. Those of other distributions' modules are among them: that is for who
/// knows all the wheels to settle. Each module is read once, however many entry points it has.
pub(super) fn dead(wheel: &OpenWheel<'_>) -> Result<Vec<DeadEntryPoint>, WheelError> {
    let mut by_module: BTreeMap<&str, Vec<(usize, &EntryPoint)>> = BTreeMap::new();
    for (place, point) in wheel.entry_points().iter().enumerate() {
        by_module.entry(&point.module).or_default().push((place, point));
    }
    if by_module.is_empty() {
        return Ok(Vec::new());
    }
    let modules = Modules::of_paths(site_packages(wheel).map(|(path, _)| path));
    let files: FxHashMap<&str, &WheelFile> = site_packages(wheel).collect();
    let mut dead = Vec::new();
    for (module, points) in by_module {
        if !modules.contains(module) {
            dead.extend(points.into_iter().map(|(place, point)| (place, found(point, None))));
            continue;
        }
        // The script's `from e import cli` imports a submodule too.
        let is_other = |point: &EntryPoint| !modules.contains(&format!("{module}.{}", attribute(point)));
        let points: Vec<_> = points.into_iter().filter(|(_, point)| is_other(point)).collect();
        let source = if points.is_empty() { None } else { source(wheel, &files, module)? };
        let Some(source) = source.filter(|source| !makes_names(source)) else { continue };
        let names = names_in(&source);
        for (place, point) in points.into_iter().filter(|(_, point)| !names.contains(attribute(point))) {
            dead.push((place, found(point, Some(attribute(point).to_owned()))));
        }
    }
    dead.sort_by_key(|(place, _)| *place);
    Ok(dead.into_iter().map(|(_, found)| found).collect())
}

fn found(point: &EntryPoint, attribute: Option<String>) -> DeadEntryPoint {
    DeadEntryPoint { name: point.name.clone(), module: point.module.clone(), attribute }
}

fn attribute(point: &EntryPoint) -> &str {
    point.object.split('.').next().unwrap_or_default()
}

/// The files of a wheel in site-packages, by their paths there.
pub(crate) fn site_packages<'w>(wheel: &'w OpenWheel<'_>) -> impl Iterator<Item = (&'w str, &'w WheelFile)> {
    wheel.files().iter().filter_map(|file| match &file.destination {
        Destination::SitePackages(path) => Some((path.as_str(), file)),
        _ => None,
    })
}

/// Names of modules, and of the packages that they are in.
#[derive(Clone, Debug, Default, Hash)]
pub struct Modules {
    /// Without the packages, which begin like them: a deep path has thousands of packages above it.
    sorted: Vec<String>,
}

impl Modules {
    /// No module.
    pub const NONE: Self = Self { sorted: Vec::new() };

    /// Those in the files at these paths below a directory of `sys.path`.
    pub fn of_paths<'p>(paths: impl IntoIterator<Item = &'p str>) -> Self {
        let mut sorted: Vec<_> = paths.into_iter().filter_map(module_name).collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    pub fn contains(&self, name: &str) -> bool {
        let first = |begin: &str| {
            let place = self.sorted.partition_point(|module| module.as_str() < begin);
            self.sorted.get(place).map(String::as_str)
        };
        let inside = format!("{name}.");
        first(name) == Some(name) || first(&inside).is_some_and(|module| module.starts_with(&inside))
    }
}

/// The name of the module in the file at `path`; nothing if it is no module.
fn module_name(path: &str) -> Option<String> {
    let stem = path
        .strip_suffix(".py")
        .or_else(|| path.strip_suffix(".pyc"))
        .or_else(|| path.strip_suffix(".so").map(without_tag))?;
    Some(stem.strip_suffix("/__init__").unwrap_or(stem).replace('/', "."))
}

/// `pkg/mod` of `pkg/mod.cpython-312-x86_64-linux-gnu`.
fn without_tag(path: &str) -> &str {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    path[name..].find('.').map_or(path, |dot| &path[..name + dot])
}

fn source(
    wheel: &OpenWheel<'_>,
    files: &FxHashMap<&str, &WheelFile>,
    module: &str,
) -> Result<Option<String>, WheelError> {
    let path = module.replace('.', "/");
    let file = [".py", "/__init__.py"].iter().find_map(|end| files.get(format!("{path}{end}").as_str()));
    let Some(entry) = file.map(|file| wheel.entry(file)).filter(|entry| entry.size <= LARGEST) else {
        return Ok(None);
    };
    let bytes = wheel
        .archive()
        .read(entry, LARGEST)
        .map_err(|source| WheelError::Zip { wheel: wheel.filename().to_string(), source })?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Every name that occurs in a module, whatever it stands for.
fn names_in(source: &str) -> FxHashSet<&str> {
    source.split(|character: char| !character.is_alphanumeric() && character != '_').collect()
}

/// Whether a module may have names that do not occur in it.
fn makes_names(source: &str) -> bool {
    DYNAMIC.iter().any(|sign| source.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_clearly_missing_is_missed() {
        let may_have = |source: &str, name: &str| makes_names(source) || names_in(source).contains(name);
        assert!(may_have("def main():\n", "main"));
        assert!(may_have("from .cli import main as run, main_\n", "run"));
        assert!(may_have("from .cli import *\n", "main"));
        assert!(!may_have("def main_():\n    domain = 1\n", "main"));
        assert!(!may_have("", "main"));
    }

    #[test]
    fn modules_are_known_with_their_packages() {
        let paths = [
            "pkg/__init__.py",
            "pkg/sub/mod.py",
            "pkg-data/x.txt",
            "a/b.cpython-312-x86_64-linux-gnu.so",
            "c.pyc",
        ];
        let modules = Modules::of_paths(paths);
        for name in ["pkg", "pkg.sub", "pkg.sub.mod", "a", "a.b", "c"] {
            assert!(modules.contains(name), "{name}");
        }
        for name in ["pk", "pkg.su", "pkg.sub.mod.x", "pkg-data", "b", ""] {
            assert!(!modules.contains(name), "{name}");
        }
    }

    /// A path takes no more than its length.
    #[test]
    fn deep_packages_take_no_more_than_their_names() {
        let deep = format!("{}x.py", "a/".repeat(1_000_000));
        let modules = Modules::of_paths([deep.as_str()]);
        assert!(modules.contains("a.a.a") && modules.sorted.len() == 1);
    }
}
