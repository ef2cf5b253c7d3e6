//! Static files that were collected at build, in a store: by their content.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::manifest::{MemberKind, Sha256};
use wheelbarrow_base::progress::Silent;
use wheelbarrow_install::store::{self, Access, LinkMode, Removal, Store, StoreOptions};

use crate::mounts::Mounted;
use crate::site::{self, COLLECTED, Node};

const SAME: &str = "body { margin: 1px }\n";

/// A directory with artifacts, installs and a store.
struct Place {
    directory: tempfile::TempDir,
    store: PathBuf,
}

impl Place {
    /// Two versions, of which one file is the same, one has other contents, and one has another name.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { store: directory.path().join("store"), directory };
        place.write("1", &[("same.css", SAME), ("changed.js", "let a = 1\n"), ("old.txt", "moved\n")]);
        place.write("2", &[("same.css", SAME), ("changed.js", "let a = 2\n"), ("deep/new.txt", "moved\n")]);
        place
    }

    fn write(&self, version: &str, statics: &[(&str, &str)]) {
        let paths = statics.iter().map(|(name, text)| (format!("{COLLECTED}/{name}"), *text));
        let paths: Vec<_> = paths.collect();
        let mut code: Vec<_> =
            paths.iter().map(|(path, text)| (path.as_str(), MemberKind::File, *text)).collect();
        code.push(("code/app.py", MemberKind::File, SAME));
        let run = format!("{COLLECTED}/run.sh");
        code.push((&run, MemberKind::Executable, "#!/bin/sh\n"));
        site::write_site(&self.artifact(version), ("3.12", "cp312"), &code, &[]);
    }

    fn artifact(&self, version: &str) -> PathBuf {
        self.path(&format!("{version}.zip"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn install(&self, version: &str, name: &str) -> Vec<String> {
        let store = StoreOptions { path: self.store.clone(), link_mode: LinkMode::Hardlink };
        site::install_stored(&self.artifact(version), &self.path(name), &store)
    }

    fn open(&self, access: Access) -> Store {
        Store::open(&self.store, access).unwrap()
    }

    fn stored(&self, text: &str) -> PathBuf {
        self.store.join("static").join(Sha256::of(text.as_bytes()).to_string())
    }

    fn names(&self) -> Vec<String> {
        let names = fs_err::read_dir(self.store.join("static")).unwrap();
        let mut names: Vec<_> = names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn is_clean(&self, name: &str) -> bool {
        wheelbarrow_install::verify(&self.path(name), &Silent).unwrap().is_clean()
    }
}

fn hashes(texts: &[&str]) -> Vec<String> {
    let mut hashes: Vec<_> = texts.iter().map(|text| Sha256::of(text.as_bytes()).to_string()).collect();
    hashes.sort();
    hashes
}

fn file(install: &Path, name: &str) -> std::fs::Metadata {
    fs_err::symlink_metadata(install.join(COLLECTED).join(name)).unwrap()
}

#[test]
fn equal_static_files_of_two_installs_are_one_file() {
    let place = Place::new();
    assert_eq!(place.install("1", "one"), [""; 0]);
    let inode = fs_err::metadata(place.stored(SAME)).unwrap().ino();
    place.install("2", "two");
    let (one, two) = (place.path("one"), place.path("two"));
    assert_eq!(file(&one, "same.css").ino(), file(&two, "same.css").ino());
    assert_eq!(file(&one, "same.css").ino(), inode);
    assert_eq!(file(&one, "old.txt").ino(), file(&two, "deep/new.txt").ino(), "its name does not matter");
    assert_ne!(file(&one, "changed.js").ino(), file(&two, "changed.js").ino());
    assert_eq!(place.names(), hashes(&[SAME, "let a = 1\n", "let a = 2\n", "moved\n"]));
    assert_eq!(file(&one, "same.css").permissions().mode() & 0o7777, 0o444, "it is shared");
    // Neither code nor an executable file.
    assert_eq!(fs_err::metadata(one.join("code/app.py")).unwrap().nlink(), 1);
    assert_eq!((file(&one, "run.sh").nlink(), file(&one, "run.sh").mode() & 0o111), (1, 0o111));
    assert!(place.is_clean("one") && place.is_clean("two"));

    // The same tree as without a store, in which nothing is linked.
    site::install_artifact(&place.artifact("1"), &place.path("plain"), wheelbarrow_install::Pip::Without)
        .unwrap();
    assert_eq!(file(&place.path("plain"), "same.css").nlink(), 1);
    let comparable = |name: &str| {
        let mut tree = site::tree(&place.path(name));
        tree.remove(".wheelbarrow/receipt.json").unwrap();
        tree.values_mut().for_each(|node| {
            if let Node::File { mode, .. } = node {
                *mode &= 0o111;
            }
        });
        tree
    };
    assert!(comparable("one") == comparable("plain"));
}

#[test]
fn the_collector_removes_static_files_of_no_install() {
    let place = Place::new();
    place.install("1", "one");
    place.install("2", "two");
    let collect = |keep: &[&str], removal| {
        let keep: Vec<_> = keep.iter().map(|name| place.path(name)).collect();
        store::collect(&place.open(Access::Exclusive), &keep, removal).unwrap()
    };
    assert_eq!(collect(&["one", "two"], Removal::Now).removed, []);
    let would = collect(&["two"], Removal::DryRun);
    assert!(would.removed.len() == 1 && would.removed[0].static_file && place.names().len() == 4);
    assert_eq!(would.bytes, 0, "an install has a link to it");
    assert_eq!(collect(&["two"], Removal::Now).removed, would.removed);
    assert_eq!(place.names(), hashes(&[SAME, "let a = 2\n", "moved\n"]));
    assert!(place.is_clean("one"), "its link is its own");
    fs_err::remove_dir_all(place.path("one")).unwrap();
    // What an install with an unreadable manifest needs is not known.
    fs_err::remove_file(place.path("two/.wheelbarrow/manifest.json")).unwrap();
    place.install("1", "three");
    assert_eq!(collect(&["two"], Removal::Now).removed, []);
    assert_eq!(collect(&[], Removal::Now).removed.len(), 4);
    assert_eq!(place.names(), [""; 0]);
}

/// Writes other bytes of the same number, and puts the time back.
fn alter(path: &Path) {
    let time = fs_err::metadata(path).unwrap().modified().unwrap();
    let text = fs_err::read_to_string(path).unwrap().replace('1', "9");
    fs_err::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
    fs_err::write(path, text).unwrap();
    fs_err::set_permissions(path, PermissionsExt::from_mode(0o444)).unwrap();
    fs_err::File::open(path).unwrap().file().set_modified(time).unwrap();
}

#[test]
fn an_altered_static_file_is_found_and_not_linked() {
    let place = Place::new();
    place.install("1", "one");
    alter(&place.path("one").join(COLLECTED).join("same.css"));
    assert!(!place.is_clean("one"));
    let notes = place.install("2", "two");
    assert!(notes.len() == 1 && notes[0].contains("is taken out of use: it was changed"), "{notes:?}");
    assert!(place.is_clean("two") && !place.is_clean("one"));

    alter(&place.stored(SAME));
    let mut verification = store::verify(&place.open(Access::Shared), &Silent).unwrap();
    let broken: Vec<_> = verification.broken.iter().map(|broken| broken.static_file).collect();
    assert_eq!(broken, [Some(Sha256::of(SAME.as_bytes()))]);
    assert!(!verification.is_clean() && !place.stored(SAME).exists());
    let artifact = Artifact::open(&place.artifact("1")).unwrap();
    store::repair(&place.open(Access::Shared), &mut verification, artifact, &Silent).unwrap();
    assert!(verification.is_clean() && verification.broken[0].repaired);
    let again = store::verify(&place.open(Access::Shared), &Silent).unwrap();
    assert!(again.broken.is_empty() && again.files == 4, "{again:?}");
}

#[test]
fn a_store_on_another_file_system_is_copied_from() {
    let Some(mounted) = Mounted::tmpfs("size=64m") else { return };
    let place = Place { store: mounted.point().join("store"), ..Place::new() };
    let notes = place.install("1", "one");
    assert!(notes.len() == 1 && notes[0].starts_with("files are copied from the store"), "{notes:?}");
    let copied = file(&place.path("one"), "same.css");
    assert!(copied.nlink() == 1 && copied.mode() & 0o200 != 0);
    assert!(place.is_clean("one") && place.names().len() == 3);
}
