//! Artifacts that were altered or cut off, or never made by us: refused before the destination exists.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use wheelbarrow_artifact::manifest::Sha256;

use wheelbarrow_install::Pip;

use crate::both_ways;
use crate::site::{self, Node, told, wheel_members};
use crate::zips::{Member, directory_of, zip, zip_behind};

const WHEEL: &str = "pack-1-py3-none-any.whl";
const LINE: &[u8] = b"#!/usr/bin/env python3\n";

/// A small artifact as the builder would write it.
fn ordinary() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.zip");
    let script = Member { mode: 0o100_755, ..Member::new("pack-1.data/scripts/run", "#!python\n") };
    let wheel = zip(&wheel_members("pack", &[Member::new("pack.py", "x = 1\n"), script]));
    site::artifact(&path, &[(WHEEL, &wheel)]);
    fs_err::read(path).unwrap()
}

fn install(bytes: &[u8]) -> Result<BTreeMap<String, Node>, String> {
    let directory = tempfile::tempdir().unwrap();
    let artifact = directory.path().join("site.zip");
    fs_err::write(&artifact, bytes).unwrap();
    both_ways::install(&artifact, &directory.path().join("site"))
        .map_err(|said| said.replace(directory.path().to_str().unwrap(), "[TEMP]"))
}

