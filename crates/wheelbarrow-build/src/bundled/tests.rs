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
fn an_archive_brings_no_files_of_this_machine() {
    let place = tempfile::tempdir().unwrap();
    let path = |below: &str| place.path().join(below);
    fs::create_dir_all(path("from/lib/python3.12")).unwrap();
    fs::write(path("secret"), "x").unwrap();
    fs::write(path("from/lib/python3.12/a.py"), "").unwrap();
    let setuid = Permissions::from_mode(0o4777);
    fs::set_permissions(path("from/lib/python3.12/a.py"), setuid).unwrap();
    for (target, name) in [(path("secret"), "s.py"), (PathBuf::from("a.py"), "b.py")] {
        fs::os::unix::fs::symlink(target, path("from/lib/python3.12").join(name)).unwrap();
    }
    for (origin, to, has_secret) in [(Origin::Archive, "one", false), (Origin::Directory, "two", true)] {
        copy(&path("from"), &path(to), origin).unwrap();
        let library = path(to).join("lib/python3.12");
        assert_eq!(library.join("s.py").exists(), has_secret);
        assert!(library.join("b.py").is_symlink());
        assert_eq!(fs::metadata(library.join("a.py")).unwrap().permissions().mode() & 0o7777, 0o755);
    }
}

#[test]
fn a_site_needs_no_tests_and_no_windows() {
    let wanted = |path: &str| is_wanted(Path::new(path));
    for path in
        ["bin/python3.12", "bin/python3", "lib/libpython3.12.so.1.0", "lib/python3.12/json/decoder.py"]
    {
        assert!(wanted(path), "{path}");
    }
    for path in [
        "bin/pip3",
        "bin/python3.12-config",
        "include/python3.12",
        "lib/tcl8.6",
        "lib/python3.12/test",
        "lib/python3.12/ctypes/test",
        "lib/python3.12/site-packages",
        "lib/python3.12/lib-dynload/_tkinter.cpython-312-x86_64-linux-gnu.so",
        "lib/python3.12/config-3.12-x86_64-linux-gnu",
        "share",
    ] {
        assert!(!wanted(path), "{path}");
    }
    assert_eq!(numbers("2.28"), Some((2, 28)));
    assert!(
        is_version(Path::new("3.12")) && is_version(Path::new("3.13.1t")) && !is_version(Path::new("3.x"))
    );
}
