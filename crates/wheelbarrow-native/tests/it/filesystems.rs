//! Installs on real file systems that fill up, or that cannot do what others can.

use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use wheelbarrow_base::progress::Silent;
use wheelbarrow_install::store::{self, Access, LinkMode, Removal, Store, StoreOptions};

use crate::mounts::Mounted;
use crate::site::{self, SITE_PACKAGES, wheel_members};
use crate::strace::{Asked, Runner, Way};
use crate::zips::{Member, zip};

const WAYS: [Way; 2] = [Way::Native, Way::Bootstrap];

/// An artifact with so many small modules, beside no destination.
fn artifact(place: &Path, modules: usize) -> PathBuf {
    let module = |number| Member::new(&format!("pack/module{number}.py"), format!("x = {number}\n"));
    let modules: Vec<Member> = (0..modules).map(module).collect();
    let wheel = zip(&wheel_members("pack", &modules));
    let path = place.join(format!("site{}.zip", modules.len()));
    site::artifact(&path, &[("pack-1-py3-none-any.whl", &wheel)]);
    path
}

fn ways() -> impl Iterator<Item = Way> {
    WAYS.into_iter().filter(|way| *way == Way::Native || site::has_python())
}

/// Files of some bytes each take a megabyte here, which the free blocks do not tell: the look beforehand finds enough
/// space, and then the disk is full. So it is where others write meanwhile.
fn disk_that_fills_up() -> Option<Mounted> {
    Mounted::on_loop(64, &["mkfs.ext4", "-q", "-O", "bigalloc", "-C", "1048576", "-N", "2000"])
}

#[test]
fn a_disk_that_fills_up_leaves_the_destination_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let (small, large) = (artifact(place.path(), 2), artifact(place.path(), 120));
    for way in ways() {
        let Some(mounted) = disk_that_fills_up() else { return };
        let destination = mounted.point().join("site");
        let runner = |artifact: &Path, asked| Runner { asked, ..Runner::of(way, artifact, &destination) };
        for asked in [Asked::Install, Asked::InstallCompiled] {
            let said = fails(&runner(&large, asked));
            assert!(said.contains(destination.to_str().unwrap()), "{said}");
            assert_eq!(mounted.names(), [""; 0], "{way:?} {asked:?}");
        }

        let output = runner(&small, Asked::Install).plain();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs_err::write(destination.join("environment.json"), "{}").unwrap();
        let before = site::tree(&destination);
        fails(&Runner { replace: true, ..runner(&large, Asked::Install) });
        assert_eq!(mounted.names(), ["site"]);
        assert!(site::tree(&destination) == before);
        let again = Runner { replace: true, ..runner(&small, Asked::Install) }.plain();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    }
}

#[test]
fn a_disk_that_fills_up_leaves_the_store_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let (small, large) = (artifact(place.path(), 2), artifact(place.path(), 120));
    let Some(mounted) = disk_that_fills_up() else { return };
    let (store, destination) = (mounted.point().join("store"), mounted.point().join("site"));
    assert!(Runner::native(&small, &destination, Some(&store)).plain().status.success());
    let before = site::tree(&store);
    let second = mounted.point().join("second");
    let said = fails(&Runner::native(&large, &second, Some(&store)));
    assert!(said.contains(store.to_str().unwrap()), "{said}");
    assert_eq!(mounted.names(), ["site", "store"]);
    assert!(site::tree(&store) == before);
    assert!(wheelbarrow_install::verify(&destination, &Silent).unwrap().is_clean());
    assert!(Runner::native(&small, &second, Some(&store)).plain().status.success());
}

/// What is said.
fn fails(runner: &Runner) -> String {
    let output = runner.plain();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    said
}