/// The native way only, for what is done a thousand times.
fn install_in(directory: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Node>, String> {
    let (artifact, destination) = (directory.join("site.zip"), directory.join("site"));
    fs_err::write(&artifact, bytes).unwrap();
    let told = |error| told(&error).replace(directory.to_str().unwrap(), "[TEMP]");
    site::install_artifact(&artifact, &destination, Pip::Without).map_err(told)?;
    Ok(both_ways::take_tree(&destination))
}

/// An artifact of these members and nothing else but a wheel that is called pip, with a manifest that is true but for
/// what `change` does to it.
pub(crate) fn artifact_of(members: &[Member], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let pip = "bootstrap_wheels/pip-1-py3-none-any.whl";
    let mut members = members.to_vec();
    members.push(Member { method: 0, ..Member::new(pip, "no pip") });
    let kind = |mode: u32| match mode {
        0o120_777 => "link",
        0o100_755 => "executable",
        _ => "file",
    };
    let listed = members.iter().map(|member| {
        let sha256 = Sha256::of(&member.contents);
        json!({"path": member.name, "size": member.contents.len(), "sha256": sha256, "kind": kind(member.mode)})
    });
    let mut manifest = json!({
        "format": 1,
        "name": "site",
        "built_by": "a test",
        "project": {"directory": "code", "import_path": "code", "digest": Sha256::of(b"")},
        "targets": [{"python": "3.12", "abi": "cp312", "platform": "any", "wheels": [], "pip": pip,
                     "unpacked": {"bytes": 0, "inodes": 0}}],
        "environment": {},
        "wheels": [{"path": pip, "name": "pip", "version": "1"}],
        "members": listed.collect::<Vec<_>>(),
    });
    change(&mut manifest);
    members.push(Member::new(".wheelbarrow/manifest.json", serde_json::to_vec(&manifest).unwrap()));
    zip_behind(LINE, &members)
}

fn refused(members: &[Member]) -> String {
    install(&artifact_of(members, |_| {})).unwrap_err()
}

fn refused_manifest(change: impl FnOnce(&mut Value)) -> String {
    install(&artifact_of(&[Member::new("code/a.py", "a")], change)).unwrap_err()
}

fn link(name: &str, target: &str) -> Member {
    Member { mode: 0o120_777, method: 0, ..Member::new(name, target) }
}

#[test]
fn what_the_test_makes_is_an_artifact() {
    let tree =
        install(&artifact_of(&[Member::new("code/a.py", "a"), link("code/b", "a.py")], |_| {})).unwrap();
    assert_eq!(tree["code/b"], Node::Link { target: "a.py".to_owned() });
    assert!(install(&ordinary()).unwrap().contains_key("venv/bin/run"));
}

#[test]
fn members_that_lead_elsewhere_are_refused() {
    insta::assert_snapshot!(refused(&[Member::new("code/../../a", "a")]), @r#"[TEMP]/site.zip was refused: unsafe path "code/../../a": it leads out by '..'"#);
    for name in ["/etc/a", "../a", "code//a", "code/./a", "code/"] {
        refused(&[Member::new(name, "a")]);
    }
    insta::assert_snapshot!(refused(&[link("code/etc", "../../etc")]), @"[TEMP]/site.zip has a link that cannot be installed: code/etc -> ../../etc: the link leads out of the project");
    for (name, target) in [("code/etc", "/etc"), ("code/a/b", "../../venv"), ("code/a", "b/../../..")] {
        refused(&[link(name, target)]);
    }
    insta::assert_snapshot!(refused(&[link("code/s", "."), link("code/t", "s/../etc")]), @"[TEMP]/site.zip has a link that cannot be installed: code/t -> s/../etc: the link leads out of the project");
    insta::assert_snapshot!(refused(&[Member::new("code/a\u{1}", "a")]), @r#"[TEMP]/site.zip was refused: unsafe path "code/a\u{1}": it has a control character in it"#);
    // A file that would be written through a link, in either order.
    let through = Member::new("code/static/a.py", "a");
    refused(&[link("code/static", "media"), through.clone()]);
    refused(&[through, link("code/static", "media")]);
}

#[test]
fn zips_that_two_readers_understand_differently_are_refused() {
    let a = Member::new("code/a.py", "a");
    insta::assert_snapshot!(refused(&[a.clone(), a.clone()]), @r#"[TEMP]/site.zip is not a whole artifact: member "code/a.py" appears twice"#);
    let overlapping = Member { name: "code/b.py".to_owned(), place: Some(23), ..a.clone() };
    refused(&[a.clone(), overlapping]);
    refused(&[Member { flags: 1, ..a.clone() }]);
    refused(&[Member { method: 14, ..a.clone() }]);
    refused(&[Member { local_name: Some("code/b.py".to_owned()), ..a.clone() }]);
    refused(&[Member { crc32: Some(7), ..a.clone() }]);
    refused(&[Member { size: Some(4_000_000_000), ..a }]);
}

#[test]
fn manifests_that_are_not_true_are_refused() {
    let altered = refused_manifest(|manifest| manifest["members"][0]["sha256"] = json!(Sha256::of(b"b")));
    insta::assert_snapshot!(altered, @"[TEMP]/site.zip was altered: code/a.py has SHA-256 ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb, the manifest says 3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d");
    let other_size = refused_manifest(|manifest| manifest["members"][0]["size"] = json!(2));
    insta::assert_snapshot!(other_size, @"[TEMP]/site.zip was altered: code/a.py has another size or mode than the manifest says");
    let missing = refused_manifest(|manifest| manifest["members"][0]["path"] = json!("code/b.py"));
    insta::assert_snapshot!(missing, @"[TEMP]/site.zip was altered: the manifest does not name code/a.py");
    refused_manifest(|manifest| manifest["members"][0]["kind"] = json!("executable"));
    refused_manifest(|manifest| manifest["members"].as_array_mut().unwrap().clear());
    refused_manifest(|manifest| manifest["targets"][0]["pip"] = json!("code/a.py"));
    refused_manifest(|manifest| manifest["project"]["directory"] = json!(".."));
    refused_manifest(|manifest| manifest["targets"] = json!([]));
}

#[test]
fn manifests_of_the_future_are_refused() {
    insta::assert_snapshot!(refused_manifest(|manifest| manifest["format"] = json!(2)), @"[TEMP]/site.zip has format 2: a wheelbarrow later than 0.1.0 is needed, and this is 0.1.0");
    insta::assert_snapshot!(refused_manifest(|manifest| manifest["bytecode"] = json!({})), @"the manifest of [TEMP]/site.zip cannot be read: unknown field `bytecode`, expected one of `format`, `name`, `version`, `built_by`, `project`, `targets`, `environment`, `release`, `wheels`, `interpreter`, `allowed`, `members` at line 1 column 31");
    insta::assert_snapshot!(install(&zip(&[Member::new("a", "a")])).unwrap_err(), @"[TEMP]/site.zip is not a wheelbarrow artifact: it has no .wheelbarrow/manifest.json");
}

#[test]
fn a_wheel_that_is_not_stored_is_refused() {
    let wheel = zip(&wheel_members("pack", &[Member::new("pack.py", "x = 1\n".repeat(50))]));
    let path = format!("wheels/{WHEEL}");
    let said = install(&artifact_of(&[Member::new(&path, wheel)], |manifest| {
        manifest["targets"][0]["wheels"] = json!([path]);
        manifest["wheels"]
            .as_array_mut()
            .unwrap()
            .push(json!({"path": path, "name": "pack", "version": "1"}));
    }));
    insta::assert_snapshot!(said.unwrap_err(), @"[TEMP]/site.zip was altered: the wheel wheels/pack-1-py3-none-any.whl is not stored as it is");
}

#[test]
fn an_artifact_cut_off_anywhere_is_refused() {
    let whole = ordinary();
    let directory = tempfile::tempdir().unwrap();
    let expected = install_in(directory.path(), &whole).unwrap();
    let mut cut = Vec::new();
    for part in 0..50 {
        let length = whole.len() * part / 50;
        assert!(install_in(directory.path(), &whole[..length]).is_err(), "cut off at {length}");
        cut.push(directory.path().join(format!("{length}.zip")));
        fs_err::write(&cut[part], &whole[..length]).unwrap();
    }
    assert_eq!(both_ways::refused_or_the_same(&cut, &directory.path().join("site"), &expected), 0);
    let mut longer = whole.clone();
    longer.extend(b"more");
    install_in(directory.path(), &longer).unwrap_err();
}

#[test]
fn an_artifact_with_any_byte_changed_is_refused_or_the_same() {
    let whole = ordinary();
    let directory = tempfile::tempdir().unwrap();
    let expected = install_in(directory.path(), &whole).unwrap();
    let mut equal = 0;
    let mut for_second = Vec::new();
    for place in 0..whole.len() {
        // One bit in turn: every field is longer than a byte or has several of its bits tried this way.
        let mut changed = whole.clone();
        changed[place] ^= 1 << (place % 8);
        if place >= directory_of(&whole) {
            for_second.push(directory.path().join(format!("{place}.zip")));
            fs_err::write(for_second.last().unwrap(), &changed).unwrap();
        }
        if let Ok(found) = install_in(directory.path(), &changed) {
            assert_eq!(found, expected, "byte {place} of {}", whole.len());
            equal += 1;
        }
    }
    let second = both_ways::refused_or_the_same(&for_second, &directory.path().join("site"), &expected);
    println!("{} bytes, {equal} changes made no difference", whole.len());
    println!("{} of the directory, {second} of them made no difference to bootstrap.py", for_second.len());
}
