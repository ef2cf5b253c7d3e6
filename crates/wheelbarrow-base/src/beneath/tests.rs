//! What is read, written and removed stays below the directory, whoever exchanges what is in it meanwhile.

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use fs_err as fs;

use wheelbarrow_testing::mounts::{SilentMount, in_time};

use super::*;
use crate::{FsError, as_user};

/// `place/inside/given`, where somebody else may write, and `place/outside` with a secret.
struct Scene {
    place: tempfile::TempDir,
}

const SECRET: &str = "root's own";

/// Longer than any of the tests takes.
const WHILE: Patience<'static> = Patience { limit: Duration::from_secs(60), is_cancelled: &|| false };

impl Scene {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("inside/given/deep")).unwrap();
        fs::create_dir_all(place.path().join("outside/deep")).unwrap();
        for (path, text) in [("inside/given/deep/file", "the site's"), ("outside/deep/file", SECRET)] {
            fs::write(place.path().join(path), text).unwrap();
        }
        Self { place }
    }

    fn outside(&self) -> PathBuf {
        self.place.path().join("outside")
    }

    fn directory(&self) -> Directory {
        Directory::open(&self.place.path().join("inside")).unwrap()
    }

    /// Does `work` again and again, while a thread exchanges `given` for a link to `outside`, and the other way round.
    fn race(&self, mut work: impl FnMut(&Directory)) {
        let given = self.place.path().join("inside/given");
        let link = self.place.path().join("link");
        std::os::unix::fs::symlink(self.outside(), &link).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let exchanged = rustix::fs::renameat_with(CWD, &given, CWD, &link, RenameFlags::EXCHANGE);
                    // What is being removed may be gone.
                    if exchanged.is_err() {
                        let _ = std::os::unix::fs::symlink(self.outside(), &given);
                    }
                }
            });
            let directory = self.directory();
            let work = std::panic::AssertUnwindSafe(|| (0..2000).for_each(|_| work(&directory)));
            let done = std::panic::catch_unwind(work);
            over.store(true, Ordering::Relaxed);
            if let Err(panic) = done {
                std::panic::resume_unwind(panic);
            }
        });
        assert_eq!(self.listed_outside(), ["deep"], "nothing was written there");
        assert_eq!(fs::read_to_string(self.outside().join("deep/file")).unwrap(), SECRET);
        assert_eq!(fs::read_dir(self.outside().join("deep")).unwrap().count(), 1);
    }

    fn listed_outside(&self) -> Vec<OsString> {
        fs::read_dir(self.outside()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }
}

#[test]
fn reads_stay_beneath_the_directory() {
    let scene = Scene::new();
    let mut read = 0;
    scene.race(|directory| {
        if let Ok(text) = directory.read("given/deep/file") {
            assert_eq!(text, b"the site's");
            read += 1;
        }
        let file = Path::new("given/deep/file");
        if let Ok(descriptor) = open_by_steps(directory, file, OFlags::RDONLY) {
            let mut text = String::new();
            File::from(descriptor).read_to_string(&mut text).unwrap();
            assert_eq!(text, "the site's");
        }
    });
    assert!(read > 0, "the directory was there at times");
}

#[test]
fn writes_stay_beneath_the_directory() {
    let scene = Scene::new();
    scene.race(|directory| {
        let Ok(made) = directory.make_all("given/made", 0o755) else { return };
        let _ = made.replace(OsStr::new("new"), b"text", 0o600, |file| give(file.as_fd(), None, None));
        let _ = made.symlink("target", OsStr::new("link"));
        let _ = made.unlink(OsStr::new("link"));
        let _ = made.append(OsStr::new("log"), 0o600);
    });
}

#[test]
fn chown_stays_beneath_the_directory() {
    let scene = Scene::new();
    let before = fs::metadata(scene.outside()).unwrap().mode();
    scene.race(|directory| {
        if let Ok(given) = directory.sub("given") {
            given.set_mode(0o2775).unwrap();
            given.give(Some(rustix::process::getuid().as_raw()), None).unwrap();
        }
    });
    assert_eq!(fs::metadata(scene.outside()).unwrap().mode(), before);
}

