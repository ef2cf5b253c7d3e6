//! What a deploy says while it works, and what it has changed; what the history knows of it.

use serde_json::{Value, json};

use super::root::{Place, Version, deploy_words};
use crate::support::Said;

fn deploy(place: &Place, version: &Version, flags: &[&str]) -> Said {
    let words = deploy_words(&place.artifact(version));
    place.run(&words.iter().map(String::as_str).chain(flags.iter().copied()).collect::<Vec<_>>())
}

/// The phases that were shown: a word, and its time.
fn phases(said: &Said) -> Vec<&str> {
    let phase = |line: &'_ str| line.ends_with(" s") && !line.contains(':');
    said.err.lines().filter(|line| phase(line)).map(|line| line[..14].trim_end()).collect()
}

const PREPARE: &str = "prepare = ['true']\n[hooks]\nafter_switch = 'true'\n";
const PHASES: [&str; 11] = [
    "preflight",
    "stage",
    "configure",
    "check",
    "prepare",
    "check",
    "switch",
    "reload",
    "probe",
    "commit",
    "hook after_switch",
];

#[test]
fn a_pipe_gets_a_line_for_each_phase() {
    let place = Place::new();
    let said = deploy(&place, &Version::with("1", PREPARE), &[]);
    assert_eq!(said.code, 0, "{}", said.all());
    let mut shown = phases(&said);
    assert_eq!(shown.pop(), Some("prune"));
    let expected: Vec<_> = PHASES.iter().map(|name| &name[..name.len().min(14)]).collect();
    assert_eq!(shown, expected, "{}", said.all());
    let quiet = deploy(&place, &Version::with("2", PREPARE), &["--quiet"]);
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (0, "", ""));

    let said = deploy(&place, &Version::with("3", PREPARE), &["--json"]);
    assert_eq!(phases(&said), Vec::<&str>::new(), "{}", said.all());
    let deployed: Value = serde_json::from_str(&said.out).unwrap();
    let phases = deployed["changes"]["phases"].as_array().unwrap();
    let names: Vec<_> = phases.iter().map(|phase| phase[0].as_str().unwrap()).collect();
    assert_eq!(names, PHASES);
    assert!(phases.iter().all(|phase| phase[1].is_u64()), "{phases:?}");

    // Up to the one that failed, and the way back.
    let failing = "server = { kind = 'command', command = 'false' }";
    let said = deploy(&place, &Version::with("4", failing), &[]);
    assert_eq!(said.code, 13, "{}", said.all());
    let ended = ["preflight", "stage", "configure", "check", "switch", "reload", "rollback"];
    assert_eq!(self::phases(&said), ended, "{}", said.all());
}

#[test]
fn another_python_is_reported() {
    let place = Place::new();
    assert!(!deploy(&place, &Version::good("1"), &[]).out.contains("python"));
    assert!(!deploy(&place, &Version::good("2"), &[]).out.contains("python"));
    // As if the live release had been made on another Python.
    let receipt = place.release(2).join(".wheelbarrow/receipt.json");
    let mut written: Value = serde_json::from_slice(&fs_err::read(&receipt).unwrap()).unwrap();
    let version = written["interpreter"]["version"].as_str().unwrap().to_owned();
    written["interpreter"]["version"] = json!("3.1.4");
    fs_err::write(&receipt, serde_json::to_vec(&written).unwrap()).unwrap();
    let planned = deploy(&place, &Version::good("3"), &["--dry-run"]);
    let is_python = |line: &str| line.split_whitespace().eq(["python", "3.1.4", "->", &version]);
    assert!(planned.out.lines().any(is_python), "{}", planned.all());
    let planned = deploy(&place, &Version::good("3"), &["--dry-run", "--json"]);
    let planned: Value = serde_json::from_str(&planned.out).unwrap();
    assert_eq!(planned["python"]["from"], "3.1.4");
    let said = deploy(&place, &Version::good("3"), &["--reuse"]);
    assert!(said.out.lines().any(is_python), "{}", said.all());
    // And back again.
    let said = place.run(&["rollback", "--json"]);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["changes"]["python"], json!({"name": "python", "from": version, "to": "3.1.4"}));
}

