//! Thin artifacts of sites without wheels: what releases have of the code is taken from them, and nothing else is.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, MemberKind, Sha256};
use wheelbarrow_artifact::zip::{Archive, DosTime, ZipWriter};
use wheelbarrow_artifact::{Anybody, Artifact, SIGNATURE_PATH};

use super::root::{Place, Version, deploy_words};
use crate::support::Said;

const THIN_PATH: &str = ".wheelbarrow/thin.json";
/// Of what a thin artifact leaves out and a host has not.
const LACKING: i32 = 18;

impl Place {
    fn thin(&self, full: &Path, words: &[&str]) -> PathBuf {
        let thin = self.path().join("thin.zip");
        let (full, output) = (full.display().to_string(), thin.display().to_string());
        let said = self.run(&[&["thin", &full, "-o", &output][..], words].concat());
        assert_eq!(said.code, 0, "{}", said.all());
        thin
    }

    fn thin_for_base(&self, full: &Path, base: &Path) -> PathBuf {
        self.thin(full, &["--base", &base.display().to_string()])
    }

    fn deploy_artifact(&self, artifact: &Path) -> Said {
        self.run(&deploy_words(artifact).iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn inventory(&self) -> PathBuf {
        let said = self.run(&["store", "inventory", "--json"]);
        assert_eq!(said.code, 0, "{}", said.all());
        let path = self.path().join("have.json");
        fs::write(&path, said.out).unwrap();
        path
    }
}

/// Everything below a directory: what it is, its mode, and what it holds. Bytecode that was compiled there begins with the
/// time of its source, and the record of a release says when it was made.
pub(crate) fn tree(directory: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(inside) = directories.pop() {
        for entry in fs::read_dir(directory.join(&inside)).unwrap() {
            let path = inside.join(entry.unwrap().file_name());
            let (absolute, text) = (directory.join(&path), path.to_string_lossy().into_owned());
            let metadata = fs::symlink_metadata(&absolute).unwrap();
            let contents = match metadata.file_type() {
                kind if kind.is_symlink() => {
                    fs::read_link(&absolute).unwrap().into_os_string().into_encoded_bytes()
                }
                kind if kind.is_dir() => Vec::new(),
                _ if text.ends_with(".pyc") => fs::read(&absolute).unwrap().split_off(16),
                _ if text.ends_with("release.json") => {
                    let mut record: Value = serde_json::from_slice(&fs::read(&absolute).unwrap()).unwrap();
                    record["made_at"].take();
                    record.to_string().into_bytes()
                }
                _ => fs::read(&absolute).unwrap(),
            };
            if metadata.is_dir() {
                directories.push(path.clone());
            }
            found.insert(path, (metadata.mode(), contents));
        }
    }
    found
}

/// Which paths two trees have differently.
pub(crate) fn differences(one: &Path, other: &Path) -> Vec<PathBuf> {
    let (one, other) = (tree(one), tree(other));
    let paths = one.keys().chain(other.keys()).filter(|path| one.get(*path) != other.get(*path));
    paths.cloned().collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

fn members(artifact: &Path) -> Vec<String> {
    let archive = Archive::parse(fs::read(artifact).unwrap()).unwrap();
    archive.entries().iter().map(|entry| entry.name.clone()).collect()
}

/// Does something with the root as it is now, and with a copy of that in its place; gives what both have left.
fn twice<T>(place: &Place, one: impl FnOnce() -> T, other: impl FnOnce() -> T) -> (PathBuf, PathBuf, T, T) {
    let [before, first, second] = ["before", "first", "second"].map(|name| place.path().join(name));
    copy(&place.root(), &before);
    let one = one();
    fs::rename(place.root(), &first).unwrap();
    copy(&before, &place.root());
    let other = other();
    copy(&place.root(), &second);
    (first, second, one, other)
}

#[test]
fn a_thin_deploy_makes_the_release_of_a_full_one() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let full = place.artifact(&Version::good("2"));
    let have = place.inventory();
    let thin = place.thin(&full, &["--have", have.to_str().unwrap()]);
    assert!(!members(&thin).contains(&"code/status".to_owned()), "1 has the same");
    assert!(members(&thin).contains(&"code/app.py".to_owned()), "1 has another");
    assert!(members(&thin).contains(&THIN_PATH.to_owned()));
    let deploy = |artifact: PathBuf| {
        let place = &place;
        move || place.deploy_artifact(&artifact)
    };
    let (of_full, of_thin, one, other) = twice(&place, deploy(full), deploy(thin));
    assert_eq!((one.code, other.code), (0, 0), "{}{}", one.all(), other.all());
    let id = |said: &Said| said.out.split(' ').next().unwrap().to_owned();
    assert_eq!(id(&one), id(&other));
    let release = |root: &Path| root.join("releases").join(id(&one));
    assert_eq!(differences(&release(&of_full), &release(&of_thin)), Vec::<PathBuf>::new());
    assert!(release(&of_thin).join("code/status").exists());
    // And the root beside it: nothing was left anywhere.
    let left = |root: &Path| {
        let paths: Vec<PathBuf> = tree(root).into_keys().collect();
        paths.into_iter().filter(|path| !path.ends_with("__pycache__")).collect::<Vec<_>>()
    };
    assert_eq!(left(&of_full), left(&of_thin));
    assert_eq!(place.run(&["verify"]).code, 0);
}

/// Whatever the path, and whatever it is there.
#[test]
fn contents_are_found_under_other_paths() {
    let place = Place::new();
    let site = |version: &'static str, code: Vec<(&'static str, String)>| {
        let release = super::site::settings("");
        super::site::Site { version, release, code }.write(&place.path())
    };
    let text = "x = 1\n".repeat(100);
    let one = site("1", vec![("app.py", String::new()), ("old/place.py", text.clone())]);
    assert_eq!(place.deploy_artifact(&one).code, 0);
    let two =
        site("2", vec![("app.py", String::new()), ("new/place.py", text.clone()), ("copy.py", text.clone())]);
    let thin = place.thin_for_base(&two, &one);
    assert!(members(&thin).iter().all(|path| !path.ends_with("place.py") && !path.ends_with("copy.py")));
    let said = place.deploy_artifact(&thin);
    assert_eq!(said.code, 0, "{}", said.all());
    for path in ["new/place.py", "copy.py"] {
        assert_eq!(fs::read_to_string(place.root().join("current/code").join(path)).unwrap(), text);
    }
}

#[test]
fn altered_files_of_a_release_are_not_reused() {
    let place = Place::new();
    for name in ["1", "2"] {
        assert_eq!(place.deploy(&Version::good(name)).code, 0);
    }
    let thin =
        place.thin_for_base(&place.artifact(&Version::good("3")), &place.artifact(&Version::good("2")));
    // Of the same size, and with the same time.
    let alter = |number: u64| {
        let path = place.release(number).join("code/status");
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "999").unwrap();
        fs::File::options().write(true).open(&path).unwrap().into_parts().0.set_modified(time).unwrap();
    };
    alter(2);
    let have = |sha256: Sha256| {
        let text = fs::read_to_string(place.inventory()).unwrap();
        text.contains(&sha256.to_string())
    };
    assert!(have(Sha256::of(b"200")) && !have(Sha256::of(b"999")), "1 has it still");
    let said = place.deploy_artifact(&thin);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(fs::read_to_string(place.release(3).join("code/status")).unwrap(), "200");