#[test]
fn removal_stays_beneath_the_directory() {
    let scene = Scene::new();
    scene.race(|directory| {
        let _ = remove_tree(directory, OsStr::new("given"), Path::new("given"), &WHILE);
        let _ = directory.make_all("given/deep", 0o755);
    });
}

#[test]
fn special_files_are_not_read() {
    let scene = Scene::new();
    let directory = scene.directory();
    let given = directory.sub("given").unwrap();
    rustix::fs::mknodat(&given, "pipe", FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    given.symlink(scene.outside().join("deep/file"), OsStr::new("link")).unwrap();
    for name in ["pipe", "link", "deep"] {
        assert!(directory.read(Path::new("given").join(name)).is_err(), "{name}");
        assert!(given.append(OsStr::new(name), 0o600).is_err(), "{name}");
    }
    for path in ["../outside/deep/file", "/etc/passwd", "given/../../outside/deep/file"] {
        assert!(directory.read(path).is_err(), "{path}");
        assert!(open_by_steps(&directory, Path::new(path), OFlags::RDONLY).is_err(), "{path}");
    }
    assert_eq!(given.read_link("link").unwrap(), scene.outside().join("deep/file"));
    assert!(given.create(OsStr::new("link"), 0o600).is_err());
}

#[test]
fn an_open_file_is_linked_and_nothing_else() {
    let scene = Scene::new();
    let given = scene.directory().sub("given").unwrap();
    let file = given.file("deep/file").unwrap();
    given.link(&file, OsStr::new("other")).unwrap();
    assert_eq!(given.read("other").unwrap(), b"the site's");
    assert!(given.link(&file, OsStr::new("other")).is_err());
}

#[test]
fn trees_of_any_depth_and_mode_are_removed() {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    let mut reached = directory.make_all("tree", 0o755).unwrap();
    for number in 0..700 {
        drop(reached.create(OsStr::new("file"), 0o400).unwrap());
        let next = reached.make(OsStr::new("a-name-that-makes-the-path-long"), 0o755).unwrap().0;
        reached.set_mode(if number % 10 == 0 { 0o500 } else { 0o755 }).unwrap();
        reached = next;
    }
    remove_tree(&directory, OsStr::new("tree"), &place.path().join("tree"), &WHILE).unwrap();
    assert!(directory.entries().unwrap().is_empty());
    remove_tree(&directory, OsStr::new("tree"), &place.path().join("tree"), &WHILE).unwrap();
}

#[test]
fn large_directories_are_removed() {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    let tree = directory.make_all("tree", 0o755).unwrap();
    for number in 0..10_500 {
        let name = OsString::from(number.to_string());
        if number % 3 == 0 {
            drop(tree.make(&name, 0o755).unwrap())
        } else {
            tree.symlink("x", &name).unwrap()
        }
    }
    let (entries, has_more) = tree.first_entries(100).unwrap();
    assert_eq!((entries.len(), has_more), (100, true));
    remove_tree(&directory, OsStr::new("tree"), &place.path().join("tree"), &WHILE).unwrap();
    assert!(directory.entries().unwrap().is_empty());
}

#[test]
fn a_tree_that_grows_for_ever_is_left() {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    let deepest = RefCell::new(directory.make_all("tree/deep", 0o755).unwrap());
    // For each step of the removal, two steps down: as somebody does who has the deepest directory open.
    let deepen = || {
        for _ in 0..2 {
            let made = deepest.borrow().make(OsStr::new("deep"), 0o755);
            made.into_iter().for_each(|(made, _)| _ = deepest.replace(made));
        }
    };
    let begun = Instant::now();
    let is_cancelled = || {
        deepen();
        false
    };
    let patience = Patience { limit: Duration::from_millis(300), is_cancelled: &is_cancelled };
    let remove = |patience| remove_tree(&directory, OsStr::new("tree"), Path::new("tree"), patience);
    let first = remove(&patience);
    assert!(matches!(first, Err(FsError::Unfinished { .. })), "{first:?}");
    // Somebody asks to stop.
    let is_cancelled = || {
        deepen();
        true
    };
    let patience = Patience { limit: Duration::from_secs(300), is_cancelled: &is_cancelled };
    // It goes on for a moment, in which it may come to the end.
    let stopped = remove(&patience);
    assert!(matches!(stopped, Ok(()) | Err(FsError::Unfinished { .. })), "{stopped:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    remove(&WHILE).unwrap();
    assert!(directory.entries().unwrap().is_empty());
}

#[test]
fn a_directory_under_removal_is_private() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root takes directories from others");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    let tree = directory.make_all("tree", 0o755).unwrap();
    tree.make(OsStr::new("deep"), 0o755).unwrap();
    tree.give(Some(4321), Some(4321)).unwrap();
    tree.set_mode(0o777).unwrap();
    let make = || as_user(4321, 4321, || tree.make(OsStr::new("more"), 0o755).map(drop)).unwrap();
    make().unwrap();
    let refused = Cell::new(0);
    let is_cancelled = || {
        let error = make().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        refused.set(refused.get() + 1);
        false
    };
    let patience = Patience { is_cancelled: &is_cancelled, ..WHILE };
    remove_tree(&directory, OsStr::new("tree"), Path::new("tree"), &patience).unwrap();
    assert!(refused.get() > 0);
}

#[test]
fn links_are_followed_where_only_we_can_have_made_them() {
    let scene = Scene::new();
    let base = scene.place.path();
    std::os::unix::fs::symlink(scene.outside(), base.join("inside/own")).unwrap();
    let found = place(base, Path::new("inside/own/deep/../deep/file")).unwrap();
    assert_eq!((found.directory.read(&found.name).unwrap(), found.exposed), (SECRET.into(), None));
    assert_eq!(place(base, Path::new("inside/new")).unwrap().name, "new");
    assert!(place(base, Path::new("inside")).unwrap().directory.stat_at("inside").is_ok());

    fs::set_permissions(base.join("inside"), PermissionsExt::from_mode(0o777)).unwrap();
    assert!(place(base, Path::new("inside/own/deep/file")).is_err());
    let exposed = place(base, Path::new("inside/given/deep/file")).unwrap().exposed.unwrap();
    assert_eq!(exposed.to_string(), format!("{} may be written by everybody", base.join("inside").display()));
    fs::set_permissions(base.join("inside"), PermissionsExt::from_mode(0o1777)).unwrap();
    assert_eq!(place(base, Path::new("inside/given/deep/file")).unwrap().exposed, None);

    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(base.join("inside/given"), Some(4321), None).unwrap();
        let exposed = place(base, Path::new("inside/given/deep/file")).unwrap().exposed.unwrap();
        assert_eq!(exposed.reason, "belongs to the user 4321");
    }
}

