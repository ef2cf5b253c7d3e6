//! Files that a site has written into its releases: nothing removes them unless it is asked to.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

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
    let path = place.release(number).join(path);
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
    assert!(said.err.contains("08.jpg and 11 more; `wheelbarrow rescue 1-"), "{}", said.all());
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
fn files_made_from_the_artifact_are_not_data() {
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
fn files_that_prepare_made_are_data_once_they_are_changed() {
    let place = Place::new();
    let deploy = |version: &str, command: &str| {
        let settings = format!("keep = 1\nprepare = [['sh', '-c', '{command}']]");
        place.deploy(&Version::with(version, &settings))
    };
    let make = "mkdir -p locale && echo mo > locale/a.mo && ln -sf a.mo locale/b.mo && echo > locale/m.py && echo new > status";
    // Also if a later command failed.
    assert_eq!(deploy("1", &format!("{make} && exit 1")).code, 12);
    for version in ["2", "3", "4"] {
        let said = deploy(version, make);
        assert!(said.code == 0 && !said.err.contains("a.mo"), "{}", said.all());
    }
    // The last bad one is kept anyway.
    assert_eq!((numbers(&place), place.run(&["remove", "1"]).code), (vec![1, 3, 4], 0));

    write(&place, 3, "code/locale/a.mo");
    assert_eq!(place.run(&["rescue", "3", "--dry-run"]).out, "code/locale/a.mo\n1 file would be copied\n");
    let database = r#"printf "SQLite format 3\\0" > db.data"#;
    let said = deploy("5", database);
    assert!(said.code == 0 && said.err.contains("code/locale/a.mo"), "{}", said.all());
    let said = place.run(&["remove", "4"]);
    assert_eq!(said.code, 0, "{}", said.all());
    for version in ["6", "7"] {
        assert_eq!(deploy(version, "true").code, 0);
    }
    assert_eq!(numbers(&place), [3, 5, 6, 7]);
    assert!(place.run(&["rescue", "5", "--dry-run"]).out.contains("code/db.data"));

    // A record of a newer program is ignored: the files are kept.
    let said = deploy("8", make);
    assert_eq!(said.code, 0, "{}", said.all());
    let said = place.run(&["verify"]);
    assert!(said.out.contains("locale/m.py") && !said.out.contains(".mo"), "{}", said.all());
    let record = place.release(8).join(".wheelbarrow/prepared.json");
    let text = fs_err::read_to_string(&record).unwrap();
    fs_err::write(&record, text.replace(r#""format":1"#, r#""format":2"#)).unwrap();
    for words in [&["rescue", "8", "--dry-run"][..], &["verify"]] {
        let said = place.run(words);
        assert!(said.out.contains("code/locale/a.mo"), "{}", said.all());
    }
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
fn an_incomplete_release_with_data_is_kept() {
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

#[test]
fn files_of_the_site_are_copied_out_of_a_release() {
    let place = place();
    write(&place, 1, "code/db.sqlite3");
    write(&place, 1, "code/uploads/a b/c.jpg");
    fs_err::set_permissions(place.release(1).join("code/db.sqlite3"), PermissionsExt::from_mode(0o640))
        .unwrap();
    fs_err::os::unix::fs::symlink("/etc/passwd", place.release(1).join("code/uploads/link")).unwrap();
    let id = place.release(1).file_name().unwrap().to_str().unwrap().to_owned();
    let said = place.run(&["rescue", "1", "--dry-run"]);
    let listed = "code/db.sqlite3\ncode/uploads/a b/c.jpg\n2 files would be copied\n";
    assert_eq!(said.out, listed, "{}", said.all());
    assert!(!place.root().join("shared/rescued").exists());

    let said = place.run(&["rescue", "1", "--json"]);
    let rescued: Value = serde_json::from_str(&said.out).unwrap();
    let path = place.root().join("shared/rescued").join(&id);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!((&rescued["files"], &rescued["links"]), (&json!(2), &json!(["code/uploads/link"])));
    assert_eq!((&rescued["failed"], &rescued["bytes"]), (&json!([]), &json!(14)));
    assert_eq!(fs_err::read(path.join("code/uploads/a b/c.jpg")).unwrap(), b"written");
    assert_eq!(fs_err::metadata(path.join("code/db.sqlite3")).unwrap().mode() & 0o777, 0o640);
    assert_eq!(fs_err::metadata(place.root().join("shared/rescued")).unwrap().mode() & 0o777, 0o700);
    assert!(fs_err::symlink_metadata(path.join("code/uploads/link")).is_err());
    assert!(place.release(1).join("code/db.sqlite3").exists(), "the release stays as it is");

    let said = place.run(&["rescue", "1"]);
    assert!(said.code == 5 && said.err.contains("already exists"), "{}", said.all());
    let said = place.run(&["rescue", "2"]);
    assert!(said.code == 0 && said.out.contains("holds no files"), "{}", said.all());
    assert_eq!(place.run(&["rescue", "9"]).code, 5);
    let said = place.run(&["remove", "1", "--discard-data"]);
    assert_eq!((said.code, numbers(&place)), (0, vec![2, 3]), "{}", said.all());
    assert_eq!(fs_err::read(path.join("code/db.sqlite3")).unwrap(), b"written");
}

#[test]
fn nothing_is_rescued_to_where_others_may_write() {
    let place = place();
    write(&place, 1, "code/db.sqlite3");
    let rescued = place.root().join("shared/rescued");
    fs_err::os::unix::fs::symlink(place.path(), &rescued).unwrap();
    let said = place.run(&["rescue", "1"]);
    assert!(said.code != 0 && said.err.contains("shared/rescued"), "{}", said.all());
    fs_err::remove_file(&rescued).unwrap();
    fs_err::create_dir(&rescued).unwrap();
    fs_err::set_permissions(&rescued, PermissionsExt::from_mode(0o777)).unwrap();
    let said = place.run(&["rescue", "1"]);
    assert!(said.code == 8 && said.err.contains("may be written by everybody"), "{}", said.all());
    assert_eq!(fs_err::read_dir(&rescued).unwrap().count(), 0);
}

const WRITE: &str = "prepare = [['sh', '-c', 'echo row >> db.sqlite3; echo row > db.sqlite3-journal']]";

#[test]
fn a_file_is_shared_before_it_is_there() {
    let place = Place::new();
    let settings = "shared = ['db.sqlite3', 'var/state/queue.db', 'conf.v2/']\n";
    for (number, rows) in [("1", "row\n"), ("2", "row\nrow\n")] {
        // SQLite names its journal after the real file.
        let write = WRITE.replace("> db.sqlite3-journal", "> $(realpath db.sqlite3)-journal");
        let said = place.deploy(&Version::with(number, &format!("{settings}{write}")));
        assert_eq!(said.code, 0, "{}", said.all());
        assert_eq!(fs_err::read_to_string(place.root().join("shared/db.sqlite3")).unwrap(), rows);
    }
    let link = fs_err::read_link(place.root().join("current/code/db.sqlite3")).unwrap();
    assert_eq!(link.to_str(), Some("../../../shared/db.sqlite3"));
    assert!(place.root().join("shared/db.sqlite3-journal").is_file());
    assert!(place.root().join("shared/var/state").is_dir());
    assert!(fs_err::symlink_metadata(place.root().join("shared/var/state/queue.db")).is_err());
    assert!(place.root().join("shared/conf.v2").is_dir());
    let said = place.run(&["prune", "--keep", "1"]);
    assert_eq!(said.code, 0, "{}", said.all());
    let said = place.run(&["verify"]);
    assert_eq!(said.code, 0, "{}", said.all());
}

#[test]
fn the_user_of_the_site_makes_the_file_and_what_sqlite_has_beside_it() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root deploys for another user");
        return;
    }
    let place = Place::new();
    fs_err::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let owner = "owner = '4321'\ngroup = '4322'\nshared = ['db.sqlite3', 'var/queue.db']\n";
    let write = WRITE.replace(
        "echo row > db.sqlite3-journal",
        "echo row > $(realpath db.sqlite3)-journal; echo > var/queue.db",
    );
    for number in ["1", "2"] {
        let said = place.deploy(&Version::with(number, &format!("{owner}{write}")));
        assert_eq!(said.code, 0, "{}", said.all());
    }
    let shared = place.root().join("shared");
    for path in
        [".files", ".files/db.sqlite3", ".files/db.sqlite3-journal", ".files/var", ".files/var/queue.db"]
    {
        assert_eq!(fs_err::symlink_metadata(shared.join(path)).unwrap().uid(), 4321, "{path}");
    }
    for path in [".", "var", "db.sqlite3"] {
        assert_eq!(fs_err::symlink_metadata(shared.join(path)).unwrap().uid(), 0, "{path}");
    }
    assert_eq!(fs_err::read_to_string(place.root().join("current/code/db.sqlite3")).unwrap(), "row\nrow\n");
    assert_eq!(fs_err::metadata(shared.join(".files")).unwrap().mode() & 0o007, 0);
    assert_eq!(place.run(&["prune", "--keep", "1"]).code, 0);
}

#[test]
fn files_at_newly_shared_paths_are_not_lost() {
    let place = place();
    write(&place, 3, "code/db.sqlite3");
    write(&place, 3, "code/uploads/a.jpg");
    let shared = Version::with("4", "shared = ['media', 'db.sqlite3', 'uploads']");
    let said = place.deploy(&shared);
    assert_eq!((said.code, numbers(&place)), (5, vec![1, 2, 3]), "{}", said.all());
    assert!(said.err.contains("code/db.sqlite3, code/uploads"), "{}", said.all());
    assert!(place.release(3).join("code/db.sqlite3").exists());
    assert!(!place.root().join("shared/db.sqlite3").exists());

    // The commands that it names.
    assert_eq!(place.run(&["rescue", "3"]).code, 0);
    run_moves(&place, &said.err);
    let said = place.deploy(&shared);
    assert_eq!((said.code, place.live()), (0, Some(4)), "{}", said.all());
    assert!(!said.err.contains("does not have files"), "{}", said.all());
    for path in ["code/db.sqlite3", "code/uploads/a.jpg"] {
        assert_eq!(fs_err::read(place.root().join("current").join(path)).unwrap(), b"written", "{path}");
    }
    assert_eq!(place.deploy(&Version::with("5", "shared = ['media', 'db.sqlite3', 'uploads']")).code, 0);
}

/// Runs the commands that the hint names after `rescue`.
fn run_moves(place: &Place, error: &str) {
    let (_, moves) = error.split_once("then `").unwrap();
    let is_move = |command: &&str| command.starts_with("mv ") || command.contains("tar ");
    for command in moves.split('`').step_by(2).filter(is_move) {
        let command = command.replace("[PLACE]", &place.path().display().to_string());
        let status = std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(status.success(), "{command}");
    }
}

/// After a rollback to a release that does not share it, the site writes into that release again.
#[test]
fn files_written_after_a_rollback_are_not_lost() {
    let place = place();
    write(&place, 3, "code/uploads/a.jpg");
    let shared = Version::with("4", "shared = ['media', 'uploads']");
    let said = place.deploy(&shared);
    assert_eq!(place.run(&["rescue", "3"]).code, 0);
    run_moves(&place, &said.err);
    assert_eq!(place.deploy(&shared).code, 0);
    write(&place, 4, "code/uploads/of-4.jpg");

    let said = place.run(&["rollback"]);
    assert_eq!((said.code, place.live()), (0, Some(3)), "{}", said.all());
    assert!(said.err.contains("shared: the site does not see these files: uploads\n"), "{}", said.all());
    let said = place.deploy(&shared);
    assert_eq!((said.code, place.live()), (0, Some(5)), "all of it is in ROOT/shared: {}", said.all());
    assert_eq!(place.run(&["rollback", "--to", "3"]).code, 0);

    write(&place, 3, "code/uploads/b/new.jpg");
    let said = place.deploy(&shared);
    assert!(said.code == 5 && said.err.contains("and ROOT/shared has not: code/uploads;"), "{}", said.all());
    let rescued = place.root().join("shared/rescued");
    fs_err::remove_dir_all(rescued).unwrap();
    assert_eq!(place.run(&["rescue", "3"]).code, 0);
    fs_err::write(place.root().join("shared/uploads/a.jpg"), "newer").unwrap();
    run_moves(&place, &said.err);
    let said = place.deploy(&shared);
    assert_eq!((said.code, place.live()), (0, Some(6)), "{}", said.all());
    let read = |path: &str| fs_err::read_to_string(place.root().join("current/code/uploads").join(path));
    assert_eq!(read("a.jpg").unwrap(), "newer", "nothing is written over");
    assert_eq!((read("of-4.jpg").unwrap(), read("b/new.jpg").unwrap()), ("written".into(), "written".into()));
}

/// The site, an editor or a person who restores a backup replaces the link by a file of its own, as a rename does.
#[test]
fn what_has_replaced_a_shared_link_is_not_lost() {
    let place = Place::new();
    let version = |version| Version::with(version, "shared = ['state.json', 'media']");
    assert_eq!(place.deploy(&version("1")).code, 0);
    let (live, shared) = (place.release(1).join("code"), place.root().join("shared"));
    fs_err::write(live.join("state.json"), "old").unwrap();
    fs_err::write(live.join("media/a"), "old").unwrap();
    fs_err::write(live.join("state.new"), "new").unwrap();
    fs_err::rename(live.join("state.new"), live.join("state.json")).unwrap();
    fs_err::remove_file(live.join("media")).unwrap();
    write(&place, 1, "code/media/a");
    assert_eq!(fs_err::read(shared.join("state.json")).unwrap(), b"old");

    let said = place.deploy(&version("2"));
    assert_eq!((said.code, place.live()), (5, Some(1)), "{}", said.all());
    assert!(said.err.contains("code/media, code/state.json;"), "{}", said.all());
    assert_eq!(place.run(&["rescue", "1"]).code, 0);
    run_moves(&place, &said.err);
    let said = place.deploy(&version("2"));
    assert_eq!((said.code, place.live()), (0, Some(2)), "{}", said.all());
    assert!(!said.err.contains("does not have files"), "{}", said.all());
    let read = |path: &str| fs_err::read_to_string(place.root().join("current/code").join(path)).unwrap();
    assert_eq!((read("state.json"), read("media/a")), ("new".into(), "written".into()));

    // Commands that go back say what they leave.
    assert_eq!(place.deploy(&version("3")).code, 0);
    let live = place.release(3).join("code");
    fs_err::write(live.join("state.new"), "newer").unwrap();
    fs_err::rename(live.join("state.new"), live.join("state.json")).unwrap();
    let said = place.run(&["rollback"]);
    assert_eq!((said.code, place.live()), (0, Some(2)), "{}", said.all());
    assert!(said.err.contains("written into 3-") && said.err.contains("state.json"), "{}", said.all());
}

/// They were not committed, say: a deploy of them would be a surprise.
#[test]
fn settings_that_only_the_live_release_has_are_named() {
    let place = Place::new();
    let server = "server = { kind = 'command', command = ['true'] }";
    let settings = format!("shared = ['media', '.env', 'unused.txt']\n{server}");
    assert_eq!(place.deploy(&Version::with("1", &settings)).code, 0);
    let shared = place.root().join("shared");
    assert!(shared.join("media").is_dir() && !shared.join(".env").exists(), "it is a file");
    fs_err::write(shared.join(".env"), "A=1").unwrap();
    let version = Version::with("2", "");
    let artifact = place.artifact(&version);
    let plan = place.run(&["deploy", artifact.to_str().unwrap(), "--dry-run"]);
    let said = place.deploy(&version);
    assert_eq!((plan.code, said.code), (0, 0), "{}{}", plan.all(), said.all());
    for text in [
        "have `shared` .env, media; this artifact has not: the site does not see what is there",
        "have a server; this artifact has not: it is not restarted",
    ] {
        assert!(plan.out.contains(text) && said.err.contains(text), "{}{}", plan.all(), said.all());
    }
}

/// A copy keeps the time of its original.
#[test]
fn a_restored_database_is_seen() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::with("1", "")).code, 0);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let database = place.release(1).join("code/site.db");
    fs_err::write(&database, b"SQLite format 3\0 and rows").unwrap();
    fs_err::File::options().write(true).open(&database).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let said = place.deploy(&Version::with("2", ""));
    assert!(said.code == 11 && said.err.contains("site.db"), "{}", said.all());
}

