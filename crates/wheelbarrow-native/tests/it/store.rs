//! Installs out of a store: the same tree as without one, whatever happens to the store.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::bytecode;
use wheelbarrow_base::progress::Silent;
use wheelbarrow_install::store::{
    self, Access, BrokenEntry, LinkMode, Removal, Store, StoreOptions, StoreVerification,
};
use wheelbarrow_install::{InstallError, Pip};

use crate::mounts::Mounted;
use crate::site::{self, Node, SITE_PACKAGES, told};
use crate::strace::Runner;
use crate::zips::{Member, zip};

/// A directory with an artifact, and room for stores and installs.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        write_artifact(&place.artifact());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn artifact(&self) -> PathBuf {
        self.path("site.zip")
    }

    fn store(&self) -> StoreOptions {
        StoreOptions { path: self.path("store"), link_mode: LinkMode::Hardlink }
    }

    fn install(&self, name: &str) -> Vec<String> {
        site::install_stored(&self.artifact(), &self.path(name), &self.store())
    }

    fn open(&self) -> Store {
        Store::open(&self.path("store"), Access::Shared).unwrap()
    }

    fn verify(&self) -> StoreVerification {
        store::verify(&self.open(), &Silent).unwrap()
    }

    /// The one file in the store whose path ends so.
    fn stored(&self, end: &str) -> PathBuf {
        let found = site::tree(&self.path("store")).into_keys().filter(|path| path.ends_with(end));
        let found: Vec<_> = found.collect();
        assert_eq!(found.len(), 1, "{found:?}");
        self.path("store").join(&found[0])
    }
}

fn shared_module() -> Member {
    Member::new("space/__init__.py", "# of both\n")
}

/// A wheel with a file of every kind, and its bytecode.
fn one() -> (Vec<u8>, Vec<u8>) {
    let files = [
        shared_module(),
        Member::new("space/one.py", "x = 1\n"),
        Member::new("one/__init__.py", ""),
        Member::new("one/deep/er/module.py", "x = 2\n"),
        Member::new("one/odd, \"name\".txt", "odd\n"),
        Member::new("one-1.data/scripts/run", "#!python -u\nprint()\n"),
        Member::new("one-1.data/scripts/shell", "#!/bin/sh\n"),
        Member::new("one-1.data/data/share/one/data.txt", "data\n"),
        Member::new("one-1.data/data/lib64/more.txt", "more\n"),
        Member::new("one-1.data/headers/one.h", "int x;\n"),
        Member::new("one-1.data/purelib/pure.py", "x = 3\n"),
        Member::new("one-1.dist-info/entry_points.txt", "[console_scripts]\none = one:main\n"),
    ];
    let compiled =
        ["one/__init__.py", "one/deep/er/module.py", "one-1.data/purelib/pure.py", "space/__init__.py"];
    (zip(&site::wheel_members("one", &files)), pack(&compiled))
}

fn two() -> (Vec<u8>, Vec<u8>) {
    let files = [shared_module(), Member::new("space/two.py", "x = 2\n"), Member::new("two.py", "x = 2\n")];
    (zip(&site::wheel_members("two", &files)), pack(&["space/__init__.py", "space/two.py", "two.py"]))
}

pub(crate) fn pack(modules: &[&str]) -> Vec<u8> {
    let magic = site::interpreter(Path::new("/")).magic;
    let modules: Vec<_> =
        modules.iter().map(|module| ((*module).to_owned(), module.as_bytes().to_vec())).collect();
    bytecode::pack(&magic, &modules).unwrap()
}

fn write_artifact(path: &Path) {
    let ((one, one_pack), (two, two_pack)) = (one(), two());
    let names = ["one-1-py3-none-any.whl", "two-1-py3-none-any.whl"];
    let code = [("code/manage.py", wheelbarrow_artifact::manifest::MemberKind::File, "print()\n")];
    let wheels = [(names[0], &one[..]), (names[1], &two[..])];
    let packs = [(names[0], &one_pack[..]), (names[1], &two_pack[..])];
    site::write_site_with_bytecode(path, ("3.12", "cp312"), &code, &wheels, &packs);
}

