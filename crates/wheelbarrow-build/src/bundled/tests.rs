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

#[test]
fn a_version_is_no_path() {
    let is_version = |text: &str| is_version(Path::new(text));
    assert!(is_version("3.12") && is_version("3.12.11") && is_version("3.13.1t"));
    assert!(!is_version("3.x") && !is_version("python-3.12"));
}
