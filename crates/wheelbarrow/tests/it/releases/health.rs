//! `status --check`: whether the site serves the live release, with exit codes for a monitor. Plain `status` claims no more
//! than it has seen.

use std::io::Write;
use std::time::{Duration, Instant};

use fs_err as fs;
use serde_json::Value;

use super::root::{Place, Version};
use super::systemd::{run, systemctl};
use crate::support::Said;

fn check(place: &Place) -> Said {
    place.run(&["status", "--check"])
}

/// Rules and levels of what is found.
fn found(place: &Place) -> Vec<(String, String)> {
    let said = place.run(&["status", "--check", "--json"]);
    let health: Value = serde_json::from_str(&said.out).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = health["findings"].as_array().unwrap().iter();
    findings.map(|one| (text(one, "level"), text(one, "rule"))).collect()
}

fn one(level: &str, rule: &str) -> Vec<(String, String)> {
    vec![(level.to_owned(), rule.to_owned())]
}

/// What the server answers from now on.
fn answer(place: &Place, status: &str) {
    fs::write(place.root().join("current/code/status"), status).unwrap();
}

#[test]
fn the_probe_decides_whether_the_site_serves() {
    let place = Place::new();
    let _server = place.serve();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let said = check(&place);
    assert!(said.code == 0 && said.out.starts_with("ok: 1-"), "{}", said.all());
    assert_eq!(found(&place), []);
    // As with a database that is gone.
    answer(&place, "500");
    let said = check(&place);
    assert_eq!(said.code, 11, "{}", said.all());
    let begin = "critical: probe-failed: http://127.0.0.1:";
    assert!(said.out.starts_with(begin) && said.out.contains(": it answers 500 (hint: "), "{}", said.all());
    assert_eq!(said.out.lines().count(), 1, "{}", said.all());
    assert_eq!(found(&place), one("critical", "probe-failed"));
    let plain = place.run(&["status"]);
    assert!(
        plain.code == 0 && plain.out.contains("no process is known to answer http://"),
        "{}",
        plain.all()
    );
}

#[test]
fn a_site_that_does_not_answer_does_not_keep_a_monitor_waiting() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("[release.probe]\nurl = 'http://{}/'\n", listener.local_addr().unwrap());
    fs::write(place.root().join("shared/wheelbarrow.toml"), text).unwrap();
    let begun = Instant::now();
    let said = place.run(&["status", "--check", "--timeout", "1"]);
    assert!(said.code == 11 && said.out.contains("it does not answer in time"), "{}", said.all());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(listener);
    let said = check(&place);
    assert!(said.code == 11 && said.out.contains("refused"), "{}", said.all());
    assert_eq!(place.run(&["status", "--timeout", "1"]).code, 2);
}

#[test]
fn an_incomplete_live_release_is_an_error() {
    let place = Place::new();
    let _server = place.serve();
    assert_eq!(place.run(&["status", "--check"]).code, 5, "that is no root yet");
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let current = place.root().join("current");
    let target = fs::read_link(&current).unwrap();
    fs::remove_file(&current).unwrap();
    assert_eq!((check(&place).code, found(&place)), (11, one("critical", "nothing-live")));
    // What is no link of ours is told of too, and refused by what would change it.
    fs::create_dir(&current).unwrap();
    assert_eq!((check(&place).code, found(&place)), (11, one("critical", "broken")));
    let said = check(&place).out;
    assert!(
        said.contains("(hint: move it away; deploy makes the link") && !said.contains("rollback"),
        "{said}"
    );
    let plain = place.run(&["status"]);
    assert!(
        plain.code == 0 && plain.out.contains("broken ") && plain.out.contains("is a directory, not a link"),
        "{}",
        plain.all()
    );
    fs::remove_dir(&current).unwrap();
    fs::os::unix::fs::symlink(&target, &current).unwrap();
    fs::remove_file(current.join(".wheelbarrow/release.json")).unwrap();
    assert_eq!((check(&place).code, found(&place)), (11, one("critical", "broken")));
}

