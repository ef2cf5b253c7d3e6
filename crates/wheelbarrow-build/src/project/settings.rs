//! Files that the site needs to start: modules called settings, and what these and the modules that servers are given
//! import. A note names those that an ignore rule leaves out, since a checkout often has settings that git must not track.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fs_err as fs;

use super::ProjectFile;

/// Modules that servers are given.
const SERVED: [&str; 7] = ["wsgi", "asgi", "app", "main", "api", "application", "manage"];

/// Files larger than this are no settings.
const LARGEST: u64 = 1 << 20;

/// What is left out and looks as if it was needed: paths below `root`, and why.
pub(super) fn left_out(root: &Path, found: &[ProjectFile]) -> BTreeMap<String, String> {
    let packed: BTreeSet<&str> = found.iter().map(|file| file.path.as_str()).collect();
    let mut lost = BTreeMap::new();
    for path in imported(root, found, &packed) {
        lost.insert(path.0, format!("{} imports it", path.1));
    }
    let modules = packed.iter().filter(|path| path.ends_with(".py"));
    let directories: BTreeSet<&str> = modules.map(|path| directory(path)).collect();
    for directory in directories {
        for entry in fs::read_dir(root.join(directory)).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = join(directory, &name);
            let kind = entry.file_type();
            if kind.as_ref().is_ok_and(|kind| kind.is_file())
                && is_settings(&path)
                && !packed.contains(path.as_str())
            {
                lost.entry(path).or_insert_with(|| "by its name it has settings".to_owned());
            } else if kind.is_ok_and(|kind| kind.is_dir())
                && is_called_settings(&name)
                && has_modules(&entry.path())
            {
                // A rule for the whole package needs one for the whole package to take it back.
                let below = path + "/";
                if !packed.iter().any(|path| path.starts_with(&below) && path.ends_with(".py")) {
                    lost.retain(|path, _| !path.starts_with(&below));
                    lost.insert(below, "by its name it has settings".to_owned());
                }
            }
        }
    }
    lost
}

/// `settings.py`, `local_settings.py`, `settings_local.py`, and what is in a package called settings.
pub(super) fn is_settings(path: &str) -> bool {
    let Some(stem) = path.strip_suffix(".py") else { return false };
    let mut parts = stem.rsplit('/');
    let name = parts.next().unwrap_or_default();
    is_called_settings(name) || parts.next() == Some("settings")
}

/// `settings`, `local_settings`, `settings_local`.
fn is_called_settings(name: &str) -> bool {
    name.starts_with("settings") || name.ends_with("settings")
}

fn has_modules(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|extension| extension == "py"))
}

fn is_served(path: &str) -> bool {
    let name = path.rsplit('/').next().and_then(|name| name.strip_suffix(".py"));
    name.is_some_and(|name| SERVED.contains(&name))
}

/// Modules that are imported at the start and that are there but not packed, each with who imports it.
fn imported(root: &Path, found: &[ProjectFile], packed: &BTreeSet<&str>) -> Vec<(String, String)> {
    let mut lost = Vec::new();
    for file in found.iter().filter(|file| is_settings(&file.path) || is_served(&file.path)) {
        if fs::metadata(&file.source).map_or(true, |metadata| metadata.len() > LARGEST) {
            continue;
        }
        let text = fs::read_to_string(&file.source).unwrap_or_default();
        for module in text.lines().flat_map(modules_of) {
            for base in bases(&file.path, &module) {
                let stem = join(&base, &module.trim_start_matches('.').replace('.', "/"));
                let candidates = [format!("{stem}.py"), format!("{stem}/__init__.py")];
                let is_lost = |path: &&String| !packed.contains(path.as_str()) && root.join(path).is_file();
                let Some(path) = candidates.iter().find(is_lost) else { continue };
                let whole = whole_package(root, path, packed);
                lost.push((whole.unwrap_or_else(|| path.clone()), file.path.clone()));
            }
        }
    }
    let whole: Vec<String> =
        lost.iter().map(|(path, _)| path.clone()).filter(|path| path.ends_with('/')).collect();
    lost.retain(|(path, _)| !whole.iter().any(|whole| path != whole && path.starts_with(whole)));
    lost
}

/// The outermost package that the module is in and of which nothing is packed, with a slash at the end.
fn whole_package(root: &Path, module: &str, packed: &BTreeSet<&str>) -> Option<String> {
    let mut whole = None;
    let mut package = directory(module);
    while !package.is_empty() && root.join(package).join("__init__.py").is_file() {
        let below = format!("{package}/");
        if packed.iter().any(|path| path.starts_with(&below)) {
            break;
        }
        whole = Some(below);
        package = directory(package);
    }
    whole
}

/// The modules that a line imports, with leading dots: `from .local import *`, `from . import local`, `import a.b`.
fn modules_of(line: &str) -> Vec<String> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let names = |list: &str| -> Vec<String> {
        let names = list.trim_matches(['(', ')', ' ']).split(',');
        names.filter_map(|name| name.split_whitespace().next()).map(str::to_owned).collect()
    };
    if let Some(list) = line.strip_prefix("import ") {
        return names(list);
    }
    let Some((module, list)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import ")) else {
        return Vec::new();
    };
    let module = module.trim();
    let dot = if module.ends_with('.') { "" } else { "." };
    let below = names(list).into_iter().filter(|name| name != "*").map(|name| format!("{module}{dot}{name}"));
    std::iter::once(module.to_owned())
        .chain(below)
        .filter(|it| !it.trim_start_matches('.').is_empty())
        .collect()
}

/// The directories that a module of `file` may be in: that of its package if the name has dots, else any above the file.
fn bases(file: &str, module: &str) -> Vec<String> {
    let dots = module.len() - module.trim_start_matches('.').len();
    let above = ancestors(file);
    match dots {
        0 => above,
        dots => above.into_iter().skip(dots - 1).take(1).collect(),
    }
}

/// The directories above a file, from its own to the root.
pub(super) fn ancestors(file: &str) -> Vec<String> {
    let mut above = vec![directory(file).to_owned()];
    while let Some(inner) = above.last().filter(|inner| !inner.is_empty()) {
        above.push(directory(inner).to_owned());
    }
    above
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_read_from_their_lines() {
        let modules = |line: &str| modules_of(line).join(" ");
        assert_eq!(modules("from .local import *  # noqa"), ".local");
        assert_eq!(modules("    from . import local, other as o"), ".local .other");
        assert_eq!(modules("from conf.base import DEBUG"), "conf.base conf.base.DEBUG");
        assert_eq!(modules("import os, a.b as c"), "os a.b");
        assert_eq!(modules("x = 'from . import y'"), "");
    }

    #[test]
    fn modules_are_looked_for_where_python_does() {
        assert_eq!(bases("src/site/settings.py", ".local"), ["src/site"]);
        assert_eq!(bases("src/site/settings/base.py", "..local"), ["src/site"]);
        assert_eq!(bases("src/site/settings.py", "local"), ["src/site", "src", ""]);
    }

    #[test]
    fn settings_are_known_by_their_names() {
        for path in ["settings.py", "a/local_settings.py", "a/settings_local.py", "a/settings/local.py"] {
            assert!(is_settings(path), "{path}");
        }
        for path in ["a/views.py", "settings.json", "settings/a/b.py"] {
            assert!(!is_settings(path), "{path}");
        }
    }
}
