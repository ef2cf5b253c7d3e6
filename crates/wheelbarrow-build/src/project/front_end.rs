//! What a build of the front end made and an ignore rule leaves out, although the site serves it.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;
use ignore::gitignore::Gitignore;

use super::ProjectFile;
use super::settings::{ancestors, is_settings};

pub(super) const NODE_MODULES: &str = "node_modules";
/// Of webpack-bundle-tracker, which django-webpack-loader reads.
const STATS: &str = "webpack-stats.json";
/// Directories that bundlers write.
const BUILT: [&str; 2] = ["dist", "build"];

/// Paths below `root`, directories with a slash at the end, each with the reason that it looks as if it was needed.
pub(super) fn left_out(root: &Path, found: &[ProjectFile]) -> Vec<(String, String)> {
    let mut lost = Vec::new();
    let has_below = |below: &str| found.iter().any(|file| file.path.starts_with(below));
    for file in found.iter().filter(|file| is_settings(&file.path)) {
        let text = fs::read_to_string(&file.source).unwrap_or_default();
        for above in ancestors(&file.path) {
            for name in [NODE_MODULES, STATS].into_iter().filter(|name| text.contains(name)) {
                let path = root.join(&above).join(name);
                let slash = if path.is_dir() { "/" } else { "" };
                let below = format!("{}{name}{slash}", prefix(&above));
                if path.exists() && !has_below(&below) {
                    lost.push((below, format!("{} names it", file.path)));
                }
            }
        }
    }
    // A directory that git ignores as a whole is where static files are collected.
    let (rules, _) = Gitignore::new(root.join(".gitignore"));
    let directories: BTreeSet<String> = found.iter().flat_map(|file| ancestors(&file.path)).collect();
    for directory in directories {
        for below in [directory.clone(), format!("{}static", prefix(&directory))] {
            let is_static = below.split('/').any(|part| part == "static");
            if !is_static || rules.matched_path_or_any_parents(&below, true).is_ignore() {
                continue;
            }
            for path in BUILT.map(|name| format!("{below}/{name}/")) {
                if has_scripts(&root.join(&path)) && !has_below(&path) {
                    lost.push((path, "it has scripts or styles of the site".to_owned()));
                }
            }
        }
    }
    lost.sort();
    lost.dedup_by(|one, other| one.0 == other.0);
    lost
}

fn prefix(directory: &str) -> String {
    if directory.is_empty() { String::new() } else { format!("{directory}/") }
}

/// At the top of the directory, or one level down.
fn has_scripts(directory: &Path) -> bool {
    let is_script = |path: &Path| path.extension().is_some_and(|end| end == "js" || end == "css");
    let mut entries = walkdir::WalkDir::new(directory).max_depth(2).into_iter().flatten();
    entries.any(|entry| entry.file_type().is_file() && is_script(entry.path()))
}