#[test]
fn unfinished_operations_are_a_warning() {
    let place = Place::new();
    let _server = place.serve();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let journal = place.root().join(".wheelbarrow/journal.jsonl");
    let begun =
        r#"{"at": 1, "by": "x", "event": "begun", "operation": "deploy", "id": "2-1a2b3c4d", "live": null}"#;
    let mut file = fs::File::options().append(true).open(&journal).unwrap();
    writeln!(file, "{begun}").unwrap();
    assert_eq!((check(&place).code, found(&place)), (20, one("warning", "interrupted")));
    let failed = r#"{"at": 2, "by": "x", "event": "failed", "phase": "probe", "error": "it answers 500", "outcome": "revert-failed", "milliseconds": 1}"#;
    writeln!(file, "{failed}").unwrap();
    let said = check(&place);
    assert!(said.code == 20 && said.out.contains("could not be rolled back"), "{}", said.all());
    assert_eq!(found(&place), one("warning", "revert-failed"));
    let plain = place.run(&["status"]).out;
    let serving = plain.lines().find(|line| line.starts_with("serving")).unwrap();
    assert!(serving.contains("failed at the probe, and could not be rolled back"), "{plain}");
    // The worst is the first, whatever is found first.
    answer(&place, "503");
    let said = check(&place);
    assert_eq!(said.code, 11, "{}", said.all());
    assert!(
        said.out.starts_with("critical: probe-failed") && said.out.contains("\nwarning: "),
        "{}",
        said.all()
    );
}

#[test]
fn a_unit_that_fails_or_is_restarted_again_and_again_is_found() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let text = "[release]\nserver = { kind = 'systemd', unit = 'a.service' }\n";
    fs::write(place.root().join("shared/wheelbarrow.toml"), text).unwrap();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for (shown, said) in [
        ("ActiveState=failed\nSubState=failed\nResult=exit-code", "a.service has failed (exit-code)"),
        (
            "ActiveState=activating\nSubState=auto-restart\nResult=signal\nNRestarts=9",
            "again and again, 9 times so far",
        ),
        ("ActiveState=inactive\nSubState=dead\nResult=success", "a.service is not running"),
    ] {
        systemctl(&place, shown);
        let checked = run(&place, &words(&["status", "--check"]));
        assert!(checked.code == 11 && checked.out.contains(said), "{}", checked.all());
        assert!(checked.out.starts_with("critical: unit-failed: a.service: "), "{}", checked.all());
        let plain = run(&place, &words(&["status"]));
        assert!(plain.out.contains(said) && !plain.out.contains("every process runs"), "{}", plain.all());
    }
    // A socket starts it at the next request; nothing shows more.
    systemctl(&place, "ActiveState=inactive\nSubState=dead\nResult=success\nTriggeredBy=a.socket");
    let checked = run(&place, &words(&["status", "--check"]));
    assert!(checked.code == 20 && checked.out.starts_with("warning: not-verified: "), "{}", checked.all());
}

/// After a start of the machine, nothing would start the site.
#[test]
fn doctor_finds_a_unit_that_is_not_enabled() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let text = "[release]\nserver = { kind = 'systemd', unit = 'a.service' }\n";
    fs::write(place.root().join("shared/wheelbarrow.toml"), text).unwrap();
    for (shown, hint) in [
        ("UnitFileState=disabled", Some("systemctl enable a.service")),
        ("UnitFileState=disabled\nTriggeredBy=a.socket", Some("systemctl enable a.socket")),
        ("UnitFileState=disabled\nWantedBy=all.target", None),
        ("UnitFileState=enabled", None),
        ("UnitFileState=static", None),
        ("LoadState=not-found", Some("systemd has no such unit")),
    ] {
        systemctl(&place, shown);
        let said = run(&place, &["doctor".to_owned()]);
        let line = said.out.lines().find(|line| line.contains("not-enabled"));
        assert_eq!(line.is_some(), hint.is_some(), "{shown}: {}", said.all());
        assert!(hint.is_none_or(|hint| said.out.contains(hint)), "{shown}: {}", said.all());
    }
}