/// The tree of an install, but modes of files that may be read-only, the time in bytecode, and the receipt.
fn comparable(destination: &Path) -> BTreeMap<String, Node> {
    let mut tree = site::tree(destination);
    tree.remove(".wheelbarrow/receipt.json").unwrap();
    for (path, node) in &mut tree {
        let Node::File { mode, contents } = node else { continue };
        *mode &= 0o111;
        if path.ends_with(".pyc") {
            let source =
                destination.join(path.replace("__pycache__/", "").replace(".cpython-312.pyc", ".py"));
            let time = u32::try_from(fs_err::metadata(source).unwrap().mtime()).unwrap();
            assert_eq!(contents[8..12], time.to_le_bytes(), "{path}");
            contents[8..12].fill(0);
        }
    }
    tree
}

#[test]
fn the_manifest_decides_colliding_paths() {
    let place = Place::new();
    crate::both_ways::write_colliding(&place.artifact());
    let dest = place.path("dest");
    // Scripts name it, so that all have the same.
    let take = || {
        let tree = comparable(&dest);
        fs_err::remove_dir_all(&dest).unwrap();
        tree
    };
    site::install_artifact(&place.artifact(), &dest, Pip::Without).unwrap();
    let plain = take();
    crate::both_ways::check_winners(&plain);
    for _ in 0..2 {
        place.install("dest");
        let stored = take();
        let different: Vec<_> =
            stored.keys().chain(plain.keys()).filter(|path| stored.get(*path) != plain.get(*path)).collect();
        assert!(different.is_empty(), "{different:?}");
    }
}

fn edit(path: &Path, contents: &str) {
    let metadata = fs_err::metadata(path).unwrap();
    fs_err::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
    fs_err::write(path, contents).unwrap();
    fs_err::set_permissions(path, metadata.permissions()).unwrap();
}

#[test]
fn the_same_tree_as_without() {
    let place = Place::new();
    let destination = place.path("site");
    site::install_artifact(&place.artifact(), &destination, Pip::Without).unwrap();
    let plain = comparable(&destination);
    for state in ["cold", "warm"] {
        fs_err::remove_dir_all(&destination).unwrap();
        assert!(place.install("site").is_empty());
        let linked = comparable(&destination);
        let paths: std::collections::BTreeSet<_> = plain.keys().chain(linked.keys()).collect();
        for path in paths {
            assert!(plain.get(path) == linked.get(path), "{state}: {path}");
        }
        let module =
            fs_err::metadata(destination.join(format!("venv/{SITE_PACKAGES}/one/deep/er/module.py")));
        let module = module.unwrap();
        assert_eq!((module.nlink(), module.mode() & 0o777), (2, 0o444), "{state}");
        assert!(wheelbarrow_install::verify(&destination, &Silent).unwrap().is_clean(), "{state}");
    }
    assert!(place.verify().is_clean());
    let receipt = fs_err::read(destination.join(".wheelbarrow/receipt.json")).unwrap();
    let receipt: serde_json::Value = serde_json::from_slice(&receipt).unwrap();
    let counts = ["wheels", "bytecode"].map(|key| receipt["store"][key].as_array().unwrap().len());
    assert_eq!((counts, receipt["store"]["link_mode"].as_str()), ([2, 2], Some("hardlink")));
}

#[test]
fn stored_wheels_are_not_read_from_the_artifact() {
    let place = Place::new();
    place.install("first");
    let mut bytes = fs_err::read(place.artifact()).unwrap();
    let (wheel, _) = one();
    let at = bytes.windows(wheel.len()).position(|window| window == wheel).unwrap();
    bytes[at + 40] ^= 1;
    fs_err::write(place.artifact(), bytes).unwrap();
    assert!(place.install("second").is_empty());
    assert_eq!(comparable(&place.path("second")).len(), comparable(&place.path("first")).len());
    let error = site::install_artifact(&place.artifact(), &place.path("third"), Pip::Without).unwrap_err();
    assert!(told(&error).contains("one-1-py3-none-any.whl has SHA-256"), "{}", told(&error));
    // Nor does it come into a store.
    fs_err::remove_dir_all(place.path("store")).unwrap();
    let runner = Runner::native(&place.artifact(), &place.path("third"), Some(&place.path("store")));
    let output = runner.plain();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(place.verify().entries, 0);
}