#[test]
fn directories_are_made_only_where_no_other_user_can_write() {
    let scene = Scene::new();
    let base = scene.place.path();
    let own = base.join("inside/own/deep/deeper");
    assert_eq!(make_directories(&own, 0o755).unwrap(), None);
    assert_eq!(make_directories(&own, 0o755).unwrap(), None);
    assert!(own.is_dir());
    std::os::unix::fs::symlink(scene.outside(), base.join("inside/link")).unwrap();
    assert_eq!(make_directories(&base.join("inside/link/new"), 0o755).unwrap(), None);
    assert!(scene.outside().join("new").is_dir());
    fs::remove_dir(scene.outside().join("new")).unwrap();
    fs::set_permissions(base.join("inside"), PermissionsExt::from_mode(0o777)).unwrap();
    let exposed = make_directories(&base.join("inside/other/new"), 0o755).unwrap().unwrap();
    assert_eq!(exposed.reason, "may be written by everybody");
    assert!(!base.join("inside/other").exists());
    // Everybody may make something in it, and nobody exchanges what is there.
    fs::set_permissions(base.join("inside"), PermissionsExt::from_mode(0o1777)).unwrap();
    assert_eq!(make_directories(&base.join("inside/other/new"), 0o755).unwrap(), None);
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::lchown(base.join("inside/link"), Some(4321), None).unwrap();
        let error = make_directories(&base.join("inside/link/new"), 0o755).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        std::os::unix::fs::chown(base.join("inside/other"), Some(4321), None).unwrap();
        let exposed = make_directories(&base.join("inside/other/more"), 0o755).unwrap().unwrap();
        assert_eq!(exposed.reason, "belongs to the user 4321");
        assert!(!scene.outside().join("new").exists() && !base.join("inside/other/more").exists());
    }
}

