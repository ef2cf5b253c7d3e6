//! Parts of files that are generated from a table in Rust.

use std::path::Path;

use fs_err as fs;

/// The part of `file`, a path in the workspace, between two texts is `wanted`. `WHEELBARROW_UPDATE=1` writes it anew.
#[track_caller]
pub fn assert_part(file: &str, begin: &str, end: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{file} has no {begin:?}"));
    let (found, after) = rest.split_once(end).unwrap_or_else(|| panic!("{file} has no {end:?}"));
    if std::env::var_os("WHEELBARROW_UPDATE").is_some() {
        fs::write(&path, format!("{before}{begin}{wanted}{end}{after}")).unwrap();
    } else {
        assert_eq!(found, wanted, "{file} is stale: run this test with WHEELBARROW_UPDATE=1");
    }
}
