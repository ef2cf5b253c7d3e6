use std::os::unix::fs::PermissionsExt;

use wheelbarrow_base::progress::Silent;

use super::fetched::is_version;
use super::*;

#[test]
fn a_directory_with_more_than_a_python_is_refused_before_it_is_read() {
    let place = tempfile::tempdir().unwrap();
    let make = |path: &str| fs::create_dir_all(place.path().join(path)).unwrap();
    let check = || check_directory(place.path()).map_err(|error| error.to_string());
    make("bin");
    assert!(check().unwrap_err().ends_with(NO_PROGRAM));
    make("python/lib/python3.12");
    make("python/bin");
    fs::write(place.path().join("python/bin/python3.12"), "").unwrap();
    assert_eq!(check(), Ok(()));
    for (name, reason) in NOT_ALONE {
        make(&format!("python/{name}"));
        assert!(check().unwrap_err().ends_with(&format!("{reason} (it has {name})")));
        fs::remove_dir(place.path().join("python").join(name)).unwrap();
    }
}

/// Such as CPython linked with `-static` against musl: it reports no C library.
#[test]
fn a_static_python_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let (python, cache) =
        (place.path().join("python"), Cache::open(Some(&place.path().join("cache"))).unwrap());
    fs::create_dir_all(python.join("bin")).unwrap();
    fs::create_dir_all(python.join("lib/python3.12")).unwrap();
    let program = python.join("bin/python3.12");
    let facts = |libc: &str| {
        format!(
            r#"{{"executable": "/python3.12", "version": [3, 12, 1], "implementation": "cpython",
            "cache_tag": "cpython-312", "magic": "", "abi": "cp312", "machine": "x86_64", "libc": {libc},
            "site_packages": "", "headers": ""}}"#
        )
    };
    let take = |libc: &str| {
        fs::write(&program, format!("#!/bin/sh\ncat <<'FACTS'\n{}\nFACTS\n", facts(libc))).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        Bundled::take(&python, Path::new("."), &cache, true, &Silent)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let refused = take(r#"{"name": "unknown", "version": [0, 0]}"#).unwrap_err();
    assert!(refused.ends_with(STATIC), "{refused}");
    let dynamic = take(r#"{"name": "musl", "version": [1, 2]}"#).err().unwrap_or_default();
    assert!(!dynamic.contains(STATIC), "{dynamic}");
}

#[test]
fn a_version_is_no_path() {
    let is_version = |text: &str| is_version(Path::new(text));
    assert!(is_version("3.12") && is_version("3.12.11") && is_version("3.13.1t"));
    assert!(!is_version("3.x") && !is_version("python-3.12"));
}
