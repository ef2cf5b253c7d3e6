//! From requirements as people write them to wheels, through uv and the index.

use fs_err as fs;
use wheelbarrow_build::Error;

use crate::support::{Site, filenames, has_uv, told};

#[test]
fn requirements_become_a_lock_and_the_lock_wheels() {
    if !has_uv() {
        return;
    }
    let site = Site::new(&[
        (
            "requirements.txt",
            "\u{feff}-r requirements/web.txt\r\ndocopt==0.6.2\r\ncolorama; sys_platform == 'win32'",
        ),
        ("requirements/web.txt", "-c limits.txt\nasgiref>=3 # servers\n"),
        ("requirements/limits.txt", "asgiref<3.8\n"),
    ]);
    let gathered = site.gather().unwrap();
    assert_eq!(filenames(&gathered), ["asgiref-3.7.2-py3-none-any.whl", "docopt-0.6.2-py2.py3-none-any.whl"]);
    let [asgiref, docopt] = gathered.targets[0].wheels.as_slice() else { panic!() };
    assert!(!asgiref.built && docopt.built, "only docopt has no wheel");
    assert!(gathered.targets[0].pip.filename.starts_with("pip-"));
    assert_eq!(site.notes.take().len(), 1, "one was built");

    let text = fs::read_to_string(site.lock_file()).unwrap();
    assert!(text.starts_with("# The dependencies of site, locked by Wheelbarrow from requirements.txt.\n"));
    assert!(!text.contains(&*site.project().to_string_lossy()), "no path of this machine");

    let lock = site.lock().unwrap();
    assert!(!lock.resolved, "the lock is used again");
    let again = site.gather_lock(&lock).unwrap();
    assert_eq!(again.targets[0].wheels, gathered.targets[0].wheels);
    assert_eq!(site.notes.take(), Vec::<String>::new(), "and so is what was built");

    site.write("requirements/limits.txt", "asgiref<3.7\n");
    assert!(site.lock().unwrap().resolved, "a nested file changed");
}

#[test]
fn offline_takes_the_cache_or_says_what_is_lacking() {
    if !has_uv() {
        return;
    }
    let mut site = Site::new(&[("requirements.txt", "asgiref==3.7.2\n")]);
    let lock = site.lock().unwrap();
    site.index.offline = true;
    let error = site.gather_lock(&lock).unwrap_err();
    assert_eq!(error.exit_code(), 9);
    site.index.offline = false;
    site.gather_lock(&lock).unwrap();
    site.index.offline = true;
    assert_eq!(filenames(&site.gather_lock(&lock).unwrap()), ["asgiref-3.7.2-py3-none-any.whl"]);
}

#[test]
fn hashes_in_requirements_are_held_against_the_files() {
    if !has_uv() {
        return;
    }
    let wrong = "0".repeat(64);
    let site = Site::new(&[("requirements.txt", &format!("six==1.16.0 \\\n  --hash=sha256:{wrong}"))]);
    let error = site.gather().unwrap_err();
    let Error::Hash { file, expected, .. } = &error else { panic!("{error}") };
    assert_eq!(file, "six-1.16.0-py2.py3-none-any.whl");
    assert_eq!(*expected, [format!("sha256:{wrong}")]);

    let right = "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254";
    site.write("requirements.txt", &format!("six==1.16.0 --hash=sha256:{wrong} --hash=sha256:{right}"));
    assert_eq!(filenames(&site.gather().unwrap()), ["six-1.16.0-py2.py3-none-any.whl"]);
}

#[test]
fn a_local_directory_is_built_and_built_again_when_it_changes() {
    if !has_uv() {
        return;
    }
    let site = Site::new(&[
        ("requirements.txt", "-e ./local\n"),
        (
            "local/pyproject.toml",
            "[project]\nname = \"Lo.cal\"\nversion = \"1.0\"\n[build-system]\nrequires = [\"setuptools\"]\n",
        ),
        ("local/lo_cal/__init__.py", "one = 1\n"),
    ]);
    let first = site.gather().unwrap();
    let wheel = &first.targets[0].wheels[0];
    assert_eq!((wheel.name.as_str(), wheel.built, &wheel.direct_url), ("lo-cal", true, &None));
    assert!(!site.project().join("local/build").exists(), "nothing is left behind");

    assert_eq!(site.gather().unwrap().targets[0].wheels[0].sha256, wheel.sha256);
    site.write("local/lo_cal/__init__.py", "one = 2\n");
    assert_ne!(site.gather().unwrap().targets[0].wheels[0].sha256, wheel.sha256);
    assert!(!site.lock().unwrap().resolved, "its requirements are the same");
    site.write("local/pyproject.toml", "[project]\nname = \"Lo.cal\"\nversion = \"1.1\"\ndependencies = [\"six\"]\n[build-system]\nrequires = [\"setuptools\"]\n");
    assert_eq!(site.gather().unwrap().targets[0].wheels.len(), 2);
}

#[test]
fn a_failed_build_shows_its_last_lines() {
    if !has_uv() {
        return;
    }
    let site = Site::new(&[
        ("requirements.txt", "./broken\n"),
        (
            "broken/setup.py",
            "from setuptools import Extension, setup\nsetup(name='broken', version='1', ext_modules=[Extension('b', ['b.c'])])\n",
        ),
        ("broken/b.c", "#include <no_such_header.h>\n"),
    ]);
    let error = site.gather().unwrap_err();
    let Error::Build { package, last_lines, log, .. } = &error else { panic!("{error}") };
    assert_eq!(package, "broken");
    assert!(last_lines.contains("no_such_header.h"), "{last_lines}");
    assert!(log.is_file() && error.exit_code() == 8);
    assert!(error.hint().unwrap().contains("headers are missing"), "{}", told(&error, &site.project()));
}
