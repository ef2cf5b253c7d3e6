//! The bundled pip gets no bytecode, neither out of a pack nor compiled; a pip that the site names gets it as any wheel.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::MemberKind;
use wheelbarrow_base::progress::Silent;
use wheelbarrow_install::store::{self, Access, LinkMode, Store, StoreOptions};
use wheelbarrow_install::{Compile, Existing, KnownFiles, Options, Pip, data, install, verify};

use crate::compiling::{facts, install_with_bootstrap, place, pythons};
use crate::site::{self, Node, Parts, wheel_members};
use crate::store::pack;
use crate::zips::{Member, zip};

const WHEEL: &str = "pip-1-py3-none-any.whl";
const MODULES: [&str; 2] = ["pip/__init__.py", "pip/main.py"];

/// Whose pip it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    Artifact,
    Site,
}

struct Scene {
    place: tempfile::TempDir,
    facts: Interpreter,
    whose: Whose,
}

impl Scene {
    fn new(whose: Whose, facts: impl FnOnce(&Path) -> Interpreter) -> Self {
        let place = place();
        let scene = Self { facts: facts(&place.path().join("site")), place, whose };
        scene.write();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// With a pack for pip, which artifacts of earlier versions have.
    fn write(&self) {
        let wheel = zip(&wheel_members("pip", &MODULES.map(|path| Member::new(path, "x = 1\n"))));
        let python = self.facts.minor_version();
        let named = [(WHEEL, &wheel[..])];
        site::write(
            &self.path("site.zip"),
            &Parts {
                target: (&python, &self.facts.abi),
                code: &[("loadenv.py", MemberKind::File, "x = 1\n")],
                pip: &wheel,
                wheels: if self.whose == Whose::Site { &named } else { &[] },
                packs: &[(WHEEL, &pack(&MODULES)[..])],
                ..Parts::default()
            },
        );
    }

    fn install(&self, store: Option<&str>) -> BTreeSet<String> {
        let options = Options {
            destination: self.path("site"),
            existing: Existing::Refuse,
            pip: Pip::With,
            compile: Compile::Auto,
            store: store.map(|name| StoreOptions { path: self.path(name), link_mode: LinkMode::Hardlink }),
        };
        install(Artifact::open(&self.path("site.zip")).unwrap(), &self.facts, &options, &Silent).unwrap();
        self.check()
    }

    fn install_with_bootstrap(&self) -> BTreeSet<String> {
        install_with_bootstrap(&self.path("site.zip"), &self.facts, &self.path("site"), Pip::With);
        self.check()
    }

    /// Takes the bytecode of pip that is there and in RECORD.
    fn check(&self) -> BTreeSet<String> {
        let tree = site::tree(&self.path("site"));
        let site_packages = format!("venv/{}/", self.facts.site_packages);
        let below = |path: &String| path.strip_prefix(&site_packages).map(str::to_owned);
        let is_bytecode = |path: &String| path.starts_with("pip/") && path.ends_with(".pyc");
        let found: BTreeSet<String> = tree.keys().filter_map(below).filter(is_bytecode).collect();
        let Node::File { contents, .. } = &tree[&format!("{site_packages}pip-1.dist-info/RECORD")] else {
            panic!("no RECORD")
        };
        let rows = String::from_utf8_lossy(contents);
        let rows: BTreeSet<String> =
            rows.lines().filter_map(|row| row.strip_suffix(",,")).map(str::to_owned).collect();
        let rows: BTreeSet<String> = rows.into_iter().filter(is_bytecode).collect();
        assert_eq!(rows, found);
        assert_eq!(
            found.len(),
            if self.whose == Whose::Site { MODULES.len() } else { 0 },
            "{:?}",
            self.whose
        );
        assert!(verify(&self.path("site"), &Silent).unwrap().is_clean());
        found
    }

    fn remove(&self) {
        fs_err::remove_dir_all(self.path("site")).unwrap();
    }

    fn packs_in_store(&self) -> usize {
        let store = Store::open(&self.path("store"), Access::Shared).unwrap();
        assert!(store::verify(&store, &Silent).unwrap().is_clean());
        store::inventory(&store).unwrap().wheels.iter().map(|stored| stored.bytecode.len()).sum()
    }
}

#[test]
fn out_of_a_pack() {
    for whose in [Whose::Artifact, Whose::Site] {
        let scene = Scene::new(whose, site::interpreter);
        for store in [None, Some("store"), Some("store")] {
            scene.install(store);
            scene.remove();
        }
        assert_eq!(scene.packs_in_store(), usize::from(whose == Whose::Site));
    }
}

/// One store for both: what it has of the wheel serves either.
#[test]
fn one_store_for_both() {
    for first in [Whose::Artifact, Whose::Site] {
        let mut scene = Scene::new(first, site::interpreter);
        for whose in [Whose::Artifact, Whose::Site, Whose::Artifact] {
            scene.whose = whose;
            scene.write();
            scene.install(Some("store"));
            scene.remove();
        }
        assert_eq!(scene.packs_in_store(), 1);
    }
}

#[test]
fn compiled_where_it_is_installed() {
    let pythons = pythons();
    for python in pythons.first().into_iter().chain(pythons.last()) {
        for whose in [Whose::Artifact, Whose::Site] {
            let scene = Scene::new(whose, |destination| facts(python, destination));
            let native = scene.install(None);
            scene.remove();
            assert_eq!(scene.install(Some("store")), native, "{python:?}");
            scene.remove();
            assert_eq!(scene.install_with_bootstrap(), native, "{python:?}");
        }
    }
}

/// What pip leaves when it is run is no change of the install, and nobody's data.
#[test]
fn bytecode_is_added_later() {
    let Some(python) = pythons().pop() else { return };
    let scene = Scene::new(Whose::Artifact, |destination| facts(&python, destination));
    scene.install(None);
    let import =
        Command::new(scene.path("site/venv/bin/python")).args(["-c", "import pip.main"]).env_clear().status();
    assert!(import.unwrap().success());
    let written =
        site::tree(&scene.path("site")).into_keys().filter(|path| path.contains("/pip/__pycache__/"));
    assert_eq!(written.count(), MODULES.len());
    assert!(verify(&scene.path("site"), &Silent).unwrap().is_clean());
    assert!(data(&scene.path("site"), &KnownFiles::default()).unwrap().is_empty());
}
