//! A root that was moved with its files: `status` says so, and a command repairs it.

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use serde_json::Value;

use super::root::{Place, Version};
use crate::support::Said;

const ARTIFACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/site-0.1.0.zip");

/// `wheelbarrow WORDS --root ROOT`.
fn at(place: &Place, root: &Path, words: &[&str]) -> Said {
    let mut command = place.command(&[]);
    place.finish(command.args(words).env("WHEELBARROW_ROOT", root))
}

/// A root with two releases that have a script, now elsewhere. The artifact is for Python 3.11.
fn move_to(place: &Place, name: &str) -> Option<std::path::PathBuf> {
    let find = Command::new("python3.11").args(["-c", "import sys; print(sys.executable)"]).output();
    let Ok(python) = find.map(|output| String::from_utf8(output.stdout).unwrap().trim().to_owned()) else {
        assert!(std::env::var_os("CI").is_none(), "there is no python3.11");
        println!("skipped: there is no python3.11");
        return None;
    };
    for _ in 0..2 {
        let said = place.run(&["deploy", ARTIFACT, "--without-pip", "--python", &python]);
        assert_eq!(said.code, 0, "{}", said.all());
    }
    assert_eq!(place.run(&["exec", "hello"]).out, "hello\n");
    let to = place.path().join(name);
    fs::rename(place.root(), &to).unwrap();
    Some(to)
}

fn is_repaired(name: &str) {
    let place = Place::new();
    let Some(root) = move_to(&place, name) else { return };
    let status = || -> Value { serde_json::from_str(&at(&place, &root, &["status", "--json"]).out).unwrap() };
    let told = status();
    assert!(told["broken"].as_str().unwrap_or_default().contains("was moved from "), "{told}");
    let hint = told["broken_hint"].as_str().unwrap_or_default();
    assert!(hint.starts_with("`wheelbarrow recover --moved"), "{told}");
    let plain = at(&place, &root, &["status"]);
    assert!(
        plain.out.contains("recover --moved --root ") && !plain.out.contains("root ROOT"),
        "{}",
        plain.all()
    );
    for words in [&["exec", "hello"][..], &["verify"], &["rollback"]] {
        let said = at(&place, &root, words);
        assert!(said.code == 5 && said.err.contains("was moved from "), "{words:?}: {}", said.all());
        assert!(said.err.contains("hint: `wheelbarrow recover --moved"), "{words:?}: {}", said.all());
    }

    let said = at(&place, &root, &["recover"]);
    assert!(
        said.code == 0 && said.err.contains("that path: `wheelbarrow recover --moved --root "),
        "{}",
        said.all()
    );
    let said = at(&place, &root, &["recover", "--moved"]);
    assert_eq!((said.code, said.out.lines().count()), (0, 2), "{}", said.all());
    assert_eq!(status()["broken"], Value::Null);
    for release in ["1", "2"] {
        let said = at(&place, &root, &["exec", "--release", release, "hello"]);
        assert_eq!(said.out, "hello\n", "{}", said.all());
        let said = at(&place, &root, &["verify", "--release", release]);
        assert_eq!(said.code, 0, "{}", said.all());
    }
    let old = place.root().display().to_string();
    let found =
        Command::new("grep").args(["-rlI", "-F", &format!("{old}/")]).arg(root.join("releases")).output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    assert_eq!(found, "", "nothing names the old place");
    let said = at(&place, &root, &["rollback"]);
    assert_eq!(said.code, 0, "{}", said.all());
    let said = at(&place, &root, &["recover", "--moved"]);
    assert!(said.code == 0 && said.out.contains("nothing to recover"), "{}", said.all());
}

#[test]
fn to_a_plain_path() {
    is_repaired("elsewhere");
}

/// A first line cannot hold it.
#[test]
fn to_a_path_with_a_space() {
    is_repaired("else where");
}

/// A link to where it is now is as good as the place itself.
#[test]
fn a_root_with_two_names_was_not_moved() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let to = place.path().join("elsewhere");
    fs::rename(place.root(), &to).unwrap();
    fs_err::os::unix::fs::symlink(&to, place.root()).unwrap();
    for root in [&to, &place.root()] {
        assert_eq!(at(&place, root, &["verify"]).code, 0);
    }
}
