//! What systemd says of the unit is asked before anything is written; a script stands in for `systemctl`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::root::{Place, Version, deploy_words};
use crate::support::Said;

/// A `systemctl` that shows these properties, and writes down what else it is asked for.
pub(crate) fn systemctl(place: &Place, shown: &str) {
    let shown = shown.replace("ROOT", &place.root().display().to_string());
    let asked = place.path().join("asked");
    let script = format!(
        "case $1 in\nshow) printf '%s\\n' '{shown}' ;;\n*) echo \"$*\" >> {} ;;\nesac",
        asked.display()
    );
    program(place, "systemctl", &script);
}

/// Runs it with what is in `bin` first on PATH. Root looks for programs in directories of its own, so there it is mounted over
/// the first of them.
pub(crate) fn run(place: &Place, words: &[String]) -> Said {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let ours = place.path().join("bin");
    let command = &mut place.command(&words);
    if !rustix::process::getuid().is_root() {
        let path = format!("{}:{}", ours.display(), std::env::var("PATH").unwrap());
        return place.finish(command.env("PATH", path));
    }
    let mut mounted = Command::new("unshare");
    mounted.args(["-m", "sh", "-c", "mount --bind \"$0\" /usr/local/sbin && exec \"$@\""]);
    mounted.arg(ours).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => mounted.env(name, value),
            None => mounted.env_remove(name),
        };
    }
    place.finish(mounted.current_dir(command.get_current_dir().unwrap_or(&place.path())))
}

/// A program in `bin`, of lines of a shell.
pub(crate) fn program(place: &Place, name: &str, script: &str) {
    let path = place.path().join("bin").join(name);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn deploy(place: &Place, version: &str, unit: &str, action: &str) -> Said {
    let server = format!("server = {{ kind = 'systemd', unit = '{unit}', action = '{action}' }}");
    run(place, &deploy_words(&place.artifact(&Version::with(version, &server))))
}

fn asked(place: &Place) -> bool {
    place.path().join("asked").exists()
}

pub(crate) const GOOD: &str = "Id=a.service\nLoadState=loaded\nType=notify\nCanStart=yes\nCanStop=yes\nCanReload=no\n\
                    ExecStart={ path=/bin/sh ; argv[]=/bin/sh -c ROOT/current/venv/bin/python }";

#[test]
fn a_unit_that_cannot_serve_the_root_is_refused_before_anything_is_written() {
    let place = Place::new();
    fs_err::create_dir_all(place.path().join("first/releases")).unwrap();
    fs_err::create_dir_all(place.path().join("first/.wheelbarrow")).unwrap();
    let first = GOOD.replace("ROOT", &place.path().join("first").display().to_string());
    for (shown, action, said) in [
        ("Id=a.service\nLoadState=not-found", "restart", "systemd has no such unit"),
        ("Id=a.service\nLoadState=masked", "restart", "the unit cannot be loaded: masked"),
        ("Id=acme.target\nLoadState=loaded", "restart", "only the processes of a service"),
        ("Id=a.service\nLoadState=loaded\nType=oneshot", "restart", "Type=oneshot"),
        (GOOD, "reload", "it has no ExecReload"),
        (&GOOD.replace("CanStop=yes", "CanStop=no"), "restart", "refuses to be restarted"),
        (&first, "restart", "the unit serves [PLACE]/first"),
    ] {
        systemctl(&place, shown);
        let refused = deploy(&place, "1", "a.service", action);
        assert!(refused.code == 8 && refused.err.contains(said), "{said}: {}", refused.all());
        assert!(refused.err.contains("hint: "), "{}", refused.all());
        let mut words = deploy_words(&place.path().join("1.zip"));
        words.push("--dry-run".to_owned());
        assert_eq!(run(&place, &words).code, 8, "{said}");
    }
    assert!(!place.root().exists() && !asked(&place), "nothing was made, and nothing was asked for");
}

#[test]
fn existing_releases_are_not_made_live_either() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    assert_eq!(place.deploy(&Version::good("2")).code, 0);
    fs_err::write(
        place.root().join("shared/wheelbarrow.toml"),
        "[release]\nserver = { kind = 'systemd', unit = 'a.service' }\n",
    )
    .unwrap();
    systemctl(&place, "Id=a.service\nLoadState=not-found");
    let journal = || fs_err::read(place.root().join(".wheelbarrow/journal.jsonl")).unwrap();
    let before = journal();
    for words in [&["rollback"][..], &["activate", "1"], &["check", "1"], &["migrate", "1"]] {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let said = run(&place, &words);
        assert!(said.code == 8 && said.err.contains("has no such unit"), "{}", said.all());
    }
    assert_eq!((place.live(), asked(&place), journal() == before), (Some(2), false, true));
}