#[test]
fn the_number_of_a_mount_is_known() {
    let directory = Directory::open(Path::new("/proc")).unwrap();
    let other = Directory::open(Path::new("/")).unwrap();
    assert_ne!(mount_of(directory.as_fd()), mount_of(other.as_fd()));
    assert!(mount_of(directory.as_fd()).is_some());
}

#[test]
fn no_file_system_that_is_mounted_below_is_entered() {
    let root = Directory::open(Path::new("/")).unwrap();
    root.sub("proc/self").unwrap_err();
    root.sub("proc/sys").unwrap();
    root.file("proc/version").unwrap();
    let root = root.on_one_mount();
    for path in ["proc", "proc/sys"] {
        assert_eq!(root.sub(path).unwrap_err().kind(), io::ErrorKind::ResourceBusy, "{path}");
        assert_eq!(
            root.sub("").unwrap().sub(path).unwrap_err().kind(),
            io::ErrorKind::ResourceBusy,
            "{path}"
        );
        let by_steps = open_by_steps(&root, Path::new(path), OFlags::RDONLY | OFlags::DIRECTORY);
        assert_eq!(by_steps.unwrap_err(), Errno::XDEV, "{path}");
    }
    assert_eq!(root.file("proc/version").unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    root.sub("usr").unwrap().sub("bin").unwrap();
}

#[test]
fn nobody_waits_for_a_file_system_that_another_user_has_mounted() {
    let scene = Scene::new();
    let inside = scene.place.path().join("inside");
    let mounted = inside.join("given");
    let Some(_mount) = SilentMount::at(&mounted) else { return };
    let link = scene.place.path().join("link");
    fs::os::unix::fs::symlink(mounted.join("deep"), &link).unwrap();
    let below = mounted.join("deep/file");
    let (kinds, exposure) = in_time(move || {
        assert_eq!((real(&link), is_missing(&link)), (link.clone(), false));
        let kind = |error: io::Error| error.kind();
        let wary = Directory::open(&inside).unwrap();
        (
            [
                kind(place(&inside, Path::new("given/deep/file")).unwrap_err()),
                kind(place(Path::new("/"), below.strip_prefix("/").unwrap()).unwrap_err()),
                kind(place(&inside, Path::new("given")).unwrap_err()),
                kind(socket(&below).unwrap_err()),
                kind(wary.stat_at("given").unwrap_err()),
                kind(wary.sub("given/deep").unwrap_err()),
                kind(wary.file("given/deep/file").unwrap_err()),
                kind(wary.append(OsStr::new("given"), 0o600).unwrap_err()),
                kind(
                    open_by_steps(&wary, Path::new("given"), OFlags::RDONLY)
                        .map_err(to_io_error)
                        .unwrap_err(),
                ),
            ],
            exposure_of(&below).unwrap(),
        )
    });
    assert_eq!(kinds, [io::ErrorKind::InvalidData; 9]);
    assert!(exposure.unwrap().contains("another user has mounted"));
}

#[test]
fn file_systems_of_root_are_gone_through() {
    let root = Directory::open(Path::new("/")).unwrap();
    root.sub("proc/sys").unwrap();
    root.file("proc/version").unwrap();
    assert_eq!(
        root.stat_at("proc").unwrap().st_ino,
        Directory::open(Path::new("/proc")).unwrap().stat().unwrap().st_ino
    );
    assert!(open_by_steps(&root, Path::new("proc/sys"), OFlags::RDONLY | OFlags::DIRECTORY).is_ok());
    assert_eq!(place(Path::new("/"), Path::new("proc/version")).unwrap().exposed, None);
}
