//! A release can be read by the user of the site and started, whatever the umask was and whatever became of its Python.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use serde_json::Value;

use super::root::{Place, Version, deploy_words};
use crate::support::Said;

const ARTIFACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/site-0.1.0.zip");

/// Under another umask. The artifact has a wheel, and is for Python 3.11.
fn deploy(place: &Place, umask: &str) -> Option<Said> {
    let find = Command::new("python3.11").args(["-c", "import sys; print(sys.executable)"]).output();
    let Ok(python) = find.map(|output| String::from_utf8(output.stdout).unwrap().trim().to_owned()) else {
        assert!(std::env::var_os("CI").is_none(), "there is no python3.11");
        println!("skipped: there is no python3.11");
        return None;
    };
    let deploy = place.command(&["deploy", ARTIFACT, "--without-pip", "--python", &python]);
    let mut shell = Command::new("sh");
    let words = format!("umask {umask} && exec \"$0\" \"$@\"");
    shell.args(["-c", &words]).arg(deploy.get_program()).args(deploy.get_args());
    for (name, value) in deploy.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    Some(place.finish(shell.current_dir(place.path())))
}

/// The mode of every file and directory below, links aside.
fn modes(directory: &Path) -> BTreeMap<PathBuf, u32> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_path_buf()];
    while let Some(next) = directories.pop() {
        found.insert(next.strip_prefix(directory).unwrap().to_path_buf(), mode(&next));
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() {
                found.insert(path.strip_prefix(directory).unwrap().to_path_buf(), mode(&path));
            }
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    let (open, closed) = (Place::new(), Place::new());
    let Some(said) = deploy(&open, "022") else { return };
    assert_eq!(said.code, 0, "{}", said.all());
    let said = deploy(&closed, "077").unwrap();
    assert_eq!(said.code, 0, "{}", said.all());
    for directory in ["site", "site/store", "site/releases", "site/shared/media", "site/current/venv"] {
        let (open, closed) = (open.path().join(directory), closed.path().join(directory));
        assert_eq!(mode(&open), mode(&closed), "{directory}");
    }
    assert_eq!(modes(&open.root().join("store/wheels")), modes(&closed.root().join("store/wheels")));
    let release = |place: &Place| modes(&fs::canonicalize(place.root().join("current")).unwrap());
    let of_closed = release(&closed);
    assert_eq!(release(&open), of_closed);
    let unreadable: Vec<_> = of_closed
        .iter()
        .filter(|(path, mode)| *mode & 0o004 == 0 && !path.starts_with(".wheelbarrow/logs"))
        .collect();
    assert!(unreadable.is_empty(), "{unreadable:?}");
}

#[test]
fn what_an_older_version_left_unreadable_in_the_store_is_unpacked_anew() {
    let place = Place::new();
    let Some(said) = deploy(&place, "022") else { return };
    assert_eq!(said.code, 0, "{}", said.all());
    let entry = fs::read_dir(place.root().join("store/wheels")).unwrap().next().unwrap().unwrap().path();
    for (path, mode) in modes(&entry) {
        fs::set_permissions(entry.join(path), PermissionsExt::from_mode(mode & 0o700)).unwrap();
    }
    let said = deploy(&place, "022").unwrap();
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(said.err.contains("cannot be read by others: the mode of its index is 0600"), "{}", said.err);
    let module = "current/venv/lib/python3.11/site-packages/greeting/__init__.py";
    assert_eq!(mode(&place.root().join(module)), 0o444);
}