    alter(1);
    alter(3);
    assert!(!have(Sha256::of(b"200")));
    let before = tree(&place.root());
    let said = place.deploy_artifact(&thin);
    assert_eq!(said.code, LACKING, "{}", said.all());
    let expected =
        "[PLACE]/thin.zip leaves out 1 file that is not here:\n    code/status\nhint: make it again";
    assert!(said.err.contains(expected), "{}", said.all());
    assert_eq!(tree(&place.root()), before);
    // An inventory says what is there now, and with that it goes on.
    let full = place.artifact(&Version::good("3"));
    let thin = place.thin(&full, &["--have", place.inventory().to_str().unwrap()]);
    assert_eq!(place.deploy_artifact(&thin).code, 0);
}

/// A release that is not complete, or has another manifest than it was made with, is none.
#[test]
fn only_complete_releases_count() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let thin =
        place.thin_for_base(&place.artifact(&Version::good("2")), &place.artifact(&Version::good("1")));
    let release = place.release(1);
    let manifest = release.join(MANIFEST_PATH);
    let text = fs::read(&manifest).unwrap();
    fs::write(&manifest, [&text[..], b"\n"].concat()).unwrap();
    assert_eq!(place.deploy_artifact(&thin).code, LACKING);
    fs::write(&manifest, text).unwrap();
    let record = release.join(".wheelbarrow/release.json");
    let text = fs::read(&record).unwrap();
    fs::remove_file(&record).unwrap();
    assert_eq!(place.deploy_artifact(&thin).code, LACKING);
    fs::write(&record, text).unwrap();
    assert_eq!(place.deploy_artifact(&thin).code, 0);
}