/// How the path of a file ends, and what is done to it.
type Alteration<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn altered_store_entries_are_unpacked_again() {
    let place = Place::new();
    let destination = place.path("site");
    place.install("site");
    let whole = comparable(&destination);
    let alterations: [Alteration<'_>; 5] = [
        ("er/module.py", &|path| edit(path, "other")),
        ("deep/er/__pycache__/module.cpython-312.pyc", &|path| fs_err::remove_file(path).unwrap()),
        ("scripts/run", &|path| edit(path, "#!python -u\nevil()\n")),
        ("two.py", &|path| {
            fs_err::remove_file(path).unwrap();
            fs_err::os::unix::fs::symlink("/etc/passwd", path).unwrap();
        }),
        ("data/share/one/data.txt", &|path| {
            fs_err::remove_dir_all(path.parent().unwrap()).unwrap();
        }),
    ];
    for (end, alter) in alterations {
        let path = match end {
            "two.py" => place.stored("site-packages/two.py"),
            end => place.stored(end),
        };
        alter(&path);
        fs_err::remove_dir_all(&destination).unwrap();
        let notes = place.install("site");
        assert!(notes.len() == 1 && notes[0].contains("is taken out of use"), "{end}: {notes:?}");
        assert!(comparable(&destination) == whole, "{end}");
        assert!(place.verify().broken.is_empty(), "{end}");
    }
}

#[test]
fn verify_removes_broken_store_entries() {
    let place = Place::new();
    place.install("site");
    let module = place.stored("er/module.py");
    let time = fs_err::metadata(&module).unwrap().modified().unwrap();
    edit(&module, "x = 9\n");
    let file = std::fs::File::options().read(true).open(&module).unwrap();
    file.set_modified(time).unwrap();
    let second = place.stored("site-packages/two.py");
    fs_err::write(second.with_file_name("extra.py"), "").unwrap();
    fs_err::remove_file(second).unwrap();

    let mut verification = place.verify();
    assert_eq!(verification.entries, 4);
    assert!(!verification.is_clean());
    let mut found: Vec<_> = verification
        .broken
        .iter()
        .map(|BrokenEntry { wheel, changed, missing, extra, .. }| {
            (wheel.as_deref().unwrap(), changed.join(" "), missing.join(" "), extra.join(" "))
        })
        .collect();
    found.sort();
    let text = |text: &str| text.to_owned();
    let expected = [
        ("one-1-py3-none-any.whl", text("files/site-packages/one/deep/er/module.py"), text(""), text("")),
        (
            "two-1-py3-none-any.whl",
            text(""),
            text("files/site-packages/two.py"),
            text("files/site-packages/extra.py"),
        ),
    ];
    assert_eq!(found, expected);
    assert_eq!(place.verify().entries, 0, "both are out of use");

    store::repair(&place.open(), &mut verification, Artifact::open(&place.artifact()).unwrap(), &Silent)
        .unwrap();
    assert!(verification.is_clean());
    let again = place.verify();
    assert_eq!((again.entries, again.broken.len()), (4, 0));
}

#[test]
fn the_collector_keeps_what_installs_refer_to() {
    let place = Place::new();
    let ((wheel, _), alone) = (one(), place.path("alone.zip"));
    site::artifact(&alone, &[("one-1-py3-none-any.whl", &wheel)]);
    place.install("both");
    site::install_stored(&alone, &place.path("alone"), &place.store());
    let removed = |keep: &[&str], removal| {
        let keep: Vec<_> = keep.iter().map(|name| place.path(name)).collect();
        let store = Store::open(&place.path("store"), Access::Exclusive).unwrap();
        let collection = store::collect(&store, &keep, removal).unwrap();
        (collection.removed.len(), collection.kept)
    };
    assert_eq!(removed(&["both", "alone"], Removal::Now), (0, 4));
    assert_eq!(removed(&["alone"], Removal::DryRun), (2, 1));
    assert_eq!(store::inventory(&place.open()).unwrap().wheels.len(), 2);
    assert_eq!(removed(&["alone"], Removal::Now), (2, 1));
    let left = store::inventory(&place.open()).unwrap().wheels;
    assert_eq!(
        left.iter().map(|stored| stored.wheel.as_str()).collect::<Vec<_>>(),
        ["one-1-py3-none-any.whl"]
    );
    assert!(left[0].bytecode.is_empty());
    // Links are files of their own.
    assert!(wheelbarrow_install::verify(&place.path("both"), &Silent).unwrap().is_clean());
    assert!(place.install("again").is_empty());
    assert_eq!(comparable(&place.path("again")).len(), comparable(&place.path("both")).len());
}

