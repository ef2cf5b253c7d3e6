//! What a release has beside an install, and file systems that do not do what one would like.

use std::os::unix::fs::PermissionsExt;

use fs_err as fs;
use wheelbarrow_base::Explain;
use wheelbarrow_base::progress::{Progress, Silent, Unit};
use wheelbarrow_release::{
    DeployExtent, ReleaseError, ReleaseState, RollbackOptions, live_release, plan_rollback,
};

use crate::mounts::Mounted;
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
        let release = place.root().complete_or_live(Some(number)).unwrap();
        assert!(live_release::verify(&place.root(), &release, &Silent).unwrap().is_clean());
    }
}

/// Whatever made them: they are in STATIC_ROOT.
#[test]
fn collected_static_files_are_nothing_extra() {
    let place = Place::new();
    let settings = "static_root = 'static'\nprepare = [['sh', '-c', 'mkdir static; echo x > static/x.css']]";
    let deployed = place.deploy(&place.artifact("1", settings)).unwrap();
    let release = place.root().complete_or_live(None).unwrap();
    let verification = live_release::verify(&place.root(), &release, &Silent).unwrap();
    assert!(verification.is_clean(), "{verification:?}");
    fs::write(deployed.path.join("code/stray.py"), "").unwrap();
    let verification = live_release::verify(&place.root(), &release, &Silent).unwrap();
    assert_eq!(verification.extra, ["code/stray.py"]);
}

#[test]
fn a_command_that_may_not_write_gets_a_hint() {
    let place = Place::new();
    let settings = "prepare = [['sh', '-c', 'echo PermissionError: Permission denied: static >&2; exit 1']]";
    let error = place.deploy(&place.artifact("1", settings)).unwrap_err();
    let hint = error.hint().unwrap();
    assert!(hint.contains("prepare-1.log; what runs as `owner` may write into `shared` paths"), "{hint}");
}

/// It had been killed together with its command, which has said a secret.
#[test]
fn recovery_hides_secrets_in_the_output_of_killed_commands() {
    let place = Place::new();
    let shared = place.path().join("shared");
    fs::create_dir_all(&shared).unwrap();
    fs::write(shared.join("environment.json"), r#"{"SECRET_KEY": "kA7f3PqX9zkB8g"}"#).unwrap();
    fs::set_permissions(shared.join("environment.json"), PermissionsExt::from_mode(0o640)).unwrap();
    let deployed = place.deploy(&place.artifact("1", "prepare = [['echo', 'one']]")).unwrap();
    let log = deployed.path.join(".wheelbarrow/logs/prepare-1.log");
    let part = log.with_extension("log.part");
    fs::write(&part, "two kA7f3PqX9zkB8g\n").unwrap();
    place.recover().unwrap();
    assert_eq!(fs::read_to_string(log).unwrap(), "one\ntwo ***\n");
    assert!(!part.exists());
}

/// Going back asks the site which migrations the database has.
#[test]
fn a_rollback_plan_can_be_cancelled() {
    let place = Place::new();
    for version in ["1", "2"] {
        place.deploy(&place.artifact(version, "")).unwrap();
    }
    let journal = place.path().join(".wheelbarrow/journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let switched = text.lines().rfind(|line| line.contains("switched")).unwrap();
    let at = switched.split(',').next().unwrap();
    let migrating =
        format!("{at},\"by\":\"a\",\"event\":\"migrating\",\"migrations\":[],\"irreversible\":[\"a.1\"]}}");
    fs::write(&journal, text.replace(switched, &format!("{migrating}\n{switched}"))).unwrap();
    let ask = |progress: &dyn Progress| plan_rollback(&place.root(), &RollbackOptions::default(), progress);
    let error = ask(&Silent).unwrap_err();
    assert!(matches!(error, ReleaseError::Irreversible { .. }), "{error:?}");
    let error = ask(&Stopped).unwrap_err();
    assert!(matches!(error, ReleaseError::Cancelled), "{error:?}");
}

struct Stopped;

impl Progress for Stopped {
    fn begin(&self, _what: &str, _total: u64, _unit: Unit) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn note(&self, _message: &str) {}
    fn is_cancelled(&self) -> bool {
        true
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
    assert_eq!(place.list(), [(1, ReleaseState::Live)]);
}

#[test]
fn a_full_disk_costs_a_deploy_and_nothing_else() {
    let Some(small) = Mounted::tmpfs("size=3m") else { return };
    let place = Place { directory: tempfile::tempdir_in(small.point()).unwrap(), ..Place::new() };
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
    assert!(place.list().iter().any(|(_, state)| *state == ReleaseState::Live));
}

#[test]
fn a_release_can_be_staged_and_activated_later() {
    let place = Place::new();
    place.deploy(&place.artifact("1", "")).unwrap();
    let artifact = place.artifact("2", "prepare = ['touch prepared']");
    let staged = place.deploy_until(&artifact, DeployExtent::Staged).unwrap();
    assert_eq!(place.list(), [(1, ReleaseState::Live), (2, ReleaseState::Staged)]);
    assert!(!staged.path.join("code/prepared").exists());
    place.activate(&staged.id).unwrap();
    assert!(staged.path.join("code/prepared").exists());
    assert_eq!(place.list(), [(1, ReleaseState::Good), (2, ReleaseState::Live)]);
}

#[test]
fn the_live_release_survives_a_full_disk() {
    let Some(small) = Mounted::tmpfs("size=8m") else { return };
    fill(&small, &(0..16).map(|step| step * 8).chain((4..=12).map(|step| step * 32)).collect::<Vec<_>>());
}

/// The same where space is taken when what was written is synced, not when it is.
#[test]
fn the_live_release_survives_a_full_loop_device() {
    // Nothing is kept back for root, who may run this.
    let Some(small) = Mounted::on_loop(16, &["mkfs.ext4", "-q", "-m", "0"]) else { return };
    fill(&small, &[0, 4, 16, 32, 64, 96, 128, 192, 256, 320, 384, 480, 600, 800]);
}

/// Deploys with so many kilobytes left, each time.
fn fill(small: &Mounted, left: &[u64]) {
    let place = Place { directory: tempfile::tempdir_in(small.point()).unwrap(), ..Place::new() };
    let elsewhere = tempfile::tempdir().unwrap();
    // Its command needs room too, when the install has had enough of it.
    let write = "prepare = [['python', '-c', 'open(\"more\", \"w\").write(\"x\" * 60_000)']]\nkeep = 1";
    let good = place.artifact_in(elsewhere.path(), "1", write);
    place.deploy(&good).unwrap();
    let filler = small.point().join("filler");
    let (mut failed, mut done) = (0, 0);
    for kilobytes in left {
        let size = usize::try_from(small.free().saturating_sub(kilobytes * 1024)).unwrap();
        // As much as there is room for.
        let _ = fs::write(&filler, vec![b'x'; size]);
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
        place.root().complete_or_live(None).unwrap();
        fs::remove_file(&filler).unwrap();
        place.deploy(&good).unwrap();
        assert!(place.list().iter().all(|(_, state)| *state != ReleaseState::Incomplete), "{kilobytes} kB");
    }
    assert!(failed > 5 && done > 0, "{failed} failed, {done} were done");
}
