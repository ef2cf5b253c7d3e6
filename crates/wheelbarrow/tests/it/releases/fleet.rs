//! What a machine among others is asked for: steps of a deploy apart from each other, twice the same, and taken back
//! together.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use fs_err as fs;
use serde_json::{Value, json};

use super::root::{Place, Version, deploy_words};
use super::site::interpreter;
use crate::support::Said;

fn json(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}", said.all());
    serde_json::from_str(&said.out).unwrap()
}

/// `deploy` with more words, as JSON.
fn deploy(place: &Place, version: &Version, words: &[&str]) -> Said {
    let deploy = deploy_words(&place.artifact(version));
    let deploy: Vec<&str> = deploy.iter().map(String::as_str).collect();
    place.run(&[&deploy, words, &["--json"]].concat())
}

fn write_environment(place: &Place, words: &[&str], input: &str) -> Said {
    let mut command = place.command(&[&["env", "write"], words].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn an_existing_release_is_not_made_again() {
    let place = Place::new();
    let (one, two) = (Version::good("1"), Version::good("2"));
    let artifact = place.artifact(&one).display().to_string();
    let find = || json(&place.run(&["find", &artifact, "--json"]));
    assert_eq!(find(), json!({"id": null, "state": null, "live": null}));
    let plan = json(&deploy(&place, &one, &["--stage", "--reuse", "--dry-run"]));
    assert!(plan["is_new"] == true && !place.root().exists(), "{plan}");

    let staged = json(&deploy(&place, &one, &["--stage", "--reuse"]));
    assert!(staged["is_new"] == true && staged["is_live"] == false, "{staged}");
    let id = &staged["id"];
    assert_eq!(find(), json!({"id": id, "state": "staged", "live": null}));
    let again = json(&deploy(&place, &one, &["--stage", "--reuse"]));
    assert!(again["is_new"] == false && again["id"] == *id, "{again}");
    let live = json(&deploy(&place, &one, &["--reuse"]));
    assert!(live["is_new"] == false && live["is_live"] == true && live["id"] == *id, "{live}");
    assert_eq!(json(&deploy(&place, &one, &["--reuse", "--dry-run"]))["id"], *id);
    let manifest = json(&place.run(&["status", "--json"]))["fingerprint"]["artifact"].clone();
    let found = json(&place.run(&["find", manifest.as_str().unwrap(), "--json"]));
    assert_eq!(found, json!({"id": id, "state": "live", "live": id}));
    let operations = json(&place.run(&["history", "--json"]));
    assert_eq!(operations.as_array().unwrap().len(), 2, "what is live already needs nothing: {operations}");

    // So is one on another Python.
    let other = place.path().join("python");
    fs::copy(&interpreter().executable, &other).unwrap();
    let of = |python: &Path| {
        json(&place.run(&["find", &artifact, "--python", python.to_str().unwrap(), "--json"]))
    };
    assert_eq!(of(&interpreter().executable)["id"], *id);
    assert_eq!(of(&other)["id"], Value::Null);
    let mut words = deploy_words(Path::new(&artifact));
    *words.last_mut().unwrap() = other.display().to_string();
    words.extend(["--reuse", "--dry-run", "--json"].map(str::to_owned));
    let plan = json(&place.run(&words.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(plan["is_new"], true);

    // Another environment, and one that somebody went back from, are other releases.
    assert_eq!(json(&write_environment(&place, &["--json"], r#"{"A": "1"}"#))["is_pending"], true);
    assert_eq!(find()["id"], Value::Null);
    assert_eq!(json(&deploy(&place, &one, &["--reuse"]))["is_new"], true);
    json(&deploy(&place, &two, &[]));
    json(&place.run(&["rollback", "--json"]));
    assert_eq!(json(&deploy(&place, &two, &["--reuse", "--stage"]))["is_new"], true);
    // By hand the same is made as often as it is asked for.
    assert_eq!(json(&deploy(&place, &one, &["--stage"]))["is_new"], true);
}

#[test]
fn steps_run_as_separate_commands() {
    let place = Place::new();
    let command = |name: &str, word: &str| {
        format!(
            "['python', '-c', 'open(\"{}/{name}\", \"a\").write(\"x\")', '{word}']",
            place.path().display()
        )
    };
    let prepare =
        format!("prepare = [{}, {}]", command("schema", "migrate"), command("static", "collectstatic"));
    let ran = |name| fs_err::read_to_string(place.path().join(name)).map_or(0, |text| text.len());
    json(&deploy(&place, &Version::good("0"), &[]));
    json(&deploy(&place, &Version::with("1", &prepare), &["--stage"]));

    let looked = json(&place.run(&["check", "2", "--json"]));
    assert!(looked["due"] == json!([]) && ran("schema") + ran("static") == 0, "{looked}");
    let plan = json(&place.run(&["migrate", "2", "--dry-run", "--json"]));
    assert!(plan["is_changed"] == true && ran("schema") == 0, "{plan}");
    let migrated = json(&place.run(&["migrate", "2", "--json", "--deploy-id", "fleet-1"]));
    assert!(migrated["is_changed"] == true && (ran("schema"), ran("static")) == (1, 0), "{migrated}");
    assert_eq!(place.live(), Some(1));
    let again = json(&place.run(&["migrate", "2", "--json"]));
    assert!(again["is_changed"] == false && again["commands"] == json!([]) && ran("schema") == 1, "{again}");
    json(&place.run(&["activate", "2", "--no-migrate", "--json", "--deploy-id", "fleet-1"]));
    assert_eq!((ran("schema"), ran("static"), place.live()), (1, 1, Some(2)));

    let told = json(&place.run(&["history", "--json"]));
    let told: Vec<_> =
        told.as_array().unwrap().iter().map(|story| (&story["operation"], &story["deploy"])).collect();
    let wanted = json!([
        ["deploy", null],
        ["deploy", null],
        ["check", null],
        ["migrate", "fleet-1"],
        ["activate", "fleet-1"]
    ]);
    assert_eq!(json!(told), wanted);
    let said = place.run(&["activate", "1", "--deploy-id", "two words"]);
    assert!(said.code == 2 && said.err.contains("a word of up to 100"), "{}", said.all());
}

#[test]
fn a_failure_is_json_too() {
    let place = Place::new();
    json(&deploy(&place, &Version::good("0"), &[]));
    let failing = "prepare = [['python', '-c', 'import sys; sys.exit(\"no such table\")', 'migrate']]";
    json(&deploy(&place, &Version::with("1", failing), &["--stage"]));
    let said = place.run(&["migrate", "2", "--json"]);
    let failure = &serde_json::from_str::<Value>(&said.out).unwrap()["failure"];
    assert_eq!((said.code, &failure["exit_code"]), (12, &json!(12)), "{}", said.all());
    assert_eq!((&failure["phase"], &failure["outcome"]), (&json!("prepare"), &json!("unchanged")));
    assert!(failure["id"].as_str().unwrap().starts_with("2-"), "{failure}");
    assert!(failure["causes"][0].as_str().unwrap().contains("no such table"), "{failure}");
    assert!(failure["hint"].as_str().unwrap().contains("prepare-1.log") && said.err.contains("hint: "));
    let said = place.run(&["activate", "9", "--json"]);
    let failure = &serde_json::from_str::<Value>(&said.out).unwrap()["failure"];
    assert!(said.code == 5 && failure["phase"] == Value::Null, "{}", said.all());
    assert_eq!(place.run(&["activate", "9"]).out, "");
}

#[test]
fn rollback_of_a_deploy_affects_its_own_switch_only() {
    let place = Place::new();
    json(&deploy(&place, &Version::good("1"), &["--deploy-id", "first"]));
    let back = |deploy: &str| place.run(&["rollback", "--deploy-id", deploy, "--json"]);
    let stays = |deploy: &str, number: u64| {
        let said = back(deploy);
        let told = json(&said);
        assert!(told["id"] == told["previous"] && said.err.contains("stays"), "{}", said.all());
        assert_eq!(place.live(), Some(number));
    };
    // Nothing was live before it, and another deploy has switched nothing.
    stays("first", 1);
    stays("second", 1);
    json(&deploy(&place, &Version::good("2"), &["--deploy-id", "second"]));
    json(&deploy(&place, &Version::good("3"), &["--deploy-id", "second"]));
    let plan = json(&place.run(&["rollback", "--deploy-id", "second", "--dry-run", "--json"]));
    assert!(plan["id"].as_str().unwrap().starts_with("1-") && place.live() == Some(3), "{plan}");
    let told = json(&back("second"));
    assert!(told["id"].as_str().unwrap().starts_with("1-"), "{told}");
    assert_eq!(place.live(), Some(1), "what was live before the deploy, not before its last step");
    stays("second", 1);
    // What somebody has made live since is theirs.
    json(&deploy(&place, &Version::good("4"), &["--deploy-id", "third"]));
    json(&deploy(&place, &Version::good("5"), &[]));
    stays("third", 5);
}

#[test]
fn an_unused_release_is_removed() {
    let place = Place::new();
    for name in ["1", "2"] {
        json(&deploy(&place, &Version::good(name), &[]));
    }
    place.run(&["pin", "1"]);
    for (id, why) in [("1", "it is pinned"), ("2", "it is live")] {
        let said = place.run(&["remove", id]);
        assert!(said.code == 5 && said.err.contains(why), "{}", said.all());
    }
    place.run(&["unpin", "1"]);
    json(&place.run(&["remove", "1", "--dry-run", "--json"]));
    assert_eq!(place.list().len(), 2);
    let told = json(&place.run(&["remove", "1", "--json"]));
    assert!(told["id"].as_str().unwrap().starts_with("1-"));
    assert_eq!(place.list(), [(2, "live".to_owned())]);
    assert_eq!(place.run(&["remove", "1"]).code, 5);
}

#[test]
fn an_environment_is_written_as_a_whole() {
    let place = Place::new();
    let secret = "correct-horse-battery";
    let values = json!({"B": secret, "A": "1"}).to_string();
    let plan = json(&write_environment(&place, &["--json", "--dry-run"], &values));
    assert!(plan["is_changed"] == true && !place.root().exists(), "{plan}");
    let told = json(&write_environment(&place, &["--json"], &values));
    assert_eq!(told["difference"], json!({"added": ["A", "B"], "removed": [], "changed": []}));
    let file = place.root().join("shared/environment.json");
    let text = fs_err::read_to_string(&file).unwrap();
    assert_eq!(text, format!("{{\n  \"A\": \"1\",\n  \"B\": \"{secret}\"\n}}\n"));
    let same = json!({"A": "1", "B": secret}).to_string();
    assert_eq!(json(&write_environment(&place, &["--json"], &same))["is_changed"], false);

    let merged = write_environment(&place, &["--merge"], r#"{"C": "3", "A": "2"}"#);
    assert!(merged.out.starts_with("+ C\n~ A\nwrote "), "{}", merged.all());
    assert_eq!(place.run(&["env", "list"]).out, "A\nB\nC\n");
    for wrong in [r#"{"A": 1}"#, "{", r#"{"A B": "1"}"#, "[]"] {
        let said = write_environment(&place, &["--json"], wrong);
        assert!([2, 7].contains(&said.code) && !said.all().contains(secret), "{wrong}: {}", said.all());
    }
    assert_eq!(place.run(&["env", "list"]).out, "A\nB\nC\n");
    let replaced = write_environment(&place, &[], "{}");
    assert!(replaced.out.starts_with("- A\n- B\n- C\n"), "{}", replaced.all());
}
