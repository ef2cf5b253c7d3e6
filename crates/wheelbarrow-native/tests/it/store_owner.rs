//! Root takes a store only where nobody else may write.

use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::{Anybody, Artifact};
use wheelbarrow_base::Explain;
use wheelbarrow_base::progress::Silent;
use wheelbarrow_install::store::{self, Access, LinkMode, Store, StoreOptions};
use wheelbarrow_install::{Compile, Existing, InstallError, Options, Pip, check, install};

use crate::site::{self, wheel_members};
use crate::zips::{Member, zip};

const SOMEBODY: u32 = 4321;

/// A directory `above` with a store in it, and an artifact.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// None if this is not root, who alone is tricked like that.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: other users take any store");
            return None;
        }
        let place = Self { directory: tempfile::tempdir().unwrap() };
        let members = wheel_members("one", &[Member::new("one/__init__.py", "")]);
        site::artifact(&place.path("site.zip"), &[("one-1-py3-none-any.whl", &zip(&members))]);
        fs_err::create_dir(place.path("above")).unwrap();
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn options(&self, store: &Path, destination: &str) -> Options {
        Options {
            destination: self.path(destination),
            existing: Existing::Refuse,
            pip: Pip::Without,
            store: Some(StoreOptions { path: store.to_path_buf(), link_mode: LinkMode::Hardlink }),
            compile: Compile::Never,
        }
    }

    fn install(&self, store: &Path, destination: &str) -> Result<(), InstallError> {
        let options = self.options(store, destination);
        let artifact = Artifact::open(&self.path("site.zip")).unwrap();
        install(artifact, &site::interpreter(&options.destination), &options, &Silent).map(drop)
    }

    /// The exit codes of what `--check` finds.
    fn check(&self, store: &Path) -> Vec<u8> {
        let options = self.options(store, "checked");
        let interpreter = site::interpreter(&options.destination);
        let checked = check(&self.path("site.zip"), &Anybody, &interpreter, &options, &Silent).unwrap();
        checked.findings.iter().map(|finding| finding.exit_code).filter(|code| *code != 0).collect()
    }

    /// Everything that takes a store refuses this one, and changes nothing.
    fn is_refused(&self, store: &Path) {
        let before = site::tree(self.directory.path());
        let answers = [
            Store::open(store, Access::Shared).map(drop),
            Store::open(store, Access::Exclusive).map(drop),
            store::check_format(store),
            self.install(store, "refused"),
        ];
        for answer in answers {
            let error = answer.unwrap_err();
            assert!(matches!(error, InstallError::UntrustedStore { .. }), "{error:?}");
            assert_eq!(error.exit_code(), 8);
            assert!(error.hint().unwrap().contains("chown"));
        }
        assert_eq!(self.check(store), [8]);
        assert_eq!(site::tree(self.directory.path()), before);
    }
}

#[test]
fn a_store_that_another_user_may_change_is_refused() {
    let Some(place) = Place::new() else { return };
    let (above, store) = (place.path("above"), place.path("above/store"));
    place.install(&store, "first").unwrap();
    for directory in ["programs", "static"] {
        fs_err::create_dir_all(store.join(directory)).unwrap();
    }
    let below = ["wheels", "tmp", "programs", "static"].map(|name| store.join(name));
    for directory in [&above, &store].into_iter().chain(&below) {
        chown(directory, Some(SOMEBODY), None).unwrap();
        place.is_refused(&store);
        chown(directory, Some(0), None).unwrap();
        let mode = fs_err::metadata(directory).unwrap().permissions();
        fs_err::set_permissions(directory, PermissionsExt::from_mode(0o777)).unwrap();
        place.is_refused(&store);
        fs_err::set_permissions(directory, mode).unwrap();
    }
    assert_eq!(place.check(&store), [] as [u8; 0]);
    place.install(&store, "second").unwrap();
    // A link of the user's, and one of root's.
    let link = place.path("link");
    symlink(&above, &link).unwrap();
    place.install(&link.join("store"), "third").unwrap();
    lchown(&link, Some(SOMEBODY), None).unwrap();
    place.is_refused(&link.join("store"));
}

#[test]
fn no_store_is_made_where_another_user_may_write() {
    let Some(place) = Place::new() else { return };
    let above = place.path("above");
    chown(&above, Some(SOMEBODY), None).unwrap();
    place.is_refused(&above.join("new"));
    // Where everybody may make one, somebody has.
    chown(&above, Some(0), None).unwrap();
    fs_err::set_permissions(&above, PermissionsExt::from_mode(0o1777)).unwrap();
    fs_err::create_dir(above.join("his")).unwrap();
    chown(above.join("his"), Some(SOMEBODY), None).unwrap();
    place.is_refused(&above.join("his"));
    place.install(&above.join("new"), "first").unwrap();
}
