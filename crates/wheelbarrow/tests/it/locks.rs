//! Where a build keeps its lock.

use crate::site::{cache, is_built};
use crate::support::{Place, Said, wheelbarrow};

/// A lock that is in version control is used wherever the artifact goes.
#[test]
fn the_lock_of_the_project_is_used_wherever_the_artifact_goes() {
    let place =
        Place::with(&[("project/requirements.txt", ""), ("project/manage.py", ""), ("out/empty", "")]);
    let project = place.path().join("project");
    let build = |output: &str| {
        let mut command = wheelbarrow(&project);
        place.finish(command.args(["build", "--cache-dir", "../cache", "-o", output]))
    };
    if !is_built(&build("../out/one.zip")) {
        return;
    }
    let lock = place.path().join("out/pylock.project.toml");
    assert!(lock.is_file(), "without one in the project it is beside the artifact");
    fs_err::rename(&lock, project.join("pylock.project.toml")).unwrap();
    let said = build("../out/two.zip");
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(!said.all().contains("locked"), "{}", said.all());
    assert!(!lock.exists());
}

const LOCK: &str = "project/pylock.project.toml";

fn build(place: &Place, arguments: &[&str]) -> Said {
    let mut command = wheelbarrow(&place.path().join("project"));
    command.args(["build", "-o", "../out/site.zip", "--cache-dir"]).arg(cache());
    place.finish(command.args(arguments))
}

/// A project with a committed lock that contains the requirement of `with`. `None` if no index is reachable.
fn locked_project() -> Option<Place> {
    let place = Place::with(&[
        ("project/requirements.txt", "asgiref==3.8.1\n"),
        ("project/manage.py", ""),
        ("project/wheelbarrow.toml", "with = ['sqlparse==0.5.1']\n"),
        ("out/empty", ""),
    ]);
    if !is_built(&build(&place, &[])) {
        return None;
    }
    fs_err::rename(place.path().join("out/pylock.project.toml"), place.path().join(LOCK)).unwrap();
    Some(place)
}

#[test]
fn a_named_lock_of_wheelbarrow_is_used_as_it_is_with_what_the_settings_add() {
    let Some(place) = locked_project() else { return };
    let lock = place.read(LOCK);
    place.write("project/copy.toml", &lock);
    for arguments in [&["--lock", "pylock.project.toml"][..], &["--lock", "copy.toml"], &[]] {
        let said = build(&place, arguments);
        assert_eq!(said.code, 0, "{}", said.all());
        assert_eq!(place.read(LOCK), lock);
    }
    let said = build(&place, &["--lock", "pylock.project.toml", "--with", "typing-extensions==4.12.2"]);
    assert!(
        said.code == 8 && said.err.contains("which would write over it to add typing-"),
        "{}",
        said.all()
    );
    assert_eq!(place.read(LOCK), lock);
    let said = build(&place, &["--lock", "copy.toml", "--with", "typing-extensions==4.12.2"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(place.read(LOCK).parse::<toml::Table>().is_ok(), "{}", place.read(LOCK));
}

#[test]
fn a_named_lock_whose_requirements_changed_is_refused() {
    let Some(place) = locked_project() else { return };
    let named = ["--lock", "pylock.project.toml"];
    place.write("project/requirements.txt", "asgiref==3.8.1\ntyping-extensions==4.12.2\n");
    let said = build(&place, &named);
    assert!(
        said.code == 8 && said.err.contains("is out of date: requirements.txt has changed"),
        "{}",
        said.all()
    );
    let said = build(&place, &[&named[..], &["--frozen"]].concat());
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(build(&place, &[]).code, 0);
    let said = build(&place, &named);
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(place.read(LOCK).contains("\"typing-extensions\""), "{}", place.read(LOCK));
}

/// As after a merge with conflicts.
#[test]
fn a_broken_lock_is_made_again_with_upgrade_alone() {
    let Some(place) = locked_project() else { return };
    let (lock, named) = (place.read(LOCK), ["--lock", "pylock.project.toml"]);
    let broken = format!("<<<<<<< HEAD\n{lock}");
    for arguments in [&[][..], &named] {
        place.write(LOCK, &broken);
        let said = build(&place, arguments);
        assert!(said.code == 3 && said.err.contains("cannot be read"), "{}", said.all());
        assert_eq!(place.read(LOCK), broken);
        let said = build(&place, &[arguments, &["--upgrade"]].concat());
        assert_eq!(said.code, 0, "{}", said.all());
        assert_eq!(place.read(LOCK), lock);
    }
}

/// The new lock may have lower versions, for a target that is refused then.
#[test]
fn a_failed_build_leaves_the_lock_as_it_was() {
    let Some(place) = locked_project() else { return };
    let lock = place.read(LOCK);
    place.write(
        "project/broken/pyproject.toml",
        "[project]\nname = 'broken'\nversion = '1'\n[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n",
    );
    place.write("project/broken/backend.py", "def build_wheel(*arguments): raise SystemExit(1)\n");
    place.write("project/requirements.txt", "asgiref==3.7.2\n./broken\n");
    let said = build(&place, &[]);
    assert!(said.code == 8 && said.err.contains("asgiref 3.8.1 -> 3.7.2, +broken"), "{}", said.all());
    assert!(said.err.contains("restored ./pylock.project.toml, since the build"), "{}", said.all());
    assert_eq!(place.read(LOCK), lock);

    fs_err::remove_file(place.path().join(LOCK)).unwrap();
    assert_eq!(build(&place, &[]).code, 8);
    assert!(!place.path().join("out/pylock.project.toml").exists());
}
