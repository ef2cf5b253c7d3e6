//! What cannot be removed from the trash: each command says so, does its work, and tries again.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use wheelbarrow_artifact::interpreter::Interpreter;

use super::root::{Place, Version};
use super::site;
use crate::support::Said;

/// Who deploys, and who else is there, by number: nothing on this machine has them.
const DEPLOYER: u32 = 4321;
const OTHER: u32 = 4322;

/// A root with two releases, made by `run`, and what a command that was killed has left of another in the trash.
struct Stubborn<'a> {
    place: &'a Place,
    run: &'a dyn Fn(&[&str]) -> Said,
    python: &'a Path,
    left: PathBuf,
}

impl<'a> Stubborn<'a> {
    fn new(place: &'a Place, run: &'a dyn Fn(&[&str]) -> Said, python: &'a Path) -> Self {
        let left = place.root().join(".wheelbarrow/trash/1-1a2b3c4d");
        let stubborn = Self { place, run, python, left };
        for _ in 0..2 {
            stubborn.deploy();
        }
        let left = &stubborn.left;
        fs_err::create_dir_all(left.join("code/cache")).unwrap();
        fs_err::write(left.join("code/cache/page"), "").unwrap();
        fs_err::write(left.join("app.py"), "").unwrap();
        stubborn
    }

    fn deploy(&self) -> Said {
        let artifact = self.place.artifact(&Version::with("1.0", "keep = 2")).display().to_string();
        let said =
            (self.run)(&["deploy", &artifact, "--without-pip", "--python", self.python.to_str().unwrap()]);
        assert_eq!(said.code, 0, "{}", said.all());
        said
    }

    /// Every command that empties the trash.
    fn stops_nothing(&self) {
        let note = "trash/1-1a2b3c4d/code/cache/page";
        let said = self.deploy();
        assert!(said.err.contains(note) && self.place.live() == Some(3), "{}", said.all());
        for words in [&["rollback"][..], &["prune"], &["recover"], &["env", "set", "A"], &["activate", "2"]] {
            let said = (self.run)(words);
            assert!(said.code == 0 && said.err.contains(note), "{words:?}: {}", said.all());
        }
        assert!(!self.left.join("app.py").exists(), "the rest is removed");
        for words in [&["status"][..], &["doctor"]] {
            let said = (self.run)(words);
            assert!(said.all().contains("1-1a2b3c4d"), "{words:?}: {}", said.all());
        }
    }

    /// It goes as soon as it can.
    fn goes(&self) {
        let said = (self.run)(&["recover"]);
        assert!(said.code == 0 && !said.err.contains("trash"), "{}", said.all());
        assert!(!self.left.exists());
    }
}

fn place() -> Option<Place> {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root makes files that others cannot remove");
        return None;
    }
    Some(Place::new())
}

/// `env set` reads the value of a variable there.
fn value(place: &Place) -> std::fs::File {
    let path = place.path().join("value");
    fs_err::write(&path, "1\n").unwrap();
    fs_err::File::open(path).unwrap().into_parts().0
}

#[test]
fn a_file_that_not_even_root_removes_stops_nothing() {
    let Some(place) = place() else { return };
    let run = |words: &[&str]| place.finish(place.command(words).stdin(value(&place)));
    let stubborn = Stubborn::new(&place, &run, &site::interpreter().executable);
    let page = stubborn.left.join("code/cache/page");
    let chattr = |flag: &str| Command::new("chattr").arg(flag).arg(&page).status();
    if !chattr("+i").is_ok_and(|status| status.success()) {
        println!("skipped: no file can be made immutable here");
        return;
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stubborn.stops_nothing()));
    assert!(chattr("-i").unwrap().success());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    stubborn.goes();
}

#[test]
fn files_of_another_user_stop_nothing() {
    let Some(place) = place() else { return };
    fs_err::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    chown(place.path(), Some(DEPLOYER), Some(DEPLOYER)).unwrap();
    let python = Path::new("/usr/bin/python3");
    let is_the_tests = Interpreter::probe(python, None).is_ok_and(|it| it.abi == site::interpreter().abi);
    if !is_the_tests {
        println!("skipped: the Python of the tests may not be there for every user");
        return;
    }
    let run = |words: &[&str]| {
        let ours = place.command(words);
        let mut command = Command::new("setpriv");
        let user = DEPLOYER.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
        command.arg(ours.get_program()).args(ours.get_args());
        command.env("WHEELBARROW_ROOT", "site").env("HOME", place.path()).current_dir(place.path());
        place.finish(command.stdin(value(&place)))
    };
    let stubborn = Stubborn::new(&place, &run, python);
    let cache = stubborn.left.join("code/cache");
    for (path, user) in [
        (stubborn.left.clone(), DEPLOYER),
        (stubborn.left.join("code"), DEPLOYER),
        (stubborn.left.join("app.py"), DEPLOYER),
        (cache.clone(), OTHER),
        (cache.join("page"), OTHER),
    ] {
        chown(path, Some(user), Some(user)).unwrap();
    }
    stubborn.stops_nothing();
    assert!(cache.join("page").exists());
    chown(&cache, Some(DEPLOYER), None).unwrap();
    stubborn.goes();
}
