//! What this program does with a root that a later version has written to, and with what 0.1.0 wrote.
//! `docs/reference/compatibility.md` is the specification.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use serde_json::{Value, json};

use super::root::{Place, Version, deploy_words};
use super::thin::{copy, differences};
use crate::support::{Said, wheelbarrow};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn with_releases(number: usize) -> Place {
    let place = Place::new();
    for version in 1..=number {
        let said = place.deploy(&Version::good(&version.to_string()));
        assert_eq!(said.code, 0, "{}", said.all());
    }
    place
}

/// Below the root, in the release with this number.
fn in_release(place: &Place, number: u64, file: &str) -> PathBuf {
    let entries = fs::read_dir(place.root().join("releases")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let begin = format!("{number}-");
    let release = paths.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&begin)).unwrap();
    release.join(".wheelbarrow").join(file)
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn append(path: &Path, line: &str) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, format!("{text}{line}\n")).unwrap();
}

/// Every command that changes something is refused, names the version, and changes nothing.
fn is_refused(place: &Place, what: &str, needed: &str) {
    let before = place.path().join("before");
    copy(&place.root(), &before);
    let artifact = place.artifact(&Version::good("next"));
    let deploy = deploy_words(&artifact);
    let deploy: Vec<&str> = deploy.iter().map(String::as_str).collect();
    let commands: [&[&str]; 10] = [
        &["recover"],
        &deploy,
        &["rollback"],
        &["activate", "1"],
        &["prune", "--keep", "1"],
        &["pin", "3"],
        &["unpin", "3"],
        &["singletons", "no"],
        &["remove", "2"],
        &["env", "unset", "NAME"],
    ];
    for words in commands {
        let said = place.run(words);
        let verb = words[0];
        assert_eq!(said.code, 19, "{what}, {verb}: {}", said.all());
        assert!(said.err.contains(needed) && said.err.contains("is needed"), "{what}, {verb}: {}", said.err);
        assert!(said.err.contains("hint: "), "{what}, {verb}: {}", said.err);
    }
    let changed = differences(&before, &place.root());
    assert!(changed.is_empty(), "{what}: {changed:?}");
    fs::remove_dir_all(before).unwrap();
}

