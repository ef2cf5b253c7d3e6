//! The wheels and zips of other projects' tests, each alone in an artifact: nobody decides here what comes of them, but both ways agree.

use std::path::{Path, PathBuf};

use super::{Case, WHEEL};
use crate::site;

pub(super) fn cases() -> Vec<Case> {
    let Some(shared) = site::shared() else { return Vec::new() };
    let conformance = shared.join("conformance");
    let wheels = files_below(&conformance.join("wheels"));
    assert!(wheels.len() > 50, "{} wheels", wheels.len());
    let zips = ["zips-go", "zips-cpython"].map(|group| files_below(&conformance.join(group))).concat();
    let case = |path: &Path, filename: &str| {
        let bytes = fs_err::read(path).unwrap();
        Case::wheel(&path.strip_prefix(&shared).unwrap().to_string_lossy(), filename, &bytes, None)
    };
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let wheels = wheels.iter().map(|path| case(path, &name(path)));
    wheels.chain(zips.iter().map(|path| case(path, WHEEL))).collect()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut paths: Vec<PathBuf> =
        fs_err::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}
