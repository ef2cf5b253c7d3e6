//! Thin artifacts with wheels, run by themselves: wheels, bytecode and the native program come out of the store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use serde_json::Value;
use wheelbarrow_artifact::zip::Archive;

use crate::bytecode::pythons;
use crate::releases::thin::{copy, differences, tree};
use crate::site::{cache, is_built};
use crate::support::{Place, Said, wheelbarrow};
use crate::wheels::{Wheel, lock};

const LACKING: i32 = 18;

/// Two versions of a site: the second has other code, and a wheel more.
struct Stage {
    place: Place,
}

impl Stage {
    /// None where nothing can be built here.
    fn new() -> Option<Self> {
        Self::of(&[])
    }

    /// For these Pythons, or the one that is here.
    fn of(pythons: &[PathBuf]) -> Option<Self> {
        let place = Place::with_room(64 << 20).unwrap();
        for name in ["kept", "fresh"] {
            let mut wheel = Wheel::begin(&place.path(), name);
            for module in ["__init__", "one", "two"] {
                wheel.add(&format!("{name}/{module}.py"), format!("x = {name:?}\n").as_bytes());
            }
            wheel.finish();
        }
        place.write("project/library/__init__.py", "");
        place.write("project/wheelbarrow.toml", "[release]\ncheck = false\n");
        place.write("project/library/text.py", &"x = 1\n".repeat(100));
        place.write("project/run.sh", "#!/bin/sh\n");
        let script = place.path().join("project/run.sh");
        fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("library/text.py", place.path().join("project/link.py")).unwrap();
        place.write("assets/site.css", "body {}\n");
        for (version, names) in [("1", &["kept"][..]), ("2", &["kept", "fresh"])] {
            place.write("project/app.py", &format!("VERSION = {version:?}\n"));
            lock(&place.path().join("pylock.toml"), names);
            let artifact = format!("{version}.zip");
            let mut build = wheelbarrow(&place.path());
            build.args([
                "build",
                "project",
                "--lock",
                "pylock.toml",
                "--static",
                "assets",
                "--name",
                "site",
                "-o",
            ]);
            build.arg(artifact).arg("--cache-dir").arg(cache());
            pythons.iter().for_each(|python| _ = build.arg("--python").arg(python));
            if !is_built(&place.finish(&mut build)) {
                return None;
            }
        }
        Some(Self { place })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// `PYTHON ARTIFACT WORDS`
    fn start_with(&self, python: &Path, artifact: &str, words: &[&str]) -> Said {
        let mut command = Command::new(python);
        self.place.finish(command.arg(artifact).args(words).current_dir(self.place.path()))
    }

    /// `./ARTIFACT WORDS`
    fn start(&self, artifact: &str, words: &[&str]) -> Said {
        self.place.finish(Command::new(self.path(artifact)).args(words).current_dir(self.place.path()))
    }

    fn deploy(&self, artifact: &str) -> Said {
        self.start(artifact, &["deploy", "--root", "root"])
    }

    fn deployed(&self, artifact: &str) {
        let said = self.deploy(artifact);
        assert_eq!(said.code, 0, "{}", said.all());
    }

    /// Has `./1.zip` say what there is, and makes `thin.zip` of `2.zip` for that.
    fn thin(&self, of: &[&str]) -> Vec<String> {
        self.thin_for(&self.start("1.zip", &[&["store", "inventory", "--json"], of].concat()))
    }

    fn thin_by(&self, python: &Path, of: &[&str]) -> Vec<String> {
        self.thin_for(&self.start_with(python, "1.zip", &[&["store", "inventory", "--json"], of].concat()))
    }

    fn thin_for(&self, said: &Said) -> Vec<String> {
        assert_eq!(said.code, 0, "{}", said.all());
        self.place.write("have.json", &said.out);
        let said = self.place.run(&["thin", "2.zip", "--have", "have.json", "-o", "thin.zip", "--json"]);
        assert_eq!(said.code, 0, "{}", said.all());
        let sizes: Value = serde_json::from_str(&said.out).unwrap();
        let size = |name: &str| fs::metadata(self.path(name)).unwrap().len();
        assert_eq!(sizes["full"]["bytes"], size("2.zip"));
        assert_eq!(sizes["thin"]["bytes"], size("thin.zip"));
        self.members("thin.zip")
    }

    fn members(&self, artifact: &str) -> Vec<String> {
        let archive = Archive::parse(fs::read(self.path(artifact)).unwrap()).unwrap();
        archive.entries().iter().map(|entry| entry.name.clone()).collect()
    }

    fn only(&self, directory: &str) -> PathBuf {
        let mut entries = fs::read_dir(self.path(directory)).unwrap().map(|entry| entry.unwrap().path());
        let only = entries.next().unwrap();
        assert!(entries.next().is_none(), "{directory} has more than {}", only.display());
        only
    }

    /// A module of the wheel that both versions have, as the store has it.
    fn stored_module(&self) -> PathBuf {
        let mut find = Command::new("find");
        find.arg(self.path("root/store/wheels")).args(["-path", "*/files/*/kept/one.py"]);
        let found = self.place.finish(&mut find).out.replace("[PLACE]", &self.place.path().to_string_lossy());
        PathBuf::from(found.trim())
    }
}

fn replace(path: &Path, text: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_thin_artifact_deploys_itself_as_the_full_one_does() {
    let Some(stage) = Stage::new() else { return };
    stage.deployed("1.zip");
    let members = stage.thin(&["--root", "root"]);
    let carried = |part: &str| members.iter().filter(|path| path.contains(part)).count();
    assert_eq!((carried("kept-1"), carried("native"), carried("bootstrap_wheels")), (0, 0, 0), "{members:?}");
    assert_eq!(
        (carried("library/"), carried("static.in"), carried("link.py"), carried("run.sh")),
        (0, 0, 0, 0)
    );
    // The wheel and its bytecode; the code, and the bytecode of that.
    assert_eq!((carried("fresh-1"), carried("app.py"), carried("project.pack")), (2, 1, 1), "{members:?}");

    copy(&stage.path("root"), &stage.path("root.copy"));
    stage.deployed("2.zip");
    fs::rename(stage.path("root"), stage.path("of_full")).unwrap();
    fs::rename(stage.path("root.copy"), stage.path("root")).unwrap();
    stage.deployed("thin.zip");
    let releases = fs::read_dir(stage.path("of_full/releases")).unwrap();
    let mut ids: Vec<_> = releases.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    ids.sort();
    assert!(ids.len() == 2 && ids[1].starts_with("2-"), "{ids:?}");
    let release = format!("releases/{}", ids[1]);
    let (of_full, of_thin) = (stage.path("of_full").join(&release), stage.path("root").join(&release));
    assert_eq!(differences(&of_full, &of_thin), Vec::<PathBuf>::new());
    assert!(of_thin.join("site/library/text.py").exists() && of_thin.join("static.in/0/site.css").exists());
    assert_eq!(stage.place.run(&["verify", "--root", "root"]).code, 0);
    assert_eq!(stage.start("thin.zip", &["verify", "--root", "root"]).code, 0);
    assert_eq!(stage.place.run(&["store", "verify", "root/store"]).code, 0);

    // The first release goes, and what it was thinned for is in the others.
    stage.deployed("thin.zip");
    let said = stage.start("thin.zip", &["prune", "--root", "root", "--keep", "1"]);
    assert!(said.code == 0 && said.out.starts_with("1-"), "{}", said.all());
    stage.deployed("thin.zip");
}

#[test]
fn missing_store_entries_are_named() {
    let Some(stage) = Stage::new() else { return };
    stage.deployed("1.zip");
    stage.thin(&["--root", "root"]);
    copy(&stage.path("root"), &stage.path("before"));
    let reset = || {
        fs::remove_dir_all(stage.path("root")).unwrap();
        copy(&stage.path("before"), &stage.path("root"));
    };

    // A program that is another is not run, and is taken out of use.
    let program = stage.only("root/store/programs");
    replace(&program, b"#!/bin/sh\ntouch was-run\n");
    let said = stage.deploy("thin.zip");
    assert!(
        said.code == LACKING && said.err.contains("the store of root does not have it"),
        "{}",
        said.all()
    );
    assert!(!stage.path("was-run").exists());
    let said = stage.place.run(&["deploy", "thin.zip", "--root", "root"]);
    assert_eq!(said.code, 0, "an installed wheelbarrow needs none: {}", said.all());
    let said = stage.place.run(&["store", "verify", "root/store", "--json"]);
    assert!(said.code == 10 && said.out.contains("\"program\": \""), "{}", said.all());
    assert!(!program.exists());
    let said = stage.place.run(&["store", "verify", "root/store", "--repair-from", "1.zip"]);
    assert_eq!(said.code, 0, "{}", said.all());
    reset();
    replace(&program, b"");
    let said = stage.place.run(&["store", "verify", "root/store", "--repair-from", "1.zip"]);
    assert!(said.code == 0 && said.out.contains("unpacked again"), "{}", said.all());
    stage.deployed("thin.zip");

    // An entry that was altered: it looks whole until it is linked.
    reset();
    replace(&stage.stored_module(), b"altered\n");
    let releases = tree(&stage.path("root/releases"));
    let said = stage.deploy("thin.zip");
    assert_eq!(said.code, LACKING, "{}", said.all());
    assert!(said.err.contains("    wheels/kept-1-py3-none-any.whl\n"), "{}", said.all());
    assert_eq!(tree(&stage.path("root/releases")), releases);
    assert!(fs::read_link(stage.path("root/current")).unwrap().to_string_lossy().contains("/1-"));
    // It is known now, before anything is begun; and an inventory says it.
    let journal = fs::read(stage.path("root/.wheelbarrow/journal.jsonl")).unwrap();
    assert_eq!(stage.deploy("thin.zip").code, LACKING);
    assert_eq!(fs::read(stage.path("root/.wheelbarrow/journal.jsonl")).unwrap(), journal);
    assert!(stage.thin(&["--root", "root"]).contains(&"wheels/kept-1-py3-none-any.whl".to_owned()));
    stage.deployed("thin.zip");

    // One whose bytecode is gone needs both: the names in it are those of the wheel.
    reset();
    stage.thin(&["--root", "root"]);
    let entry = stage.stored_module().ancestors().nth(4).unwrap().to_path_buf();
    fs::remove_dir_all(entry.join("bytecode")).unwrap();
    fs::create_dir(entry.join("bytecode")).unwrap();
    let said = stage.deploy("thin.zip");
    assert!(said.code == LACKING && said.err.contains("leaves out 2 files"), "{}", said.all());
    stage.thin(&["--root", "root"]);
    stage.deployed("thin.zip");

    // Files that nothing knows of are no programs, and gc leaves those that releases name.
    let said = stage.place.run(&["store", "gc", "root/store", "--keep-for", "root/current", "--json"]);
    assert!(said.code == 0 && program.exists(), "{}", said.all());
    fs::write(program.with_file_name("0".repeat(64)), "x").unwrap();
    let said = stage.place.run(&["store", "gc", "root/store", "--keep-for", "root/current", "--json"]);
    assert!(said.out.contains("\"program\": true") && program.exists(), "{}", said.all());
}

/// Without a root there are no releases to take code from, so it must all be there.
#[test]
fn a_store_alone_is_enough_where_no_code_is_left_out() {
    let Some(stage) = Stage::new() else { return };
    let install = |artifact: &str, destination: &str, more: &[&str]| {
        stage.start(artifact, &[&["-d", destination, "--store", "store"], more].concat())
    };
    assert_eq!(install("1.zip", "one", &[]).code, 0);
    copy(&stage.path("store"), &stage.path("store.before"));
    let members = stage.thin(&["store"]);
    assert!(
        !members.iter().any(|path| path.contains("kept-1"))
            && members.iter().any(|path| path.contains("library/"))
    );
    assert_eq!(install("thin.zip", "dest", &["--check"]).code, 0);
    assert_eq!(install("thin.zip", "dest", &[]).code, 0);
    fs::rename(stage.path("dest"), stage.path("of_thin")).unwrap();
    fs::remove_dir_all(stage.path("store")).unwrap();
    fs::rename(stage.path("store.before"), stage.path("store")).unwrap();
    assert_eq!(install("2.zip", "dest", &[]).code, 0);
    assert_eq!(differences(&stage.path("of_thin"), &stage.path("dest")), Vec::<PathBuf>::new());

    for words in [
        &["-d", "other"][..],
        &["-d", "other", "--check"],
        &["-d", "other", "--store", "store", "--bootstrap"],
    ] {
        let said = stage.start("thin.zip", words);
        assert_eq!(said.code, LACKING, "{words:?}: {}", said.all());
    }
    let said = stage.place.run(&["install", "thin.zip", "-d", "other", "--store", "another"]);
    assert!(said.code == LACKING && said.err.contains("wheels/kept-1-py3-none-any.whl"), "{}", said.all());
    let said = stage.place.run(&["install", "thin.zip", "-d", "other", "--store", "store"]);
    assert_eq!(said.code, 0, "{}", said.all());
}

/// An artifact for several systems carries more for the others than for any one of them.
#[test]
fn files_for_other_pythons_are_left_out() {
    let pythons = pythons();
    let [.., one, other] = pythons.as_slice() else {
        println!("skipped: there is one Python only");
        return;
    };
    let Some(stage) = Stage::of(&[one.clone(), other.clone()]) else { return };
    let deploy =
        |python: &Path, artifact: &str| stage.start_with(python, artifact, &["deploy", "--root", "root"]);
    let said = deploy(one, "1.zip");
    assert_eq!(said.code, 0, "{}", said.all());
    let packs = |members: &[String]| {
        let packs = members.iter().filter(|path| path.contains("/bytecode/"));
        packs.map(|path| path.rsplit('/').nth(1).unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(packs(&stage.members("2.zip")).len(), 2);
    let carried = packs(&stage.thin_by(one, &["--root", "root"]));
    assert_eq!(carried.len(), 1, "{carried:?}");
    let said = deploy(one, "thin.zip");
    assert_eq!(said.code, 0, "{}", said.all());
    // The host has got another Python since.
    let said = deploy(other, "thin.zip");
    assert!(
        said.code == LACKING && said.err.contains("    wheels/kept-1-py3-none-any.whl\n"),
        "{}",
        said.all()
    );
    let said = deploy(other, "2.zip");
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(packs(&stage.thin_by(other, &["--root", "root"])), BTreeSet::new());
}