#[test]
fn a_thin_deploy_to_an_empty_host_changes_nothing() {
    let place = Place::new();
    let (one, two) = (place.artifact(&Version::good("1")), place.artifact(&Version::good("2")));
    let thin = place.thin_for_base(&two, &one);
    let words = deploy_words(&thin);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = place.run(&words);
    assert_eq!(said.code, LACKING, "{}", said.all());
    let said = place.run(&[&words[..], &["--dry-run", "--json"]].concat());
    assert_eq!(said.code, LACKING, "{}", said.all());
    let plan: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(plan["lacking"], serde_json::json!(["code/status"]));
    let said = place.run(&[&words[..], &["--dry-run"]].concat());
    assert!(said.out.contains("is not here  code/status"), "{}", said.all());
    assert!(!place.root().exists());
    let said = place.run(&["store", "inventory", "--json"]);
    assert_eq!(said.code, 5, "{}", said.all());
}

#[test]
fn commands_that_need_full_artifacts_refuse_thin_ones() {
    let place = Place::new();
    let (one, two) = (place.artifact(&Version::good("1")), place.artifact(&Version::good("2")));
    let thin = place.thin_for_base(&two, &one);
    let thin = thin.to_str().unwrap();
    for words in [
        &["install", thin, "-d", "dest", "--without-pip"][..],
        &["install", thin, "-d", "dest", "--without-pip", "--check"],
        &["install", thin, "-d", "dest", "--without-pip", "--store", "store"],
        &["audit", thin],
        &["thin", thin, "--base", thin, "-o", "other.zip"],
    ] {
        let said = place.run(words);
        assert_eq!(said.code, LACKING, "{words:?}: {}", said.all());
        assert!(!place.path().join("dest").exists() && !place.path().join("other.zip").exists());
    }
    let said = place.run(&["inspect", thin]);
    assert!(said.code == 0 && said.out.contains("left out     2 files, 3 B"), "{}", said.all());
    let told: Value = serde_json::from_str(&place.run(&["inspect", thin, "--json"]).out).unwrap();
    assert_eq!(
        told["left_out"],
        serde_json::json!(["bootstrap_wheels/pip-1-py3-none-any.whl", "code/status"])
    );
    let said = place.run(&["verify", thin]);
    assert!(said.code == 0 && said.out.contains("all as built, 2 left out"), "{}", said.all());
}

#[test]
fn the_same_arguments_give_the_same_bytes() {
    let place = Place::new();
    let (one, two) = (place.artifact(&Version::good("1")), place.artifact(&Version::good("2")));
    let first = fs::read(place.thin_for_base(&two, &one)).unwrap();
    let moved = place.path().join("moved/elsewhere.zip");
    fs::create_dir(moved.parent().unwrap()).unwrap();
    fs::rename(&two, &moved).unwrap();
    assert!(first == fs::read(place.thin_for_base(&moved, &one)).unwrap());
    // Nothing is left out for a host that has nothing, and then the artifact is as it was.
    let nothing = r#"{"format":1,"machine":null,"targets":[],"wheels":[],"programs":[],"files":[]}"#;
    fs::write(place.path().join("nothing.json"), nothing).unwrap();
    let whole = place.thin(&moved, &["--have", "nothing.json"]);
    assert!(fs::read(&whole).unwrap() == fs::read(&moved).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&whole), 0o755);
    let said = place.run(&["thin", moved.to_str().unwrap(), "--have", "nothing.json", "-o", "nothing.json"]);
    assert_eq!(said.code, 2, "{}", said.all());
}

