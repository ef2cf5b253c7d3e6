//! What a person types, and what they see.

use super::root::{Place, Version, deploy_words};

/// Times and digests differ from run to run.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(place) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, from) = rest.split_at(place);
        masked.push_str(before);
        let end = from.find(|character: char| !(character.is_ascii_hexdigit() || "-:. ".contains(character)));
        let word = &from[..end.unwrap_or(from.len())];
        let first = word.split([' ', ':']).next().unwrap();
        match first.split_once('-') {
            _ if before.ends_with("Python ") => masked.push_str("[VERSION]"),
            Some((number, digits)) if digits.len() == 8 => masked.push_str(&format!("{number}-[DIGITS]")),
            _ if from[first.len()..].starts_with(" s") && first.contains('.') => masked.push_str("[TIME]"),
            _ => masked.push_str(first),
        }
        rest = &from[first.len()..];
    }
    masked.push_str(rest);
    masked
}

#[test]
fn deploy_failure_and_rollback() {
    let place = Place::new();
    let server = place.serve();
    let masked = |text: &str| masked(text).replace(&server.url, "[URL]");
    insta::assert_snapshot!("first", masked(&place.deploy(&Version::good("1.0")).all()));
    insta::assert_snapshot!("second", masked(&place.deploy(&Version::good("1.1")).all()));
    insta::assert_snapshot!("broken", masked(&place.deploy(&Version::broken("1.2")).all()));
    assert_eq!(place.live(), Some(2));
    let failing = "prepare = [['python', '-c', 'import sys; sys.exit(\"no such table\")']]";
    insta::assert_snapshot!("failing", masked(&place.deploy(&Version::with("1.3", failing)).all()));
    insta::assert_snapshot!("rollback_plan", masked(&place.run(&["rollback", "--dry-run"]).all()));
    insta::assert_snapshot!("rollback", masked(&place.run(&["rollback"]).all()));
    insta::assert_snapshot!("no_ancestor", masked(&place.run(&["rollback"]).all()));
    let states = place.list().into_iter().map(|(number, state)| format!("{number} {state}"));
    assert_eq!(states.collect::<Vec<_>>(), ["1 live", "2 bad", "3 bad", "4 bad"]);
    insta::assert_snapshot!("prune", masked(&place.run(&["prune", "--keep", "1"]).all()));
    insta::assert_snapshot!("unknown", masked(&place.run(&["pin", "9"]).all()));
    let history: serde_json::Value = serde_json::from_str(&place.run(&["history", "--json"]).out).unwrap();
    let told: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|story| {
            format!("{} {}", story["operation"].as_str().unwrap(), story["end"]["result"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told, ["deploy done", "deploy done", "deploy failed", "deploy failed", "rollback done"]);
}

#[test]
fn commands_run_in_the_live_release() {
    let place = Place::new();
    place.deploy(&Version::good("1.0"));
    let said = place.run(&["exec", "--", "python", "-c", "import app, sys; print(app.VERSION); sys.exit(3)"]);
    assert_eq!((said.code, said.out.as_str()), (3, "1.0\n"), "{}", said.err);
    assert_eq!(place.run(&["verify", "--root", "site"]).code, 0);
    fs_err::write(place.root().join("current/code/app.py"), "").unwrap();
    assert_eq!(place.run(&["verify", "--root", "site"]).code, 10);
}

#[test]
fn releases_in_use_are_not_pruned() {
    let place = Place::new();
    for name in ["1", "2", "3"] {
        assert_eq!(place.deploy(&Version::good(name)).code, 0);
    }
    let release = fs_err::read_dir(place.root().join("releases")).unwrap().map(|entry| entry.unwrap().path());
    let first =
        release.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with("1-"));
    let mut user = std::process::Command::new("sleep")
        .arg("600")
        .current_dir(first.unwrap().join("code"))
        .spawn()
        .unwrap();
    let prune = || {
        let said = place.run(&["prune", "--keep", "1", "--json"]);
        serde_json::from_str::<serde_json::Value>(&said.out).unwrap()["removed"].as_array().unwrap().len()
    };
    assert_eq!(prune(), 0);
    user.kill().unwrap();
    user.wait().unwrap();
    assert_eq!(prune(), 1);
    assert_eq!(place.list(), [(2, "good".to_owned()), (3, "live".to_owned())]);
}

#[test]
fn a_dry_run_makes_nothing() {
    let place = Place::new();
    let artifact =
        place.artifact(&Version::with("1.0", "prepare = ['django-admin migrate']\nshared = ['media']"));
    let mut words = deploy_words(&artifact);
    words.push("--dry-run".to_owned());
    let said = place.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    insta::assert_snapshot!("dry_run", masked(&said.all()));
    assert!(!place.root().exists());
    assert_eq!(place.run(&["list"]).code, 5);
}

#[test]
fn a_read_only_root_is_refused_in_one_line() {
    let place = Place::new();
    place.deploy(&Version::good("1.0"));
    let root = place.root().display().to_string();
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
    let ours = place.command(&[]);
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh", &root]).arg(ours.get_program());
    command.args(deploy_words(&place.path().join("1.0.zip"))).args(["--root", &root]);
    let said = place.finish(&mut command);
    if said.err.contains("unshare") || said.err.contains("mount") {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{}", said.err);
        println!("skipped: {}", said.err);
        return;
    }
    insta::assert_snapshot!("read_only", said.all());
    assert_eq!(place.live(), Some(1));
}