#[test]
fn a_root_of_a_later_version_is_not_changed() {
    let place = with_releases(3);
    let whole = place.path().join("whole");
    copy(&place.root(), &whole);
    let journal = place.root().join(".wheelbarrow/journal.jsonl");
    let begun = r#"{"at":1,"by":"x","event":"begun","operation":"relocate","id":"4-1a2b3c4d","live":null,"program":"9.0.0"}"#;
    let failed = r#"{"at":1,"by":"x","event":"failed","phase":"probe","error":"","outcome":"parked","milliseconds":1}"#;
    let later = |value: &mut Value| {
        value["format"] = json!(2);
        value["program"] = json!("9.0.0");
    };
    let in_settings = |value: &mut Value| value["settings"]["services"] = json!(["worker"]);
    let (of, nameless) = ("wheelbarrow 9.0.0 or later", "a wheelbarrow later than ");
    let edits: [(&str, &str, &dyn Fn()); 11] = [
        ("the record of a release", of, &|| edit(&in_release(&place, 2, "release.json"), later)),
        ("the record of the live release", of, &|| edit(&in_release(&place, 3, "release.json"), later)),
        ("a setting", nameless, &|| edit(&in_release(&place, 2, "release.json"), in_settings)),
        ("a live setting", nameless, &|| edit(&in_release(&place, 3, "release.json"), in_settings)),
        ("the receipt", of, &|| edit(&in_release(&place, 1, "receipt.json"), later)),
        ("static files", of, &|| {
            fs::write(in_release(&place, 2, "static.json"), r#"{"format": 2, "program": "9.0.0"}"#).unwrap();
        }),
        ("an operation", of, &|| append(&journal, begun)),
        ("an outcome", nameless, &|| append(&journal, failed)),
        ("a pin", of, &|| {
            let pin = place.root().join(".wheelbarrow/pins/1-1a2b3c4d");
            fs::write(pin, r#"{"format": 1, "program": "9.0.0", "until": "2030-01-01"}"#).unwrap();
        }),
        ("which host runs what one may run", of, &|| {
            let path = place.root().join(".wheelbarrow/singletons.json");
            fs::write(path, r#"{"format": 2, "program": "9.0.0"}"#).unwrap();
        }),
        ("the store", of, &|| {
            edit(&place.root().join("store/store.json"), later);
        }),
    ];
    for (what, needed, change) in edits {
        change();
        is_refused(&place, what, needed);
        fs::remove_dir_all(place.root()).unwrap();
        copy(&whole, &place.root());
    }
}

#[test]
fn a_release_of_a_later_version_is_listed_as_such() {
    let place = with_releases(2);
    edit(&in_release(&place, 1, "release.json"), |record| {
        record["format"] = json!(2);
        record["program"] = json!("9.0.0");
    });
    assert_eq!(place.list(), [(1, "newer".to_owned()), (2, "live".to_owned())]);
    let said = place.run(&["list"]);
    assert!(said.code == 0 && said.err.contains("wheelbarrow 9.0.0 or later is needed"), "{}", said.all());
    for words in [&["exec", "--release", "1", "true"][..], &["verify", "--release", "1"]] {
        let said = place.run(words);
        assert!(said.code == 19 && said.err.contains("9.0.0 or later is needed"), "{}", said.all());
    }
    // What is live is nothing that it does not understand.
    assert_eq!(place.run(&["exec", "true"]).code, 0);
    assert_eq!(place.run(&["verify"]).code, 0);
    edit(&in_release(&place, 2, "release.json"), |record| record["format"] = json!(2));
    let status: Value = serde_json::from_str(&place.run(&["status", "--json"]).out).unwrap();
    assert!(status["broken"].as_str().unwrap().contains("has format 2"), "{status}");
}

/// Additions that an older program can do without.
#[test]
fn keys_and_events_that_may_be_added_are_passed_over_and_stay() {
    let place = with_releases(2);
    edit(&in_release(&place, 1, "release.json"), |record| record["note"] = json!("hello"));
    edit(&in_release(&place, 1, "receipt.json"), |receipt| receipt["note"] = json!("hello"));
    let statics = in_release(&place, 1, "static.json");
    fs::write(&statics, r#"{"format": 1, "root": "code/static", "guests": {}, "note": "hello"}"#).unwrap();
    let other = in_release(&place, 2, "static.json");
    fs::write(&other, r#"{"format": 1, "root": "code/static", "guests": {}}"#).unwrap();
    append(
        &place.root().join(".wheelbarrow/journal.jsonl"),
        r#"{"at":1,"by":"x","event":"admired","note":"hello","id":"2-1a2b3c4d"}"#,
    );
    let said = place.run(&["rollback"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(place.list(), [(1, "live".to_owned()), (2, "bad".to_owned())]);
    // It was written anew, for the file of release 2 that it has as a guest now.
    let kept: Value = serde_json::from_slice(&fs::read(&statics).unwrap()).unwrap();
    assert_eq!((&kept["note"], &kept["guests"]["2.css"]), (&json!("hello"), &json!(1)), "{kept}");
}

#[test]
fn the_journal_names_the_version_that_wrote_it() {
    let place = with_releases(1);
    let version = env!("CARGO_PKG_VERSION");
    let record: Value =
        serde_json::from_slice(&fs::read(in_release(&place, 1, "release.json")).unwrap()).unwrap();
    assert_eq!(record["program"], version);
    let store: Value =
        serde_json::from_slice(&fs::read(place.root().join("store/store.json")).unwrap()).unwrap();
    assert_eq!(store, json!({"format": 1, "program": version}));
    let journal = fs::read_to_string(place.root().join(".wheelbarrow/journal.jsonl")).unwrap();
    let begun: Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
    assert_eq!((&begun["event"], &begun["program"]), (&json!("begun"), &json!(version)));
}

/// The root of 0.1.0: releases 1 and 2, of which 1 was gone back to, and is pinned.
fn old_root() -> Place {
    let place = Place::new();
    let tar = Command::new("tar")
        .arg("-xzf")
        .arg(format!("{FIXTURES}/root-0.1.0.tar.gz"))
        .arg("-C")
        .arg(place.path())
        .status();
    assert!(tar.unwrap().success());
    place
}

#[test]
fn a_root_of_0_1_0_is_understood() {
    let place = old_root();
    assert_eq!(place.list(), [(1, "live".to_owned()), (2, "bad".to_owned())]);
    let stories: Value = serde_json::from_str(&place.run(&["history", "--json"]).out).unwrap();
    let operations: Vec<_> = stories.as_array().unwrap().iter().map(|story| &story["operation"]).collect();
    assert_eq!(operations, ["deploy", "deploy", "rollback"]);
    let status: Value = serde_json::from_str(&place.run(&["status", "--json"]).out).unwrap();
    assert_eq!((&status["live"]["version"], &status["live"]["is_pinned"]), (&json!("1"), &json!(true)));
    // It was made in /srv/site, with the Python of the system.
    let said = place.run(&["recover", "--moved"]);
    assert_eq!((said.code, said.out.lines().count()), (0, 2), "{}", said.all());
    let code = if Path::new("/usr/bin/python3").exists() { 0 } else { 10 };
    for release in ["1", "2"] {
        let said = place.run(&["verify", "--release", release]);
        assert_eq!(said.code, code, "{}", said.all());
    }
    assert_eq!(place.run(&["store", "verify", "site/store"]).code, 0);
    // And changed.
    assert_eq!(place.run(&["unpin", "1"]).code, 0);
    let said = place.deploy(&Version::good("next"));
    assert_eq!(said.code, 0, "{}", said.all());
    let said = place.run(&["prune", "--keep", "1"]);
    assert_eq!(said.code, 0, "{}", said.all());
    let states = [(1, "good".to_owned()), (2, "bad".to_owned()), (3, "live".to_owned())];
    assert_eq!(place.list(), states);
}

#[test]
fn an_entry_of_the_store_of_a_later_version_is_left_alone() {
    let place = old_root();
    let wheels = place.root().join("store/wheels");
    let entry = fs::read_dir(&wheels).unwrap().next().unwrap().unwrap().path();
    let index = fs::read(entry.join("index")).unwrap();
    let begin = b"wheelbarrow-index ";
    assert!(index.starts_with(begin));
    let mut later = index.clone();
    later[begin.len()] = b'2';
    fs::write(entry.join("index"), later).unwrap();
    let live = place.root().join("current");
    let live = live.to_str().unwrap();
    for words in [&["store", "verify", "site/store"][..], &["store", "gc", "site/store", "--keep-for", live]]
    {
        let said = place.run(words);
        assert!(said.code == 19 && said.err.contains("has an index of format 2"), "{}", said.all());
        assert!(entry.join("index").is_file());
    }
}

#[test]
fn an_artifact_of_0_1_0_is_understood() {
    let place = Place::new();
    let artifact = format!("{FIXTURES}/site-0.1.0.zip");
    let said = place.run(&["verify", &artifact]);
    assert_eq!(said.code, 0, "{}", said.all());
    let Some(python) = its_python() else { return };
    let said = place.run(&["deploy", &artifact, "--without-pip", "--python", &python]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(place.list(), [(1, "live".to_owned())]);
    assert_eq!(place.run(&["exec", "hello"]).out, "hello\n");
}

/// The Python that the fixture is for.
fn its_python() -> Option<String> {
    let python = Command::new("python3.11").arg("-c").arg("import sys; print(sys.executable)").output();
    let python = python.map(|output| String::from_utf8(output.stdout).unwrap().trim().to_owned());
    if python.is_err() {
        assert!(std::env::var_os("CI").is_none(), "there is no python3.11");
        println!("skipped: there is no python3.11");
    }
    python.ok()
}

/// The artifact of 0.1.0 brings the fallback installer of 0.1.0: an older program on what this one has made, and the other way round.
#[test]
fn an_installer_of_0_1_0_and_this_one_replace_what_the_other_has_made() {
    let place = Place::new();
    let Some(python) = its_python() else { return };
    let artifact = format!("{FIXTURES}/site-0.1.0.zip");
    let destination = place.path().join("destination");
    let older = |words: &[&str]| {
        let mut command = Command::new(&python);
        command.arg(&artifact).args(["--without-pip", "-d", "destination"]).args(words);
        place.finish(command.current_dir(place.path()))
    };
    let ours = |words: &[&str]| {
        let mut command = wheelbarrow(&place.path());
        command.args(["install", &artifact, "--without-pip", "--python", &python, "-d", "destination"]);
        place.finish(command.args(words))
    };
    let verify = || place.finish(wheelbarrow(&place.path()).args(["verify", "destination"]));
    let environment = destination.join("environment.json");
    let said = older(&[]);
    assert_eq!(said.code, 0, "{}", said.all());
    for replace in [&ours as &dyn Fn(&[&str]) -> Said, &older, &ours] {
        let said = verify();
        assert_eq!(said.code, 0, "{}", said.all());
        fs::write(&environment, r#"{"KEPT": "yes"}"#).unwrap();
        let said = replace(&["--replace"]);
        assert_eq!(said.code, 0, "{}", said.all());
        assert_eq!(fs::read_to_string(&environment).unwrap(), r#"{"KEPT": "yes"}"#);
    }
    assert_eq!(verify().code, 0);
    // Of a root it knows nothing, and so changes nothing.
    let said = place.deploy(&Version::good("1"));
    assert_eq!(said.code, 0, "{}", said.all());
    let before = place.path().join("before");
    copy(&place.root(), &before);
    let mut deploy = Command::new(&python);
    let said = place.finish(deploy.arg(&artifact).args(["deploy", "--root"]).arg(place.root()));
    assert_ne!(said.code, 0, "{}", said.all());
    assert!(differences(&before, &place.root()).is_empty());
}