/// A signature is over the manifest, so it holds for the thin artifact as well.
#[test]
fn the_manifest_and_its_signature_are_carried_along() {
    let place = Place::new();
    let (one, two) = (place.artifact(&Version::good("1")), place.artifact(&Version::good("2")));
    let signed = place.path().join("signed.zip");
    let file = fs::File::create(&signed).unwrap().into_parts().0;
    Artifact::open(&two).unwrap().write_signed(b"signed", file).unwrap();
    let thin = place.thin_for_base(&signed, &one);
    let of = |path: &Path, name: &str| {
        let archive = Archive::parse(fs::read(path).unwrap()).unwrap();
        archive.read(archive.find(name).unwrap(), 1 << 20).unwrap()
    };
    for name in [MANIFEST_PATH, SIGNATURE_PATH] {
        assert!(of(&two.with_file_name("signed.zip"), name) == of(&thin, name), "{name}");
    }
    assert_eq!(place.deploy_artifact(&one).code, 0);
    assert_eq!(place.deploy_artifact(&thin).code, 0);
}

/// Writes the thin artifact anew, each member as `change` wants it.
fn rewrite(from: &Path, to: &Path, change: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) {
    let archive = Archive::parse(fs::read(from).unwrap()).unwrap();
    let mut writer = ZipWriter::new(
        fs::File::create(to).unwrap().into_parts().0,
        "#!/usr/bin/env python3",
        DosTime::FIRST,
    )
    .unwrap();
    for entry in archive.entries() {
        let contents = archive.read(entry, 1 << 24).unwrap();
        if let Some(contents) = change(&entry.name, contents) {
            writer.add(&entry.name, MemberKind::File, &contents).unwrap();
        }
    }
    writer.finish().unwrap();
}

#[test]
fn altered_thin_artifacts_are_refused() {
    let place = Place::new();
    let (one, two) = (place.artifact(&Version::good("1")), place.artifact(&Version::good("2")));
    assert_eq!(place.deploy_artifact(&one).code, 0);
    let thin = place.thin_for_base(&two, &one);
    let before = tree(&place.root());
    let altered = place.path().join("altered.zip");
    let whole = fs::read(&thin).unwrap();
    let refuse = |what: &str| {
        let said = place.deploy_artifact(&altered);
        assert_eq!(said.code, 3, "{what}: {}", said.all());
        assert_eq!(tree(&place.root().join("releases")), tree(&place.root().join("releases")));
        assert_eq!(place.live(), Some(1), "{what}");
    };
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&altered, &whole[..length]).unwrap();
        refuse("cut off");
    }
    let text =
        |left_out: &[&str]| serde_json::json!({ "format": 1, "left_out": left_out }).to_string().into_bytes();
    for (what, thin_text) in [
        ("names what is there", text(&["code/app.py", "code/status"])),
        ("names nothing", text(&[])),
        ("names what is nowhere", text(&["code/status", "code/never"])),
        ("another format", br#"{"format":0,"left_out":["code/status"]}"#.to_vec()),
        ("another key", br#"{"format":1,"left_out":["code/status"],"more":1}"#.to_vec()),
        ("no JSON", b"{".to_vec()),
    ] {
        rewrite(&thin, &altered, |name, old| Some(if name == THIN_PATH { thin_text.clone() } else { old }));
        refuse(what);
    }
    let later = br#"{"format":2,"left_out":["code/status"]}"#.to_vec();
    rewrite(&thin, &altered, |name, old| Some(if name == THIN_PATH { later.clone() } else { old }));
    let said = place.deploy_artifact(&altered);
    assert!(said.code == 19 && said.err.contains("has format 2"), "{}", said.all());
    rewrite(&thin, &altered, |name, old| (name != THIN_PATH).then_some(old));
    refuse("without it");
    rewrite(&thin, &altered, |name, old| (name != "loadenv.py").then_some(old));
    refuse("lacks what is never left out");
    assert_eq!(tree(&place.root()), before, "nothing was written so far");
    rewrite(&thin, &altered, |name, mut old| {
        if name == "code/app.py" {
            old[0] ^= 1;
        }
        Some(old)
    });
    refuse("a changed member");
    let said = place.deploy_artifact(&altered);
    assert!(said.err.contains("[PLACE]/altered.zip was altered: code/app.py"), "{}", said.all());
    // What names a member that is never left out as left out is no way round.
    rewrite(&thin, &altered, |name, old| match name {
        "loadenv.py" => None,
        THIN_PATH => Some(text(&["code/status", "loadenv.py"])),
        _ => Some(old),
    });
    refuse("leaves out too much");
    assert!(Artifact::open_thin(&thin, &Anybody).is_ok());
}

/// What `--reuse` finds needs nothing of what the artifact leaves out.
#[test]
fn an_existing_release_is_reused() {
    let place = Place::new();
    let (one, two) = (place.artifact(&Version::good("1")), place.artifact(&Version::good("2")));
    assert_eq!(place.deploy_artifact(&one).code, 0);
    let thin = place.thin_for_base(&two, &one);
    assert_eq!(place.deploy_artifact(&thin).code, 0);
    for number in [1, 2] {
        fs::write(place.release(number).join("code/status"), "999").unwrap();
    }
    assert_eq!(place.deploy_artifact(&thin).code, LACKING);
    let mut words = deploy_words(&thin);
    words.extend(["--reuse", "--json"].map(str::to_owned));
    let said = place.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.code == 0 && said.out.contains("\"is_new\": false"), "{}", said.all());
    assert_eq!(place.live(), Some(2));
    let found = place.run(&["find", thin.to_str().unwrap()]);
    assert!(found.code == 0 && found.out.starts_with("2-"), "{}", found.all());
}

