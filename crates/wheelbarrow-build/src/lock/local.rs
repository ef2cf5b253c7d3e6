//! Local files that a kept lock names. If one was replaced or removed, the lock is stale: the file is an
//! input like the requirement that names it.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Place, Pylock, place};
use crate::cache::hash_file;

/// Names of the packages whose local files are no longer as they were locked.
pub(super) fn changed(kept: &Pylock, lock_out: &Path) -> BTreeSet<String> {
    let directory = lock_out.parent().unwrap_or(Path::new("."));
    let mut changed = BTreeSet::new();
    for package in &kept.packages {
        let files = package.sdist.iter().chain(&package.wheels);
        let files = files.map(|file| (&file.path, &file.url, file.sha256()));
        let archive = package.archive.iter().map(|archive| (&archive.path, &archive.url, archive.sha256()));
        for (path, url, sha256) in files.chain(archive) {
            let Some(Place::Local(file)) = place(directory, path.as_deref(), url.as_deref()) else {
                continue;
            };
            if sha256.is_some() && hash_file(&file).ok().map(|(found, _)| found) != sha256 {
                changed.insert(package.name.clone());
            }
        }
    }
    changed
}

/// The text of a lock without these packages, for uv, which would take their hashes from it.
pub(super) fn without(text: &str, packages: &BTreeSet<String>) -> String {
    let Ok(mut lock) = text.parse::<toml::Table>() else { return String::new() };
    if let Some(listed) = lock.get_mut("packages").and_then(toml::Value::as_array_mut) {
        listed.retain(|package| {
            package.get("name").and_then(toml::Value::as_str).is_none_or(|name| !packages.contains(name))
        });
    }
    toml::to_string(&lock).unwrap_or_default()
}
