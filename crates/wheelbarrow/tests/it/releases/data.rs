//! Files that a site has written into its releases: nothing removes them unless it is asked to.

use serde_json::{Value, json};

use super::root::{Place, Version};

/// Releases 1 to 3, of which the next prune would remove the first.
fn place() -> Place {
    let place = Place::new();
    for version in ["1", "2", "3"] {
        assert_eq!(
            place
                .deploy(&Version::with(version, "keep = 5\nshared = ['media']\nstatic_root = 'static'"))
                .code,
            0
        );
    }
    place
}

fn write(place: &Place, number: u64, path: &str) {
    let releases = fs_err::read_dir(place.root().join("releases")).unwrap();
    let release = releases
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{number}-")));
    let path = release.unwrap().join(path);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, "written").unwrap();
}

fn numbers(place: &Place) -> Vec<u64> {
    place.list().into_iter().map(|(number, _)| number).collect()
}

#[test]
fn a_release_with_files_of_the_site_stays_until_they_are_discarded() {
    let place = place();
    write(&place, 1, "code/db.sqlite3");
    for number in 0..20 {
        write(&place, 1, &format!("code/uploads/{number:02}.jpg"));
    }
    let said = place.run(&["prune", "--keep", "1"]);
    assert_eq!((said.code, numbers(&place)), (0, vec![1, 2, 3]), "{}", said.all());
    assert!(said.err.contains("code/db.sqlite3, code/uploads/00.jpg"), "{}", said.all());
    assert!(said.err.contains("08.jpg and 11 more; `wheelbarrow remove 1-"), "{}", said.all());
    let pruned: Value =
        serde_json::from_str(&place.run(&["prune", "--keep", "1", "--dry-run", "--json"]).out).unwrap();
    let id = pruned["data"].as_object().unwrap().keys().next().unwrap().clone();
    assert_eq!((&pruned["kept"][&id], &pruned["data"][&id]["count"]), (&json!("data"), &json!(21)));

    let said = place.run(&["remove", "1"]);
    assert!(said.code == 5 && said.err.contains("code/db.sqlite3"), "{}", said.all());
    assert!(said.err.contains("--discard-data"), "{}", said.all());

    // A deploy prunes by itself, and status goes on about it.
    let said = place.deploy(&Version::with("4", "keep = 1"));
    assert!(said.code == 0 && said.err.contains("code/db.sqlite3"), "{}", said.all());
    assert_eq!(numbers(&place), [1, 3, 4]);
    let status = place.run(&["status"]);
    assert!(status.out.contains("code/db.sqlite3"), "{}", status.all());

    let said = place.run(&["prune", "--keep", "1", "--discard-data"]);
    assert_eq!((said.code, numbers(&place)), (0, vec![3, 4]), "{}", said.all());
    assert!(!place.run(&["status"]).out.contains("db.sqlite3"));
}

#[test]
fn what_is_made_from_the_artifact_is_no_data() {
    let place = place();
    for path in [
        "code/__pycache__/app.cpython-312.pyc",
        "code/static/hashed.0123.css",
        ".wheelbarrow/logs/other.log",
        "code/media/upload.jpg",
    ] {
        write(&place, 1, path);
    }
    assert!(place.root().join("shared/media/upload.jpg").is_file());
    let said = place.run(&["prune", "--keep", "1"]);
    assert_eq!((said.code, numbers(&place)), (0, vec![2, 3]), "{}", said.all());
    assert!(place.root().join("shared/media/upload.jpg").is_file());
}

#[test]
fn an_installed_file_that_the_site_has_changed_is_data() {
    let place = place();
    write(&place, 1, "code/status");
    let said = place.run(&["remove", "1"]);
    assert!(said.code == 5 && said.err.contains("code/status"), "{}", said.all());
    assert_eq!(place.run(&["remove", "1", "--discard-data"]).code, 0);
    assert_eq!(numbers(&place), [2, 3]);
}

#[test]
fn a_release_without_its_record_goes_only_if_nothing_was_written() {
    let place = place();
    write(&place, 1, "code/db.sqlite3");
    for (number, _) in place.list().iter().filter(|(number, _)| *number < 3) {
        let releases = fs_err::read_dir(place.root().join("releases")).unwrap();
        for entry in releases {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{number}-")) {
                fs_err::remove_file(path.join(".wheelbarrow/release.json")).unwrap();
            }
        }
    }
    assert_eq!(place.run(&["recover"]).code, 0);
    assert_eq!(numbers(&place), [1, 3]);
}
