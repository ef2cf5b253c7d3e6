//! What a release has beside an install, and file systems that do not do what one would like.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use fs_err as fs;
use wheelbarrow_artifact::progress::Silent;
use wheelbarrow_release::{State, Until, live};

use crate::support::Place;

#[test]
fn a_release_has_its_own_environment_and_shares_what_is_shared() {
    let place = Place::new();
    let shared = place.path().join("shared");
    fs::create_dir_all(&shared).unwrap();
    fs::write(shared.join("environment.json"), r#"{"WHO": "one"}"#).unwrap();
    fs::set_permissions(shared.join("environment.json"), PermissionsExt::from_mode(0o640)).unwrap();
    let print = "['python', '-c', 'import os, app; print(app.VERSION, os.environ[\"WHO\"], os.getcwd())']";
    let settings = format!("shared = ['media', 'var/log']\nprepare = [{print}, ['touch', 'media/seen']]");
    let first = place.deploy(&place.artifact("1", &settings)).unwrap();
    fs::write(shared.join("environment.json"), r#"{"WHO": "two"}"#).unwrap();
    let second = place.deploy(&place.artifact("2", &settings)).unwrap();

    let said =
        |path: &std::path::Path| fs::read_to_string(path.join(".wheelbarrow/logs/prepare-1.log")).unwrap();
    let code = |path: &std::path::Path| path.join("code").canonicalize().unwrap().display().to_string();
    assert_eq!(said(&first.path), format!("1 one {}\n", code(&first.path)));
    assert_eq!(said(&second.path), format!("2 two {}\n", code(&second.path)));
    let environment = first.path.join("environment.json");
    assert_eq!(fs::read_to_string(&environment).unwrap(), r#"{"WHO": "one"}"#);
    assert_eq!(fs::metadata(&environment).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(shared.join("media/seen").exists() && second.path.join("code/var/log").is_dir());

    place.rollback().unwrap();
    let current = place.root().current().join("environment.json");
    assert_eq!(fs::read_to_string(current).unwrap(), r#"{"WHO": "one"}"#);
    for number in [&first.id, &second.id] {
        let release = live::release(&place.root(), Some(number)).unwrap();
        assert!(live::verify(&place.root(), &release, &Silent).unwrap().is_clean());
    }
}

#[test]
fn what_is_shared_must_not_be_in_the_artifact() {
    let place = Place::new();
    let error = place.deploy(&place.artifact("1", "shared = ['app.py']")).unwrap_err();
    assert_eq!(error.exit_code(), 8, "{error}");
    assert!(!place.path().exists(), "nothing was made");
    for wrong in ["['../x']", "['/x']", "['a', 'a/b']"] {
        let error = place.deploy(&place.artifact("1", &format!("shared = {wrong}"))).unwrap_err();
        assert_eq!(error.exit_code(), 8, "{wrong}: {error}");
    }
}

#[test]
fn the_artifact_may_be_on_another_file_system() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    place.deploy(&place.artifact_in(elsewhere.path(), "1", "")).unwrap();
    assert_eq!(place.list(), [(1, State::Live)]);
}

/// A tmpfs of so many bytes, unmounted when dropped. None without the right to mount, which CI must have.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let words = ["-t", "tmpfs", "-o", options, "wheelbarrow-test"];
        let mounted = Command::new("mount").args(words).arg(directory.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(directory));
        }
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must be able to mount a tmpfs");
        println!("skipped: no right to mount");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_costs_a_deploy_and_nothing_else() {
    let Some(small) = Small::mount("size=3m") else { return };
    let place = Place { directory: tempfile::tempdir_in(small.0.path()).unwrap(), ..Place::new() };
    let elsewhere = tempfile::tempdir().unwrap();
    let fill = "prepare = [['python', '-c', 'open(\"fill\", \"w\").write(\"x\" * 10_000_000)']]";
    let (good, full) =
        (place.artifact_in(elsewhere.path(), "1", ""), place.artifact_in(elsewhere.path(), "2", fill));
    place.deploy(&good).unwrap();
    place.deploy(&good).unwrap();
    // The disk is full by what the command wrote, and stays so: not even the journal can be written.
    let error = place.deploy(&full).unwrap_err();
    assert_eq!(error.exit_code(), 12, "{error}");
    assert_eq!(place.root().live().unwrap().unwrap().number(), 2);
    // Until somebody makes room, a deploy fails, and what is live stays.
    assert!(place.deploy(&good).is_err());
    assert_eq!(place.root().live().unwrap().unwrap().number(), 2);
    fs::remove_file(place.root().releases().join(place.list_ids().pop().unwrap()).join("code/fill")).unwrap();
    place.deploy(&good).unwrap();
    assert!(place.list().iter().any(|(_, state)| *state == State::Live));
}

#[test]
fn a_release_can_be_staged_and_activated_later() {
    let place = Place::new();
    place.deploy(&place.artifact("1", "")).unwrap();
    let artifact = place.artifact("2", "prepare = ['touch prepared']");
    let staged = place.deploy_until(&artifact, Until::Staged).unwrap();
    assert_eq!(place.list(), [(1, State::Live), (2, State::Staged)]);
    assert!(!staged.path.join("code/prepared").exists());
    place.activate(&staged.id).unwrap();
    assert!(staged.path.join("code/prepared").exists());
    assert_eq!(place.list(), [(1, State::Good), (2, State::Live)]);
}

/// The free space in bytes, as everybody has it.
fn free(path: &std::path::Path) -> u64 {
    let output = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut numbers = text.split_whitespace().map(|number| number.parse::<u64>().unwrap());
    numbers.next().unwrap() * numbers.next().unwrap()
}

#[test]
fn whenever_the_disk_is_full_what_is_live_stays() {
    let Some(small) = Small::mount("size=8m") else { return };
    let place = Place { directory: tempfile::tempdir_in(small.0.path()).unwrap(), ..Place::new() };
    let elsewhere = tempfile::tempdir().unwrap();
    // Its command needs room too, when the install has had enough of it.
    let write = "prepare = [['python', '-c', 'open(\"more\", \"w\").write(\"x\" * 60_000)']]\nkeep = 1";
    let good = place.artifact_in(elsewhere.path(), "1", write);
    place.deploy(&good).unwrap();
    let filler = small.0.path().join("filler");
    let (mut failed, mut done) = (0, 0);
    for kilobytes in (0..16).map(|step| step * 8).chain((4..=12).map(|step| step * 32)) {
        fs::write(&filler, vec![b'x'; (free(small.0.path()) - kilobytes * 1024) as usize]).unwrap();
        let before = place.root().live().unwrap().unwrap();
        match place.deploy(&good) {
            Ok(deployed) => {
                done += 1;
                assert_eq!(place.root().live().unwrap(), Some(deployed.id), "{kilobytes} kB");
            }
            Err(error) => {
                failed += 1;
                assert!([1, 6, 12, 13].contains(&error.exit_code()), "{kilobytes} kB: {error}");
                assert_eq!(place.root().live().unwrap(), Some(before), "{kilobytes} kB: {error}");
            }
        }
        live::release(&place.root(), None).unwrap();
        fs::remove_file(&filler).unwrap();
        place.deploy(&good).unwrap();
        assert!(place.list().iter().all(|(_, state)| *state != State::Incomplete), "{kilobytes} kB");
    }
    assert!(failed > 5 && done > 0, "{failed} failed, {done} were done");
}
