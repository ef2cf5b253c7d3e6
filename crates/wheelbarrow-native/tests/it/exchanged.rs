//! Another user at work in the directory of the destination, while root installs there.

use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::site::{self, wheel_members};
use crate::strace::{Runner, Way};
use crate::zips::{Member, zip};

const SOMEBODY: u32 = 4321;

/// Root alone can install where another user writes.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// So many modules that an install takes a while.
fn artifact(place: &Path) -> PathBuf {
    let module = |number| Member::new(&format!("pack/module{number}.py"), format!("x = {number}\n"));
    let modules: Vec<Member> = (0..800).map(module).collect();
    let path = place.join("site.zip");
    site::artifact(&path, &[("pack-1-py3-none-any.whl", &zip(&wheel_members("pack", &modules)))]);
    path
}

/// A directory of `owner`, and an artifact that nobody else may write.
fn place(owner: u32) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let artifact = artifact(place.path());
    let parent = place.path().join("parent");
    fs_err::create_dir(&parent).unwrap();
    for path in [place.path(), &parent] {
        fs_err::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    chown(&parent, Some(owner), None).unwrap();
    (place, artifact, parent)
}

/// Runs an install, and `act` with every staged directory that is seen meanwhile, again and again. How often.
fn during(way: Way, artifact: &Path, parent: &Path, act: &(dyn Fn(&Path) + Sync)) -> usize {
    let (ended, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                for entry in fs_err::read_dir(parent).unwrap().flatten() {
                    let name = entry.file_name().into_string().unwrap();
                    if name.starts_with(".site.wheelbarrow-") && !name.ends_with("-lock") {
                        act(&entry.path());
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let destination = parent.join("site");
        let output =
            Runner { replace: destination.exists(), ..Runner::of(way, artifact, &destination) }.plain();
        ended.store(true, Ordering::Relaxed);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked") && !said.contains("Traceback"), "{said}");
    });
    seen.into_inner()
}

#[test]
fn nothing_is_written_through_a_link_in_place_of_the_staged_directory() {
    if !is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI runs this as root");
        return;
    }
    for way in [Way::Native, Way::Bootstrap] {
        let (place, artifact, parent) = place(SOMEBODY);
        let target = place.path().join("target");
        fs_err::create_dir(&target).unwrap();
        let exchange = |path: &Path| {
            let moved = parent.join("moved");
            if path.is_symlink() || !path.is_dir() {
                return;
            }
            let _ = fs_err::remove_dir_all(&moved);
            if fs_err::rename(path, &moved).is_ok() {
                // As its owner would have it: root finds the directories that it looks for.
                for directory in ["venv/bin", "venv/lib/python3.12/site-packages/pack", ".wheelbarrow"] {
                    let _ = fs_err::create_dir_all(target.join(directory));
                }
                let _ = symlink(&target, path);
            }
        };
        let seen = during(way, &artifact, &parent, &exchange);
        assert!(seen > 0, "{way:?}: nothing was seen");
        let files: Vec<_> = site::tree(&target)
            .into_iter()
            .filter(|(path, _)| target.join(path).is_file() || target.join(path).is_symlink())
            .collect();
        assert!(files.is_empty(), "{way:?}: {} files were written elsewhere", files.len());
    }
}

#[test]
fn other_users_cannot_open_the_staged_directory() {
    if !is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI runs this as root");
        return;
    }
    for way in [Way::Native, Way::Bootstrap] {
        let (_place, artifact, parent) = place(0);
        // The second time it is exchanged with an install that others may read.
        for _ in 0..2 {
            let open = |path: &Path| {
                let opened =
                    wheelbarrow_base::as_user(SOMEBODY, SOMEBODY, || fs_err::File::open(path)).unwrap();
                // One that is whole has its own mode for a moment.
                let is_whole = |file: fs_err::File| {
                    let inside = Path::new("/proc/self/fd").join(file.as_raw_fd().to_string());
                    inside.join(".wheelbarrow/receipt.json").exists()
                };
                assert!(
                    opened.is_err()
                        || opened.is_ok_and(is_whole)
                        || parent.join("site/.wheelbarrow").exists()
                );
            };
            assert!(during(way, &artifact, &parent, &open) > 0, "{way:?}: nothing was seen");
        }
        let mode = fs_err::metadata(parent.join("site")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "{way:?}");
    }
}

/// What he names as an install that was killed would name it, or makes as the destination.
#[test]
fn what_another_user_made_neither_replaces_an_install_nor_owns_it() {
    if !is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI runs this as root");
        return;
    }
    for way in [Way::Native, Way::Bootstrap] {
        let (_place, artifact, parent) = place(0);
        fs_err::set_permissions(&parent, PermissionsExt::from_mode(0o1777)).unwrap();
        let destination = parent.join("site");
        let install = |replace| Runner { replace, ..Runner::of(way, &artifact, &destination) }.plain();
        let theirs = |name: &str| {
            fs_err::create_dir_all(parent.join(name).join(".wheelbarrow")).unwrap();
            for file in ["environment.json", ".wheelbarrow/receipt.json"] {
                fs_err::write(parent.join(name).join(file), "{}").unwrap();
            }
            chown(parent.join(name), Some(SOMEBODY), None).unwrap();
        };
        theirs(".site.wheelbarrow-old");
        for replace in [false, true] {
            theirs(".site.wheelbarrow-next");
            let output = install(replace);
            assert!(output.status.success(), "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs_err::metadata(&destination).unwrap()), 0);
            assert!(!destination.join("environment.json").exists(), "{way:?}");
        }
        fs_err::remove_dir_all(&destination).unwrap();
        theirs("site");
        let output = install(true);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{way:?}: {said}");
        assert!(said.contains("belongs to another user (4321)"), "{way:?}: {said}");
    }
}
