//! Somebody writes to the artifact between the look at it and its use: what was judged is what is used, or nothing is.

use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::zip::Archive;
use wheelbarrow_base::Explain;
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_install::store::{LinkMode, StoreOptions};
use wheelbarrow_install::{Compile, Existing, InstallError, Options, Pip, install};

use crate::site::{self, Node, SITE_PACKAGES, wheel_members};
use crate::zips::{Member, zip};

const WHEEL: &str = "pack-1-py3-none-any.whl";
/// Large enough for pages of its own.
const CONTENTS: &[u8] = &[b'#'; 100_000];

/// Does something when a task begins.
struct When<F>(&'static str, F);

impl<F: Fn() + Send + Sync> Progress for When<F> {
    fn begin(&self, what: &str, _total: u64, _unit: Unit) {
        if what == self.0 {
            self.1();
        }
    }
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn note(&self, _message: &str) {}
}

struct Place {
    directory: tempfile::TempDir,
    /// Where the file of the wheel is in the artifact, and where the bytes of the file are.
    at: u64,
}

impl Place {
    fn new(mode: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let artifact = directory.path().join("site.zip");
        let stored = Member { method: 0, ..Member::new("pack.py", CONTENTS) };
        let wheel = zip(&wheel_members("pack", &[stored]));
        site::artifact(&artifact, &[(WHEEL, &wheel)]);
        fs_err::set_permissions(&artifact, PermissionsExt::from_mode(mode)).unwrap();
        let bytes = fs_err::read(&artifact).unwrap();
        let archive = Archive::parse(&bytes[..]).unwrap();
        let outer = archive.find(&format!("wheels/{WHEEL}")).unwrap().data.start;
        let inner = Archive::parse(&wheel[..]).unwrap().find("pack.py").unwrap().data.start;
        Self { directory, at: (outer + inner) as u64 }
    }

    fn artifact(&self) -> PathBuf {
        self.directory.path().join("site.zip")
    }

    fn destination(&self) -> PathBuf {
        self.directory.path().join("site")
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Installs, and does `change` to the artifact when `task` begins.
    fn install(&self, task: &'static str, store: bool, change: fn(&Path, u64)) -> Result<(), InstallError> {
        let artifact = Artifact::open(&self.artifact())?;
        let options = Options {
            destination: self.destination(),
            existing: Existing::Refuse,
            pip: Pip::Without,
            store: store.then(|| StoreOptions { path: self.store(), link_mode: LinkMode::Copy }),
            compile: Compile::Never,
        };
        let path = self.artifact();
        let progress = When(task, || change(&path, self.at));
        install(artifact, &site::interpreter(&self.destination()), &options, &progress).map(drop)
    }

    /// What was installed is what was built.
    fn assert_good(&self) {
        let tree = site::tree(&self.destination());
        let module = &tree[&format!("venv/{SITE_PACKAGES}/pack.py")];
        assert!(matches!(module, Node::File { contents, .. } if contents == CONTENTS));
    }
}

fn overwrite(path: &Path, at: u64) {
    let file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
    file.file().write_all_at(b"import os; os.system('evil')", at).unwrap();
}

fn cut_off(path: &Path, _: u64) {
    fs_err::OpenOptions::new().write(true).open(path).unwrap().set_len(9).unwrap();
}

/// As `cp` does it: the same file gets other contents.
fn copy_over(path: &Path, _: u64) {
    let mut file = fs_err::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    file.write_all(&[b'#'; 1000]).unwrap();
}

#[test]
fn an_artifact_writable_by_others_is_copied_first() {
    for change in [overwrite, cut_off, copy_over] {
        for (task, store) in [("checking", true), ("filling the store", true), ("installing", false)] {
            let place = Place::new(0o666);
            place.install(task, store, change).unwrap();
            place.assert_good();
        }
    }
}

#[test]
fn a_changed_artifact_does_not_reach_the_store() {
    for change in [overwrite, cut_off, copy_over] {
        for task in ["checking", "filling the store"] {
            let place = Place::new(0o644);
            let error = place.install(task, true, change).unwrap_err();
            assert_eq!(error.exit_code(), 3, "{task}: {}", site::told(&error));
            assert!(!place.destination().exists(), "{task}");
            let left = fs_err::read_dir(place.store().join("wheels"));
            assert_eq!(left.map_or(0, Iterator::count), 0, "{task}: the store has something of it");
        }
    }
}

#[test]
fn an_artifact_that_is_cut_off_ends_an_install_and_not_the_process() {
    for (task, change) in
        [("checking", cut_off as fn(&Path, u64)), ("installing", cut_off), ("installing", copy_over)]
    {
        let place = Place::new(0o644);
        assert!(place.install(task, false, change).is_err(), "{task}");
        assert!(!place.destination().exists());
    }
}
