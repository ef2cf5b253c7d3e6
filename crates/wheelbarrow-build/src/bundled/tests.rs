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

/// As pyenv makes it with `--enable-shared`.
#[test]
fn a_program_that_looks_elsewhere_for_its_library_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = |below: &str| place.path().join(below);
    for directory in ["bin", "lib/python3.12"] {
        fs::create_dir_all(path(directory)).unwrap();
    }
    fs::write(path("main.c"), "int main(void) { return 0; }\n").unwrap();
    let compile = |flags: &[&str], source: &str, made: &str| {
        let mut compiler = Command::new("cc");
        compiler.args(["-Wl,--no-as-needed", "-o", made]).args(flags).arg(source).current_dir(place.path());
        assert!(compiler.arg("-Llib").status().unwrap().success());
    };
    let library = "libpython3.12.so.1.0";
    let soname = format!("-Wl,-soname,{library}");
    compile(&["-shared", &soname], "main.c", &format!("lib/{library}"));
    let elsewhere = |flags: &[&str]| {
        let needs = format!("-l:{library}");
        compile(&[flags, &["main.c"]].concat(), &needs, "bin/python3.12");
        library_elsewhere(&path("bin/python3.12")).unwrap()
    };
    assert_eq!(elsewhere(&["-Wl,-rpath,$ORIGIN/../lib"]), None);
    let refused = elsewhere(&["-Wl,-rpath,/home/me/.pyenv/versions/3.12.1/lib"]).unwrap();
    insta::assert_snapshot!(refused, @"its bin/python3.12 looks for libpython3.12.so.1.0 in /home/me/.pyenv/versions/3.12.1/lib, not in the directory itself");
    let refused = elsewhere(&[]).unwrap();
    insta::assert_snapshot!(refused, @"its bin/python3.12 looks for libpython3.12.so.1.0 in the directories of the system, not in the directory itself");
    let cache = Cache::open(Some(&path("cache"))).unwrap();
    let taken = Bundled::take(place.path(), Path::new("."), &cache, true, &Silent).unwrap_err();
    assert!(taken.to_string().ends_with(&refused), "{taken}");
    fs::remove_file(path("lib").join(library)).unwrap();
    let without = library_elsewhere(&path("bin/python3.12")).unwrap();
    assert_eq!(without.as_ref(), Some(&refused));
}