#[test]
fn the_collector_waits_for_installs() {
    let place = Place::new();
    place.install("site");
    let installing = place.open();
    let path = place.path("store");
    let collector = std::thread::spawn(move || Store::open(&path, Access::Exclusive).map(|_| ()));
    std::thread::sleep(Duration::from_millis(200));
    assert!(!collector.is_finished());
    drop(installing);
    collector.join().unwrap().unwrap();
}

#[test]
fn bytecode_is_added_to_a_stored_wheel() {
    let place = Place::new();
    let (wheel, _) = one();
    site::artifact(&place.path("alone.zip"), &[("one-1-py3-none-any.whl", &wheel)]);
    site::install_stored(&place.path("alone.zip"), &place.path("alone"), &place.store());
    // The bytecode must name the time of the sources that are there, not that of now.
    let module = place.stored("er/module.py");
    assert!(fs_err::metadata(&module).unwrap().modified().unwrap() <= SystemTime::now());
    std::thread::sleep(Duration::from_millis(1100));
    place.install("both");
    comparable(&place.path("both"));
    assert_eq!(place.verify().entries, 4);
}

#[test]
fn many_at_once_into_one_store() {
    let place = Place::new();
    let (other, (wheel, pack)) = (place.path("other.zip"), two());
    let (name, code) = ("two-1-py3-none-any.whl", []);
    site::write_site_with_bytecode(&other, ("3.12", "cp312"), &code, &[(name, &wheel)], &[(name, &pack)]);
    let artifacts = [place.artifact(), other];
    for round in 0..4 {
        let store = place.path(&format!("store{round}"));
        let install = |number: usize| {
            let destination = place.path(&format!("{round}-{number}"));
            let output = Runner::native(&artifacts[number % 2], &destination, Some(&store)).plain();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
            let verification = wheelbarrow_install::verify(&destination, &Silent).unwrap();
            assert!(verification.is_clean(), "{verification:?}");
            comparable(&destination).len()
        };
        let counts: Vec<usize> = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..20).map(|number| scope.spawn(move || install(number))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert!(counts.chunks(2).all(|pair| pair == &counts[..2]), "{counts:?}");
        let verification = store::verify(&Store::open(&store, Access::Shared).unwrap(), &Silent).unwrap();
        assert_eq!((verification.entries, verification.broken.len()), (4, 0));
        assert_eq!(fs_err::read_dir(store.join("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn files_are_copied_across_file_systems_with_one_note() {
    let place = Place::new();
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return println!("skipped: no /dev/shm") };
    let device = |path: &Path| fs_err::metadata(path).unwrap().dev();
    if device(memory.path()) == device(place.directory.path()) {
        return println!("skipped: /dev/shm and the temporary directory are one file system");
    }
    for link_mode in [LinkMode::Hardlink, LinkMode::Reflink] {
        let store = StoreOptions { path: memory.path().join(format!("{link_mode:?}")), link_mode };
        let destination = place.path(&format!("{link_mode:?}"));
        let notes = site::install_stored(&place.artifact(), &destination, &store);
        assert!(notes.len() == 1 && notes[0].contains("files are copied from the store"), "{notes:?}");
        comparable(&destination);
        let module = destination.join(format!("venv/{SITE_PACKAGES}/one/deep/er/module.py"));
        let metadata = fs_err::metadata(module).unwrap();
        assert_eq!((metadata.nlink(), metadata.mode() & 0o200), (1, 0o200));
        assert!(wheelbarrow_install::verify(&destination, &Silent).unwrap().is_clean());
    }
}

#[test]
fn a_directory_that_is_not_a_store_is_refused() {
    let place = Place::new();
    fs_err::create_dir(place.path("store")).unwrap();
    fs_err::write(place.path("store/file"), "").unwrap();
    let said = |expected: i32| {
        let store = place.path("store");
        let output = Runner::native(&place.artifact(), &place.path("site"), Some(&store)).plain();
        assert_eq!(output.status.code(), Some(expected));
        assert!(!place.path("site").exists());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(5).contains("holds something that is not a store"));
    assert_eq!(fs_err::read_dir(place.path("store")).unwrap().count(), 1);
    fs_err::write(place.path("store/store.json"), r#"{"format": 2}"#).unwrap();
    assert!(said(19).contains("has format 2: a wheelbarrow later than"));
    let nothing = Store::open(&place.path("nothing"), Access::Shared).err().unwrap();
    assert!(matches!(nothing, InstallError::NoStore { .. }));
}

/// On both file systems that can, an install takes next to no space.
#[test]
fn clones_share_their_blocks() {
    for mkfs in [&["mkfs.xfs", "-q"][..], &["mkfs.btrfs", "-q"]] {
        if let Some(mounted) = Mounted::on_loop(320, mkfs) {
            clone_on(&mounted);
        }
    }
}

fn clone_on(mounted: &Mounted) {
    let size = 20 << 20;
    let mut big = Member::new("big/data.bin", vec![0; size]);
    big.contents.iter_mut().enumerate().for_each(|(place, byte)| *byte = (place >> 12) as u8);
    let wheel = zip(&site::wheel_members("big", &[big]));
    let artifact = mounted.point().join("site.zip");
    site::artifact(&artifact, &[("big-1-py3-none-any.whl", &wheel)]);
    let store = StoreOptions { path: mounted.point().join("store"), link_mode: LinkMode::Reflink };
    assert!(site::install_stored(&artifact, &mounted.point().join("first"), &store).is_empty());
    sync(&mounted.point());
    let before = mounted.free();
    assert!(site::install_stored(&artifact, &mounted.point().join("second"), &store).is_empty());
    sync(&mounted.point());
    let taken = before.saturating_sub(mounted.free());
    assert!(taken < size as u64 / 2, "{taken} bytes for a clone of {size}");
    let copy = mounted.point().join(format!("second/venv/{SITE_PACKAGES}/big/data.bin"));
    edit(&copy, "other");
    assert_eq!(fs_err::metadata(&copy).unwrap().nlink(), 1);
    let store = Store::open(&store.path, Access::Shared).unwrap();
    assert!(store::verify(&store, &Silent).unwrap().broken.is_empty());
}

/// What was written takes its space.
fn sync(point: &Path) {
    rustix::fs::syncfs(fs_err::File::open(point).unwrap().file()).unwrap();
}

/// Of ext4, where a file has 65,000 at most.
#[test]
fn a_file_that_has_all_links_it_can_have_is_copied() {
    const MOST: u64 = 65_000;
    let Some(mounted) = Mounted::on_loop(64, &["mkfs.ext4", "-q"]) else { return };
    let place = Place::new();
    let store = StoreOptions { path: mounted.point().join("store"), link_mode: LinkMode::Hardlink };
    let install = |name: &str| site::install_stored(&place.artifact(), &mounted.point().join(name), &store);
    assert!(install("first").is_empty());
    let module = format!("venv/{SITE_PACKAGES}/one/deep/er/module.py");
    let links = mounted.point().join("links");
    fs_err::create_dir(&links).unwrap();
    for number in 2..MOST {
        fs_err::hard_link(mounted.point().join("first").join(&module), links.join(number.to_string()))
            .unwrap();
    }
    let notes = install("second");
    assert!(notes.len() == 1 && notes[0].contains("Too many links"), "{notes:?}");
    let linked = |name: &str, path: &str| {
        let metadata = fs_err::metadata(mounted.point().join(name).join(path)).unwrap();
        (metadata.nlink() > 1, metadata.mode() & 0o200 != 0)
    };
    assert_eq!(linked("second", &module), (false, true));
    assert_eq!(linked("second", &format!("venv/{SITE_PACKAGES}/one/__init__.py")), (true, false));
    let second = mounted.point().join("second");
    assert_eq!(comparable(&second).len(), comparable(&mounted.point().join("first")).len());
    assert!(wheelbarrow_install::verify(&second, &Silent).unwrap().is_clean());
}

#[test]
fn special_files_in_a_store_are_not_waited_for() {
    let place = Place::new();
    let store = place.path("pipes");
    fs_err::create_dir(&store).unwrap();
    let made = std::process::Command::new("mkfifo").arg(store.join("store.json")).status().unwrap();
    assert!(made.success());
    let (teller, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || teller.send(store::check_format(&store).map_err(|error| told(&error))));
    let answer = answer.recv_timeout(Duration::from_secs(20)).expect("it is not waited for");
    let error = answer.unwrap_err();
    assert!(error.contains("store.json") && error.contains("not a regular file"), "{error}");
}