#[test]
fn changes_are_reported_at_the_end() {
    let place = Place::new();
    let settings = "static_root = 'static'\nserver = { kind = 'command', command = 'true' }";
    let said = deploy(&place, &Version::with("1", settings), &[]);
    assert!(said.out.contains("\n  static files  1 file, 1 added\n  server        true\n"), "{}", said.all());
    // The one of before stays reachable, and is not counted.
    let said = deploy(&place, &Version::with("2", settings), &[]);
    assert!(said.out.contains("\n  static files  1 file, 1 added, 1 removed\n"), "{}", said.all());
    let settings = format!("service = [{{ name = 'mail', command = 'true' }}]\n{settings}");
    let said = deploy(&place, &Version::with("3", &settings), &["--json"]);
    let deployed: Value = serde_json::from_str(&said.out).unwrap();
    let mut changes = deployed["changes"].clone();
    changes.as_object_mut().unwrap().remove("phases");
    assert_eq!(
        changes,
        json!({
            "distributions": {"added": [], "removed": [], "changed": []},
            "migrations": [],
            "static_files": {"files": 1, "added": 1, "removed": 1},
            "services": {"added": ["mail"], "removed": [], "changed": []},
            "environment": {"added": [], "removed": [], "changed": []},
            "server": "true",
            "python": null,
            "findings": {"new": [], "known": 0},
        })
    );
    let said = place.run(&["rollback"]);
    let right = "\n  static files  1 file, 1 added, 1 removed\n  services      - mail\n";
    assert!(said.out.contains(right), "{}", said.all());
}

#[test]
fn the_history_of_a_release_has_every_phase_and_command() {
    let place = Place::new();
    let settings = "prepare = [['sh', '-c', 'exit 0']]\n[hooks]\nafter_switch = [['sh', '-c', 'exit 3']]\n";
    assert_eq!(place.deploy(&Version::with("1", settings)).code, 0);
    assert_eq!(place.deploy(&Version::good("2")).code, 0);
    assert_eq!(place.run(&["rollback"]).code, 0);
    let said = place.run(&["history", "1"]);
    let lines: Vec<_> = said.out.lines().collect();
    assert!(lines[0].contains(" deploy of 1-") && lines[0].ends_with(" s: done"), "{}", said.all());
    assert!(lines.iter().any(|line| line.contains(" rollback of 1-")), "{}", said.all());
    assert!(!said.out.contains("of 2-"), "{}", said.all());
    for phase in
        ["preflight", "stage", "configure", "check", "prepare", "switch", "reload", "probe", "commit"]
    {
        assert!(lines.iter().any(|line| line.starts_with(&format!("  {phase} "))), "{phase}: {}", said.all());
    }
    let command = |begin: &str| *lines.iter().find(|line| line.starts_with(begin)).unwrap();
    let prepare = command("  prepare: sh -c 'exit 0' ");
    assert!(prepare.ends_with("/.wheelbarrow/logs/prepare-1.log"), "{prepare}");
    let hook = command("  after_switch: sh -c 'exit 3' ");
    let end = "/.wheelbarrow/logs/after_switch-1.log  failed: `sh -c 'exit 3'` ended with exit code 3";
    assert!(hook.contains(" s  releases/1-") && hook.ends_with(end), "{hook}");

    let stories: Value = serde_json::from_str(&place.run(&["history", "1", "--json"]).out).unwrap();
    assert_eq!(stories.as_array().unwrap().len(), 2);
    let said = place.run(&["history", "9"]);
    assert!(said.code == 5 && said.err.contains("has no release 9"), "{}", said.all());
}

#[test]
fn an_older_version_is_noted() {
    let place = Place::new();
    let deploy = |version: &str| {
        let said = place.deploy(&Version::good(version));
        assert_eq!(said.code, 0, "{}", said.all());
        said.err.contains(&format!("this artifact has {version}, an older one"))
    };
    assert_eq!(
        ["1.9", "1.10", "1.10.0", "1.9.9", "2.0.dev1", "1.0"].map(deploy),
        [false, false, false, true, false, false]
    );
}