#[test]
fn a_directory_that_keeps_the_owner_out_is_named_before_the_switch() {
    if !rustix::process::getuid().is_root() {
        return println!("skipped: only root deploys for another user");
    }
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    fs::set_permissions(place.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let artifact = place.artifact(&Version::good("2"));
    let mut words = deploy_words(&artifact);
    words.extend(["--owner", "65534"].map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = place.run(&words);
    assert_eq!((said.code, place.live()), (11, Some(1)), "{}", said.all());
    let named = "[PLACE] cannot be read by the user 65534: its mode is 0700, its owner 0";
    assert!(said.err.contains(named) && said.err.contains("chmod a+rX [PLACE]"), "{}", said.err);
    // A file of the release, too.
    fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let staged: Vec<&str> = words.iter().copied().chain(["--stage"]).collect();
    assert_eq!(place.run(&staged).code, 0);
    let code = release(&place, 3).join("code/app.py");
    fs::set_permissions(&code, PermissionsExt::from_mode(0o600)).unwrap();
    let said = place.run(&["activate", "3"]);
    if !said.err.contains("cannot be started") && !said.err.contains("/bin") {
        assert_eq!((said.code, place.live()), (11, Some(1)), "{}", said.all());
        assert!(
            said.err.contains("code/app.py cannot be read by the user 65534: its mode is 0600"),
            "{}",
            said.err
        );
    }
}

fn release(place: &Place, number: u64) -> PathBuf {
    let entries = fs::read_dir(place.root().join("releases")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let begin = format!("{number}-");
    paths.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&begin)).unwrap()
}

/// As an upgrade of the system does it.
fn take_python_away(place: &Place, number: u64, instead: &Path) {
    let python = release(place, number).join("venv/bin/python");
    fs::remove_file(&python).unwrap();
    fs_err::os::unix::fs::symlink(instead, python).unwrap();
}

#[test]
fn a_release_without_its_python_is_not_activated() {
    let place = Place::new();
    for version in ["1", "2"] {
        assert_eq!(place.deploy(&Version::good(version)).code, 0);
    }
    take_python_away(&place, 1, Path::new("/usr/bin/python0.1"));
    for words in [&["rollback"][..], &["activate", "1"]] {
        let said = place.run(words);
        assert_eq!((said.code, place.live()), (11, Some(2)), "{}", said.all());
        assert!(said.err.contains("it leads to /usr/bin/python0.1, which is missing"), "{}", said.err);
        assert!(
            said.err.contains("nothing was switched") && said.err.contains("--python PATH"),
            "{}",
            said.err
        );
    }
    let report: Value = serde_json::from_str(&place.run(&["doctor", "--json"]).out).unwrap();
    let found = &report["findings"].as_array().unwrap();
    assert!(found.iter().any(|finding| finding["rule"] == "cannot-start"), "{report}");
    // As a virtualenv has it: a name, which leads to the file.
    take_python_away(&place, 1, Path::new("python3"));
    fs::remove_file(release(&place, 1).join("venv/bin/python3")).ok();
    fs_err::os::unix::fs::symlink("/opt/python0.1/bin/python3", release(&place, 1).join("venv/bin/python3"))
        .unwrap();
    let said = place.run(&["activate", "1"]);
    assert!(said.err.contains("it leads to /opt/python0.1/bin/python3, which is missing"), "{}", said.err);
    assert_eq!(place.run(&["verify", "--release", "1"]).code, 10);
    // One that is there and does not run.
    let broken = place.path().join("python0.1");
    fs::write(&broken, "#!/bin/sh\necho libpython is missing >&2\nexit 127\n").unwrap();
    fs::set_permissions(&broken, PermissionsExt::from_mode(0o755)).unwrap();
    take_python_away(&place, 1, &broken);
    let said = place.run(&["rollback"]);
    assert!(said.code == 11 && said.err.contains("libpython is missing"), "{}", said.all());
}

#[test]
fn a_live_release_without_its_python_is_reported() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let status = || -> Value { serde_json::from_str(&place.run(&["status", "--json"]).out).unwrap() };
    assert_eq!(status()["broken"], Value::Null);
    // The link is as it was installed; what it leads to is gone.
    let (bin, gone) = (release(&place, 1).join("venv/bin"), "/usr/bin/python0.1");
    for entry in fs::read_dir(&bin).unwrap() {
        let path = entry.unwrap().path();
        if fs::read_link(&path).is_ok_and(|target| target.is_absolute()) {
            fs::remove_file(&path).unwrap();
            fs_err::os::unix::fs::symlink(gone, &path).unwrap();
        }
    }
    let receipt = release(&place, 1).join(".wheelbarrow/receipt.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&receipt).unwrap()).unwrap();
    value["interpreter"]["executable"] = gone.into();
    fs::write(&receipt, value.to_string()).unwrap();
    assert!(status()["broken"].as_str().unwrap().contains("cannot be started"), "{}", status());
    let said = place.run(&["verify"]);
    assert!(said.code == 10 && said.out.contains("missing venv/bin/python"), "{}", said.all());
    let environment = place.root().join("shared/environment.json");
    fs::write(&environment, r#"{"KEY": "1"}"#).unwrap();
    fs::set_permissions(&environment, PermissionsExt::from_mode(0o600)).unwrap();
    let said = place.run(&["env", "apply"]);
    assert!(
        said.code == 11 && said.err.contains("hint: install that Python again, or deploy"),
        "{}",
        said.all()
    );
}
