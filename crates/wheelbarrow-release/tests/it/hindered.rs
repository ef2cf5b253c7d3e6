//! What the site's user does to keep commands from working.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use fs_err as fs;
use wheelbarrow_base::progress::Silent;
use wheelbarrow_release::{AskSchema, health};

use crate::support::Place;

#[test]
fn a_record_of_static_files_that_is_too_large_hinders_no_command() {
    let place = Place::new();
    let deployed = ["1", "2"].map(|version| place.deploy(&place.artifact(version, "")).unwrap());
    for release in &deployed {
        let record = fs::File::create(release.path.join(".wheelbarrow/static.json")).unwrap();
        record.set_len(300 << 20).unwrap();
    }
    place.rollback().unwrap();
    place.activate(&deployed[1].id).unwrap();
    place.deploy(&place.artifact("3", "")).unwrap();
    place.prune(1).unwrap();
    place.recover().unwrap();
}

#[test]
fn a_check_of_the_status_is_over_in_time() {
    let place = Place::new();
    let live = place.deploy(&place.artifact("1", "")).unwrap();
    let python = live.path.join("venv/bin/python");
    fs::remove_file(&python).unwrap();
    fs::write(&python, "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n").unwrap();
    fs::set_permissions(&python, PermissionsExt::from_mode(0o755)).unwrap();
    let begun = Instant::now();
    let found = health(&place.root(), AskSchema::No, Duration::from_secs(1), &Silent).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(found.status.broken, None, "nothing is known of it");
}
