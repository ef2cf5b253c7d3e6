//! What root does not run for the site's user, and does not show to others.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use fs_err as fs;
use serde_json::Value;
use wheelbarrow_base::{Explain, as_user};
use wheelbarrow_release::{VariableChange, doctor};

use crate::support::Place;

const OWNER: u32 = 4321;

fn place() -> Option<Place> {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root gives files away");
        return None;
    }
    let place = Place::new();
    fs::set_permissions(place.directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    place.deploy(&place.artifact("1", "")).unwrap();
    Some(place)
}

/// It was root's when the release was made, or nobody looked.
#[test]
fn root_does_not_run_a_python_of_the_sites_user() {
    let Some(place) = place() else { return };
    let ran = place.directory.path().join("ran");
    let theirs = place.directory.path().join("theirs");
    let python = theirs.join("python");
    fs::create_dir(&theirs).unwrap();
    fs::write(&python, format!("#!/bin/sh\ntouch {}\nexec python3 \"$@\"\n", ran.display())).unwrap();
    fs::set_permissions(&python, PermissionsExt::from_mode(0o755)).unwrap();
    let change =
        |value: &str| place.change(&VariableChange::Set { name: "KEY".to_owned(), value: value.to_owned() });
    let examine = || doctor::examine(&place.root()).unwrap().findings;
    let edit = || {
        let receipt = place.root().current().join(".wheelbarrow/receipt.json");
        let mut text: Value = serde_json::from_slice(&fs::read(&receipt).unwrap()).unwrap();
        text["interpreter"]["executable"] = python.to_str().unwrap().into();
        fs::write(&receipt, text.to_string()).unwrap();
    };
    edit();
    change("one").unwrap();
    assert!(fs::remove_file(&ran).is_ok(), "it is root's");
    edit();
    assert!(examine().iter().all(|found| found.rule != "untrusted-file"));
    chown(&theirs, Some(OWNER), None).unwrap();
    let found = examine();
    let found = found.iter().find(|found| found.rule == "untrusted-file").unwrap();
    assert_eq!(Path::new(&found.place), python);
    for error in [change("two").unwrap_err(), place.deploy_on(&place.artifact("2", ""), &python).unwrap_err()]
    {
        assert_eq!(error.exit_code(), 8, "{error}");
        let all = format!(
            "{error}: {}",
            std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
        );
        assert!(all.contains(&*theirs.to_string_lossy()) && all.contains("the user 4321"), "{all}");
        assert!(error.hint().unwrap().contains("--python PATH"));
    }
    assert!(!ran.exists());
}

#[test]
fn a_program_of_another_user_that_reloads_is_found() {
    let Some(place) = place() else { return };
    place.deploy(&place.artifact("1", "")).unwrap();
    let program = place.directory.path().join("reload.sh");
    fs::write(&program, "").unwrap();
    let settings = format!("[release.server]\nkind = 'command'\ncommand = '{}'\n", program.display());
    fs::write(place.shared().join("wheelbarrow.toml"), settings).unwrap();
    let find = || {
        let found = doctor::examine(&place.root()).unwrap().findings;
        found.into_iter().find(|found| found.rule == "untrusted-file")
    };
    assert_eq!(find(), None);
    chown(&program, Some(OWNER), None).unwrap();
    let found = find().unwrap();
    assert_eq!(Path::new(&found.place), program);
    assert!(found.what.contains("belongs to the user 4321. Run it as that user"), "{}", found.what);
    assert_eq!(place.deploy(&place.artifact("2", "")).unwrap_err().exit_code(), 8);
}

/// As after a copy of the root to a host where the user's group has another number.
#[test]
fn an_environment_that_the_owner_cannot_read_is_found_before_the_switch() {
    let Some(place) = place() else { return };
    let settings = format!("owner = '{OWNER}'\ncheck = {{ enabled = false }}");
    let first = place.deploy(&place.artifact("2", &settings)).unwrap();
    place.deploy(&place.artifact("3", &settings)).unwrap();
    let (root, live) = (place.root(), place.root().live().unwrap());
    let environment = first.path.join("environment.json");
    fs::write(&environment, "{}").unwrap();
    fs::set_permissions(&environment, PermissionsExt::from_mode(0o640)).unwrap();
    chown(&environment, Some(0), Some(0)).unwrap();
    let error = place.rollback().unwrap_err();
    assert_eq!((error.exit_code(), root.live().unwrap()), (11, live), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("`chgrp GROUP ") && !hint.contains("a+rX"), "{hint}");
    let found = doctor::examine(&root).unwrap().findings;
    assert!(found.iter().any(|found| found.rule == "cannot-start"), "{found:?}");
}

/// Nothing of the settings says that the site writes there.
#[test]
fn what_the_site_wrote_into_the_release_before_is_noted() {
    let Some(place) = place() else { return };
    place.deploy(&place.artifact("2", "")).unwrap();
    assert!(!place.notes().contains("does not have files"), "{}", place.notes());
    let database = place.root().current().join("instance/site.sqlite");
    fs::create_dir(database.parent().unwrap()).unwrap();
    fs::write(&database, "data").unwrap();
    place.deploy(&place.artifact("3", "")).unwrap();
    let notes = place.notes();
    assert!(notes.contains("does not have files that were written into 2-"), "{notes}");
    assert!(notes.contains("instance/site.sqlite; `shared` in [release]"), "{notes}");
}

#[test]
fn the_hash_of_an_environment_is_for_who_may_read_it() {
    let Some(place) = place() else { return };
    let root = place.root();
    let shared = root.shared().join("environment.json");
    fs::write(&shared, "{\"KEY\": \"value\"}").unwrap();
    fs::set_permissions(&shared, PermissionsExt::from_mode(0o640)).unwrap();
    place.deploy(&place.artifact("2", "")).unwrap();
    let id = root.live().unwrap().unwrap();
    let release = root.release(&id);
    let [own, hash] = ["environment.json", ".wheelbarrow/environment.sha256"]
        .map(|name| fs::metadata(release.join(name)).unwrap());
    assert_eq!((own.mode(), own.uid(), own.gid()), (hash.mode(), hash.uid(), hash.gid()));
    let digest = || root.complete(&id).unwrap().record().environment_sha256;
    assert!(digest().is_some());
    assert_eq!(as_user(OWNER, OWNER, digest).unwrap(), None);
    assert!(
        !fs::read_to_string(release.join(".wheelbarrow/release.json"))
            .unwrap()
            .contains("environment_sha256")
    );
}