/// `--replace` in two steps, on a file system that has no other way.
#[test]
fn directories_that_cannot_be_exchanged_are_replaced_in_two_steps() {
    let place = tempfile::tempdir().unwrap();
    let artifact = artifact(place.path(), 2);
    for way in ways() {
        let Some(mounted) = Mounted::fuse(64) else { return };
        let [one, other] = ["one", "other"].map(|name| mounted.point().join(name));
        fs_err::create_dir(&one).unwrap();
        fs_err::create_dir(&other).unwrap();
        let exchanged = rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
        assert_eq!(exchanged, Err(rustix::io::Errno::INVAL), "it can exchange");
        fs_err::remove_dir(one).unwrap();
        fs_err::remove_dir(other).unwrap();

        let destination = mounted.point().join("site");
        for replace in [false, true] {
            let output = Runner { replace, ..Runner::of(way, &artifact, &destination) }.plain();
            assert!(output.status.success(), "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(mounted.names(), ["site"]);
            assert_eq!(destination.join("environment.json").exists(), replace);
            let module = destination.join(format!("venv/{SITE_PACKAGES}/pack/module1.py"));
            assert_eq!(fs_err::read_to_string(&module).unwrap(), "x = 1\n");
            assert!(wheelbarrow_install::verify(&destination, &Silent).unwrap().is_clean());
            fs_err::write(destination.join("environment.json"), "{}").unwrap();
            // An edited one would count as written by the site.
            fs_err::remove_file(module).unwrap();
        }
    }
}

/// As in a container image, where an earlier layer has the install.
#[test]
fn an_install_in_a_lower_layer_is_replaced() {
    let place = tempfile::tempdir().unwrap();
    let artifact = artifact(place.path(), 2);
    let lower = place.path().join("lower");
    fs_err::create_dir(&lower).unwrap();
    assert!(Runner::native(&artifact, &lower.join("site"), None).plain().status.success());
    fs_err::write(lower.join("site/environment.json"), "{}").unwrap();
    fs_err::write(lower.join("site/.wheelbarrow/old"), "").unwrap();
    for way in ways() {
        let Some(mounted) = Mounted::overlay(&lower, None) else { return };
        let destination = mounted.point().join("site");
        let moved = rustix::fs::rename(&destination, destination.with_extension("moved"));
        assert_eq!(moved, Err(rustix::io::Errno::XDEV), "it can be moved");
        let output = Runner { replace: true, ..Runner::of(way, &artifact, &destination) }.plain();
        assert!(output.status.success(), "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(mounted.names(), ["site"]);
        assert!(!destination.join(".wheelbarrow/old").exists());
        assert_eq!(fs_err::read_to_string(destination.join("environment.json")).unwrap(), "{}");
        assert!(wheelbarrow_install::verify(&destination, &Silent).unwrap().is_clean());
    }
}

#[test]
fn a_store_in_a_lower_layer_is_used_and_collected() {
    let place = tempfile::tempdir().unwrap();
    let artifact = artifact(place.path(), 2);
    let lower = place.path().join("lower");
    let stored = StoreOptions { path: lower.join("store"), link_mode: LinkMode::Hardlink };
    fs_err::create_dir(&lower).unwrap();
    site::install_stored(&artifact, &place.path().join("site"), &stored);
    let Some(mounted) = Mounted::overlay(&lower, None) else { return };
    let (path, site) = (mounted.point().join("store"), mounted.point().join("site"));
    let entry = || {
        let entries: Vec<_> = fs_err::read_dir(path.join("wheels")).unwrap().collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].as_ref().unwrap().path()
    };
    let moved = rustix::fs::rename(entry(), path.join("moved"));
    assert_eq!(moved, Err(rustix::io::Errno::XDEV), "it can be moved");
    // What is broken there is taken out of use, also where a run that died has begun with it.
    let module = "files/site-packages/pack/module1.py";
    for (number, broken) in [module, "index"].into_iter().enumerate() {
        let Some(mounted) = Mounted::overlay(&lower, None) else { return };
        let stored = StoreOptions { path: mounted.point().join("store"), link_mode: LinkMode::Hardlink };
        let entry = mounted.point().join("store/wheels").join(entry().file_name().unwrap());
        assert!(entry.join(broken).exists(), "{broken}");
        fs_err::remove_file(entry.join(broken)).unwrap();
        let site = mounted.point().join(format!("site{number}"));
        site::install_stored(&artifact, &site, &stored);
        assert!(wheelbarrow_install::verify(&site, &Silent).unwrap().is_clean());
        let store = Store::open(&stored.path, Access::Shared).unwrap();
        let verification = store::verify(&store, &Silent).unwrap();
        assert!(verification.is_clean() && verification.entries == 1, "{broken}");
    }
    let store = Store::open(&path, Access::Exclusive).unwrap();
    let collection = store::collect(&store, &[], Removal::Now).unwrap();
    assert_eq!((collection.removed.len(), collection.kept), (1, 0));
    assert_eq!(fs_err::read_dir(path.join("wheels")).unwrap().count(), 0);
    drop(store);
    let stored = StoreOptions { path, link_mode: LinkMode::Hardlink };
    site::install_stored(&artifact, &site, &stored);
    assert!(wheelbarrow_install::verify(&site, &Silent).unwrap().is_clean());
}

/// What a run that died has left, with a part of the old tree in place.
#[test]
fn a_replacement_that_was_interrupted_is_ended() {
    let place = tempfile::tempdir().unwrap();
    let artifact = artifact(place.path(), 2);
    let destination = place.path().join("site");
    for way in ways() {
        let next = place.path().join(".site.wheelbarrow-next");
        assert!(Runner::of(way, &artifact, &destination).plain().status.success());
        fs_err::rename(&destination, &next).unwrap();
        fs_err::create_dir_all(destination.join("venv/left")).unwrap();
        let output = Runner { replace: true, ..Runner::of(way, &artifact, &destination) }.plain();
        assert!(output.status.success(), "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!next.exists() && !destination.join("venv/left").exists());
        fs_err::remove_dir_all(&destination).unwrap();
    }
}
