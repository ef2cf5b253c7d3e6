//! Sites of Django that would write into their releases: refused before any of their commands has run.

use std::time::Duration;

use super::root::{Place, Version, deploy_words};
use super::site::Site;
use crate::support::Said;

/// As much of Django as the check asks; `NAME` is where the database is.
const DJANGO: &str = r#"
import sys, types

def module(name, **members):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(members)

settings = types.SimpleNamespace(
    configured=True,
    MEDIA_ROOT="media",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    LOGGING={"handlers": {"file": {"filename": "debug.log"}}},
)
module("django", setup=lambda: None)
module("django.conf", settings=settings)
module("django.core", checks=types.SimpleNamespace(run_checks=lambda include_deployment_checks: []))

def application(environ, start_response):
    start_response("200 OK", [])
    return []
"#;

fn deploy(place: &Place, version: &str, settings: &str) -> Said {
    let prepare = "prepare = [['sh', '-c', 'echo row >> db.sqlite3; echo > media/upload.jpg']]\n";
    let release = toml::from_str(&format!("{prepare}{settings}")).unwrap();
    let code = vec![("wsgi.py", DJANGO.to_owned())];
    let words = deploy_words(&Site { version, release, code }.write(&place.path()));
    place.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_site_that_writes_data_into_its_release_is_refused() {
    let place = Place::new();
    let said = deploy(&place, "1", "");
    assert_eq!((said.code, place.live()), (11, None), "{}", said.all());
    assert!(
        said.err.contains("MEDIA_ROOT is code/media, DATABASES.default is code/db.sqlite3"),
        "{}",
        said.all()
    );
    assert!(said.err.contains("`shared = [\"media\", \"db.sqlite3\"]`"), "{}", said.all());
    assert!(said.err.contains("allow = [\"data-in-release:MEDIA_ROOT=REASON\"]"), "{}", said.all());
    assert!(said.err.contains("LOGGING.file is in the release, code/debug.log"), "{}", said.all());
    // None of its commands has run, and no database was made.
    assert!(!place.release(1).join("code/db.sqlite3").exists());

    // What is shared already stays in the line.
    let said = deploy(&place, "2", "shared = ['media']");
    assert!(said.code == 11 && said.err.contains("`shared = [\"media\", \"db.sqlite3\"]`"), "{}", said.all());
    let said = place.run(&["check", "2"]);
    assert!(said.code == 11 && said.err.contains("DATABASES.default is code/db.sqlite3"), "{}", said.all());
    assert_eq!(place.run(&["activate", "2"]).code, 11);

    for version in ["3", "4"] {
        let said = deploy(&place, version, "shared = ['media', 'db.sqlite3']");
        assert_eq!(said.code, 0, "{}", said.all());
    }
    assert_eq!(fs_err::read_to_string(place.root().join("shared/db.sqlite3")).unwrap(), "row\nrow\n");
    assert!(place.root().join("shared/media/upload.jpg").is_file());
}

#[test]
fn an_allowance_permits_writes_into_the_release() {
    let place = Place::new();
    let own = place.root().join("shared/wheelbarrow.toml");
    fs_err::create_dir_all(own.parent().unwrap()).unwrap();
    fs_err::write(&own, "[release.check]\nallow = ['data-in-release:DATABASES.default']\n").unwrap();
    let said = deploy(&place, "1", "shared = ['media']");
    assert!(said.code == 8 && said.err.contains("needs a reason"), "{}", said.all());
    fs_err::remove_file(own).unwrap();
    let allow = "check = { allow = ['data-in-release:DATABASES.default=a demonstration'] }";
    let said = deploy(&place, "1", &format!("shared = ['media']\n{allow}"));
    assert_eq!(said.code, 0, "{}", said.all());
    let note = "DATABASES.default is in the release, code/db.sqlite3; allowed: a demonstration";
    assert!(said.err.contains(note), "{}", said.all());
    let status = place.run(&["status"]).out;
    assert!(status.contains("check data-in-release:DATABASES.default: a demonstration"), "{status}");
    let said = deploy(&place, "2", allow);
    assert!(
        said.code == 11 && said.err.contains("lose it with the next one: MEDIA_ROOT is code/media\n"),
        "{}",
        said.all()
    );
}

#[test]
fn a_database_that_the_site_wrote_is_not_lost_by_the_next_deploy() {
    let place = Place::new();
    let prepare = "prepare = [['python', '-c', \"import os; os.makedirs('var'); \
                   open('var/app.db', 'w').write('SQLite format 3' + chr(0) + 'row')\"]]";
    for version in ["1", "2"] {
        assert_eq!(place.deploy(&Version::with(version, prepare)).code, 0);
    }
    assert_eq!(place.live(), Some(2), "a command has made the one of the first");
    std::thread::sleep(Duration::from_secs(3));
    fs_err::write(place.release(2).join("code/var/app.db-wal"), "row").unwrap();
    let said = place.deploy(&Version::good("3"));
    assert_eq!((said.code, place.live()), (11, Some(2)), "{}", said.all());
    assert!(said.err.contains("lose it with the next one: code/var/app.db\n"), "{}", said.all());
    assert!(said.err.contains("`shared = [\"var/app.db\"]`"), "{}", said.all());
    let allow = "data-in-release:code/var/app.db";
    assert!(said.err.contains(&format!("allow = [\"{allow}=REASON\"]")), "{}", said.all());
    let said = place.deploy(&Version::with("4", &format!("check = {{ allow = ['{allow}=thumbnails'] }}")));
    assert_eq!((said.code, place.live()), (0, Some(4)), "{}", said.all());
}

#[test]
fn settings_keys_and_uploads_in_the_live_release_are_not_lost_by_the_next_deploy() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let code = place.release(1).join("code");
    fs_err::create_dir(code.join("uploads")).unwrap();
    for path in [".env", "secret.key", "uploads/1.png", "uploads/2.png", "index.json"] {
        fs_err::write(code.join(path), "x").unwrap();
    }
    let said = place.deploy(&Version::good("2"));
    assert_eq!((said.code, place.live()), (11, Some(1)), "{}", said.all());
    let lost = "lose it with the next one: code/.env, code/secret.key, code/uploads\n";
    assert!(said.err.contains(lost), "{}", said.all());
    let shared = "shared = [\".env\", \"secret.key\", \"uploads\"]";
    assert!(said.err.contains(&format!("`{shared}`")), "{}", said.all());
    let said = place.deploy(&Version::with("3", shared));
    assert!(said.code == 5 && said.err.contains("wheelbarrow rescue 1"), "{}", said.all());
    let allow = "check = { allow = ['data-in-release=a demonstration'] }";
    let said = place.deploy(&Version::with("4", allow));
    assert!(said.code == 0 && said.err.contains("code/index.json"), "{}", said.all());
}