#[test]
fn a_damaged_record_of_an_old_release_stops_no_command() {
    let place = place();
    write(&place, 1, "code/upload.jpg");
    fs_err::write(place.release(1).join(".wheelbarrow/release.json"), "").unwrap();
    fs_err::write(place.release(2).join(".wheelbarrow/receipt.json"), "{\"format\"").unwrap();
    for words in [&["status"][..], &["list"], &["recover"]] {
        let said = place.run(words);
        assert_eq!(said.code, 0, "{words:?}: {}", said.all());
    }
    assert_eq!(place.list()[0].1, "incomplete");
    let said = place.deploy(&Version::good("4"));
    assert_eq!((said.code, place.live()), (0, Some(4)), "{}", said.all());
    // What the site wrote stays; the other has nothing that is known to be a site's.
    let said = place.run(&["remove", "1"]);
    assert!(said.code == 5 && said.err.contains("code/upload.jpg"), "{}", said.all());
    let said = place.run(&["remove", "1", "--discard-data"]);
    assert!(said.code == 0 && said.err.contains("the store keeps all that it has"), "{}", said.all());
    let said = place.run(&["remove", "2", "--discard-data"]);
    assert_eq!((said.code, said.err.contains("the store")), (0, false), "{}", said.all());
    assert_eq!(numbers(&place), [3, 4]);
}