#[test]
fn hostile_inventories_are_refused() {
    let place = Place::new();
    let artifact = place.artifact(&Version::good("1"));
    let artifact = artifact.to_str().unwrap();
    let inventory = |change: &dyn Fn(&mut Value)| {
        let mut value = serde_json::json!({
            "format": 1, "machine": "x86_64", "targets": [], "wheels": [], "programs": [], "files": [],
        });
        change(&mut value);
        value.to_string()
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (text, word) in [
        (String::new(), "is not an inventory"),
        ("{".to_owned(), "is not an inventory"),
        ("[]".to_owned(), "is not an inventory"),
        (deep.clone(), "is not an inventory"),
        (inventory(&|value| value["format"] = 0.into()), "it has format 0"),
        (inventory(&|value| value["format"] = "1".into()), "is not an inventory"),
        (inventory(&|value| value["more"] = 1.into()), "unknown field"),
        (inventory(&|value| value["machine"] = 1.into()), "is not an inventory"),
        (inventory(&|value| value["files"] = serde_json::json!(["0a"])), "not a SHA-256"),
        (inventory(&|value| value["wheels"] = serde_json::json!([{"sha256": 1}])), "is not an inventory"),
        (inventory(&|value| value["targets"] = "all".into()), "is not an inventory"),
        (inventory(&|value| *value = serde_json::json!({"format": 1})), "missing field"),
    ] {
        fs::write(place.path().join("have.json"), &text).unwrap();
        let said = place.run(&["thin", artifact, "--have", "have.json", "-o", "thin.zip"]);
        assert_eq!(said.code, 3, "{}: {}", &text[..text.len().min(100)], said.all());
        assert!(
            said.err.contains(word) && said.err.contains("hint: `wheelbarrow store inventory"),
            "{}",
            said.all()
        );
    }
    fs::write(place.path().join("have.json"), inventory(&|value| value["format"] = 2.into())).unwrap();
    let said = place.run(&["thin", artifact, "--have", "have.json", "-o", "thin.zip"]);
    assert!(said.code == 19 && said.err.contains("have.json has format 2"), "{}", said.all());
    fs::File::create(place.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
    let said = place.run(&["thin", artifact, "--have", "huge", "-o", "thin.zip"]);
    assert!(said.code == 3 && said.err.contains("larger than any inventory"), "{}", said.all());
    let reasons = [("absent", "No such file"), (".", "is a directory"), ("/dev/zero", "not a regular file")];
    for (unusable, reason) in reasons {
        let said = place.run(&["thin", artifact, "--have", unusable, "-o", "thin.zip"]);
        assert!(said.code == 1 && said.err.contains(reason), "{}", said.all());
    }
    let said = place.run(&["thin", artifact, "-o", "thin.zip"]);
    assert_eq!(said.code, 2, "{}", said.all());
    assert!(!place.path().join("thin.zip").exists());
}