/// The units of a root that was moved lead to where it was: the move is to be put right, then the units.
#[test]
fn a_moved_root_is_reported_before_its_units() {
    let place = Place::new();
    for version in ["1", "2"] {
        assert_eq!(place.deploy(&Version::good(version)).code, 0);
    }
    let settings = "[release]\nserver = { kind = 'systemd', unit = 'a.service' }\n";
    fs_err::write(place.root().join("shared/wheelbarrow.toml"), settings).unwrap();
    systemctl(&place, GOOD);
    fs_err::rename(place.root(), place.path().join("moved")).unwrap();
    let artifact = place.artifact(&Version::good("3")).display().to_string();
    for words in [&["rollback"][..], &["activate", "1"], &["deploy", &artifact, "--dry-run"]] {
        let words: Vec<_> = words.iter().chain(&["--root", "moved"]).map(|word| (*word).to_owned()).collect();
        let said = run(&place, &words);
        assert!(said.code == 5 && said.err.contains("was moved from [PLACE]/site"), "{}", said.all());
        let hint = "hint: `wheelbarrow recover --moved --root [PLACE]/moved` corrects the paths";
        assert!(said.err.contains(hint), "{}", said.all());
    }
}

/// A release whose settings name another server, or none.
#[test]
fn units_of_the_release_before_that_still_run_are_named() {
    for (state, is_named) in [("active", true), ("inactive", false)] {
        let place = Place::new();
        assert_eq!(place.deploy(&Version::good("1")).code, 0);
        let record = place.release(1).join(".wheelbarrow/release.json");
        let mut written: serde_json::Value = serde_json::from_slice(&fs_err::read(&record).unwrap()).unwrap();
        written["settings"]["server"] = serde_json::json!({ "kind": "systemd", "unit": "a.service" });
        written["settings"]["service"] = serde_json::json!([{ "name": "worker", "unit": "b.service" }]);
        fs_err::write(&record, serde_json::to_vec(&written).unwrap()).unwrap();
        systemctl(&place, &format!("{GOOD}\nActiveState={state}\nSubState=x"));
        let said = run(&place, &deploy_words(&place.artifact(&Version::good("2"))));
        assert_eq!(said.code, 0, "{}", said.all());
        for unit in ["a.service, the server", "b.service, a service"] {
            let note = format!("note: {unit} of the release before, still runs");
            assert_eq!(said.err.contains(&note), is_named, "{}", said.all());
        }
    }
}

#[test]
fn a_failed_first_deploy_reports_the_state_of_its_server() {
    let place = Place::new();
    systemctl(&place, &format!("{GOOD}\nActiveState=active\nSubState=running"));
    let settings = "server = { kind = 'systemd', unit = 'a.service' }\n\
                    probe = { url = 'http://127.0.0.1:9/', deadline = 1 }\ncheck = false";
    let said = run(&place, &deploy_words(&place.artifact(&Version::with("1", settings))));
    assert!(said.code == 13 && said.err.contains("; a.service is active (running)\n"), "{}", said.all());
}

#[test]
fn missing_rights_to_restart_are_reported_first() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let place = Place::new();
    systemctl(&place, GOOD);
    let path = place.path().join("bin/systemctl");
    let script = fs_err::read_to_string(&path).unwrap();
    let denied = "--no-ask-password) echo 'Failed to restart a.service: Interactive authentication required.' >&2; exit 1 ;;\n*)";
    fs_err::write(&path, script.replace("*)", denied)).unwrap();
    let artifact = place.artifact(&Version::with("1", "server = { kind = 'systemd', unit = 'a.service' }"));
    for path in [&place.path(), Path::new(&artifact)] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let path = format!("{}:{}", place.path().join("bin").display(), std::env::var("PATH").unwrap());
    let words = deploy_words(&artifact);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut command = place.command(&words);
    let said = place.finish(std::os::unix::process::CommandExt::uid(command.env("PATH", path), 65534));
    if said.err.contains("cannot run") {
        return; // the Python or the program that is tested is below a private home
    }
    assert!(said.code == 5 && said.err.contains("this user may not do that"), "{}", said.all());
    assert!(!place.root().exists() && !asked(&place));
}
