//! Links static files of one release into another, in directories where the site's user may write: with the
//! rights of that user if root deploys, through descriptors, and only regular files. That user decides how
//! many files there are, how large they are and what their names are, so time, number, copied bytes and the
//! bytes of names are limited.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use rustix::fs::FileType;
use rustix::io::Errno;
use wheelbarrow_base::as_user;
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_base::progress::Progress;

use crate::root::release::CompleteRelease;

/// Of files and directories together: more are left out.
const ENTRIES: usize = 200_000;
const DEPTH: usize = 64;
/// Bytes of a path below STATIC_ROOT.
const LONGEST: usize = 1024;
/// Bytes of all names, as `static.json` has them. More are left out.
pub(super) const NAMES: usize = 16 << 20;
/// A switch waits no longer for it.
const TIME: Duration = Duration::from_secs(60);
/// Bytes of all copies; and never more than half of what is free.
const COPIED: u64 = 4 << 30;
/// Bytes that are copied before somebody is asked whether to stop.
const CHUNK: u64 = 16 << 20;

/// The STATIC_ROOT of two releases, open.
pub(super) struct StaticRoots<'p> {
    old: Directory,
    new: Directory,
    /// With whose rights: user and group. None for those of this process.
    user: Option<(u32, u32)>,
    budget: CarryBudget<'p>,
    left_out: NotCarried,
}

/// What carrying may still take.
struct CarryBudget<'p> {
    progress: &'p dyn Progress,
    until: Instant,
    /// Of copies.
    bytes: u64,
}

/// The files below a directory.
struct FileWalk<'b> {
    budget: &'b CarryBudget<'b>,
    wanted: &'b dyn Fn(&str) -> bool,
    paths: Vec<String>,
    /// Bytes that are left for names.
    room: usize,
    /// Entries of all directories up to now.
    seen: usize,
    left_out: NotCarried,
}

/// What was not carried.
#[derive(Default)]
struct NotCarried {
    count: usize,
    first: Option<String>,
}

impl<'p> StaticRoots<'p> {
    /// With the rights of a user and a group, or those of this process. None if one of them is not there.
    pub(super) fn open(
        (live, from): (&CompleteRelease, &str),
        (next, to): (&CompleteRelease, &str),
        user: Option<(u32, u32)>,
        progress: &'p dyn Progress,
    ) -> io::Result<Option<Self>> {
        let open = |release: &CompleteRelease, below: &str| match Directory::open(release.path())
            .and_then(|release| release.on_one_mount().sub(below))
        {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        };
        let (Some(old), Some(new)) = (open(live, from)?, open(next, to)?) else { return Ok(None) };
        let budget = CarryBudget::of(&new, progress)?;
        Ok(Some(Self { old, new, user, budget, left_out: NotCarried::default() }))
    }

    /// Files that the old one has and the new one lacks, as paths that are UTF-8 without control characters, as those of
    /// a URL are. Their names have `room` bytes together, as [`recorded_length`] counts them.
    pub(super) fn find(&mut self, room: usize, wanted: impl Fn(&str) -> bool + Sync) -> Vec<String> {
        let Self { old, new, user, budget, left_out } = self;
        let found = with_rights(*user, || {
            let wanted = |path: &str| wanted(path) && new.stat_at(path).is_err();
            let left_out = NotCarried::default();
            let mut walk = FileWalk { budget, wanted: &wanted, paths: Vec::new(), room, seen: 0, left_out };
            walk.enter(old, "", 0);
            (walk.paths, walk.left_out)
        });
        let (paths, found) = found.unwrap_or_else(|error| (Vec::new(), NotCarried::of(&error)));
        left_out.add(found);
        paths
    }

    pub(super) fn link(&mut self, paths: &[String]) {
        let Self { old, new, user, budget, left_out } = self;
        let linked = with_rights(*user, || {
            let mut left_out = NotCarried::default();
            let mut open: Option<(&str, Directory)> = None;
            for path in paths {
                if let Err(error) = budget.check() {
                    left_out.note(path, &error);
                    break;
                }
                let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
                if open.as_ref().is_none_or(|(at, _)| *at != above) {
                    match new.make_all(above, 0o777) {
                        Ok(directory) => open = Some((above, directory)),
                        // The new version has a file where the old one has a directory.
                        Err(error) if error.kind() == ErrorKind::NotADirectory => continue,
                        Err(error) => {
                            left_out.note(path, &error);
                            continue;
                        }
                    }
                }
                let Some((_, directory)) = &open else { continue };
                if let Err(error) = link((old, path), (directory, OsStr::new(name)), *user, budget) {
                    left_out.note(path, &error);
                }
            }
            left_out
        });
        left_out.add(linked.unwrap_or_else(|error| NotCarried::of(&error)));
    }

    /// In words.
    pub(super) fn problem(self) -> Option<String> {
        let NotCarried { count, first } = self.left_out;
        let first = first?;
        Some(if count > 1 { format!("{first}, and {} more", count - 1) } else { first })
    }
}

impl NotCarried {
    /// All of it, since there are no such rights.
    fn of(error: &io::Error) -> Self {
        Self { count: 1, first: Some(format!("the rights of the site's user cannot be had: {error}")) }
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.take().or(other.first);
    }

    fn note(&mut self, path: &str, reason: &dyn std::fmt::Display) {
        self.count += 1;
        self.first.get_or_insert_with(|| format!("{path}: {reason}"));
    }
}

impl<'p> CarryBudget<'p> {
    fn of(new: &Directory, progress: &'p dyn Progress) -> io::Result<Self> {
        let found = rustix::fs::fstatvfs(new)?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        Ok(Self { progress, until: Instant::now() + TIME, bytes: COPIED.min(free / 2) })
    }

    /// Whether to go on.
    fn check(&self) -> io::Result<()> {
        if self.progress.is_cancelled() {
            return Err(io::Error::new(ErrorKind::Interrupted, "stopped"));
        }
        match Instant::now() < self.until {
            true => Ok(()),
            false => {
                let text = format!("it took more than {} s", TIME.as_secs());
                Err(io::Error::new(ErrorKind::TimedOut, text))
            }
        }
    }

    fn spend(&mut self, bytes: u64) -> io::Result<()> {
        let refused =
            || io::Error::new(ErrorKind::FileTooLarge, "it cannot be linked, and is too large for a copy");
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(refused)?;
        Ok(())
    }
}

impl FileWalk<'_> {
    fn enter(&mut self, directory: &Directory, below: &str, depth: usize) {
        let (entries, has_more) = match directory.first_entries(ENTRIES - self.seen) {
            Ok(found) => found,
            Err(error) => return self.left_out.note(below, &error),
        };
        self.seen += entries.len();
        if has_more {
            self.left_out.note(below, &format!("there are more than {ENTRIES} files and directories"));
        }
        for (name, kind) in entries {
            let Some(name) = name.to_str().filter(|name| !name.contains(char::is_control)) else { continue };
            let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            if let Err(error) = self.budget.check() {
                return self.left_out.note(&path, &error);
            }
            match kind {
                _ if path.len() > LONGEST || depth > DEPTH => {
                    let shown: String = path.chars().take(80).collect();
                    return self.left_out.note(&format!("{shown}..."), &"the path is too long");
                }
                FileType::Directory => match directory.sub(name) {
                    Ok(directory) => self.enter(&directory, &path, depth + 1),
                    Err(error) => self.left_out.note(&path, &error),
                },
                FileType::RegularFile if (self.wanted)(&path) => {
                    match self.room.checked_sub(recorded_length(&path)) {
                        Some(room) => {
                            self.room = room;
                            self.paths.push(path);
                        }
                        None => self.left_out.note(&path, &"the names of the others are too long together"),
                    }
                }
                _ => {}
            }
        }
    }
}

/// Bytes that a name without control characters takes in `static.json`, with its age and what stands around both.
pub(super) fn recorded_length(path: &str) -> usize {
    path.len() + path.matches(['"', '\\']).count() + 32
}

fn with_rights<T: Send>(user: Option<(u32, u32)>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    match user {
        Some((user, group)) => as_user(user, group, work),
        None => Ok(work()),
    }
}

/// Links what the site's user or who deploys owns, or copies it: whole or not at all.
fn link(
    (old, path): (&Directory, &str),
    to: (&Directory, &OsStr),
    user: Option<(u32, u32)>,
    budget: &mut CarryBudget<'_>,
) -> io::Result<()> {
    let mut file = match old.file(path) {
        Ok(file) => file,
        // Something else by now.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => return Ok(()),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let owners = [user.map(|(user, _)| user), Some(rustix::process::geteuid().as_raw())];
    if !owners.contains(&Some(metadata.uid())) {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "the file of another user"));
    }
    match to.0.link(&file, to.1) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if is_unlinkable(&error) => copy(&mut file, to, budget),
        linked => linked,
    }
}

/// Whether it is across file systems, another owner's file under `fs.protected_hardlinks`, or on a file system without
/// hard links. A file that has all the names it can have (EMLINK) is none of these: its owner may have given it those
/// names to have each of them copied.
fn is_unlinkable(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    let reasons = [Errno::XDEV, Errno::PERM, Errno::ACCESS, Errno::OPNOTSUPP, Errno::NOSYS, Errno::NOENT];
    errno.is_some_and(|errno| reasons.contains(&errno))
}

/// Copies what the file has now. Holes count: they are written out.
fn copy(
    file: &mut File,
    (directory, name): (&Directory, &OsStr),
    budget: &mut CarryBudget<'_>,
) -> io::Result<()> {
    let metadata = file.metadata()?;
    budget.spend(metadata.len())?;
    let (beside, mut copy) = directory.create_beside(name, 0o600)?;
    let copied = (|| {
        let mut left = metadata.len();
        while left > 0 {
            budget.check()?;
            match io::copy(&mut file.by_ref().take(left.min(CHUNK)), &mut copy)? {
                0 => break,
                copied => left -= copied,
            }
        }
        copy.set_permissions(PermissionsExt::from_mode(metadata.mode() & 0o777))?;
        directory.rename_new(&beside, directory, name)
    })();
    copied.or_else(|error| {
        let _ = directory.unlink(&beside);
        match error.kind() {
            ErrorKind::AlreadyExists => return Ok(()),
            // No other file is tried.
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => budget.bytes = 0,
            _ => {}
        }
        Err(error)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use fs_err as fs;
    use wheelbarrow_base::progress::{Silent, Unit};

    use super::*;

    fn scene(bytes: u64) -> (tempfile::TempDir, File, Directory) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("old");
        fs::File::create(&path).unwrap().set_len(bytes).unwrap();
        fs::create_dir(place.path().join("new")).unwrap();
        let new = Directory::open(&place.path().join("new")).unwrap();
        (place, fs::File::open(path).unwrap().into_parts().0, new)
    }

    fn budget(progress: &dyn Progress, bytes: u64) -> CarryBudget<'_> {
        CarryBudget { progress, until: Instant::now() + TIME, bytes }
    }

    #[test]
    fn copies_have_a_limit() {
        let (_place, mut file, new) = scene(1000);
        let mut budget = budget(&Silent, 2500);
        for name in ["1", "2"] {
            copy(&mut file, (&new, OsStr::new(name)), &mut budget).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
        }
        let error = copy(&mut file, (&new, OsStr::new("3")), &mut budget).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
        assert_eq!(new.entries().unwrap().len(), 2);
    }

    #[test]
    fn a_file_larger_than_the_free_space_is_not_copied() {
        let (_place, mut file, new) = scene(1 << 42);
        let mut budget = CarryBudget::of(&new, &Silent).unwrap();
        assert!(budget.bytes <= COPIED);
        copy(&mut file, (&new, OsStr::new("1")), &mut budget).unwrap_err();
        assert!(new.entries().unwrap().is_empty());
    }

    /// Asked to stop from the second question on.
    struct Stopping(AtomicBool);

    impl Progress for Stopping {
        fn begin(&self, _what: &str, _total: u64, _unit: Unit) {}
        fn advance(&self, _amount: u64) {}
        fn end(&self) {}
        fn note(&self, _message: &str) {}
        fn is_cancelled(&self) -> bool {
            self.0.swap(true, Ordering::Relaxed)
        }
    }

    #[test]
    fn a_copy_is_cancelled() {
        let (_place, mut file, new) = scene(3 * CHUNK);
        let stopping = Stopping(AtomicBool::new(false));
        let error = copy(&mut file, (&new, OsStr::new("1")), &mut budget(&stopping, COPIED)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert!(new.entries().unwrap().is_empty(), "nothing of it is left");
    }

    #[test]
    fn names_have_a_limit() {
        let (place, ..) = scene(1);
        for name in ["a\"b.css", "\u{1}.css", "c.css", "d.css", "new\n/e.css"] {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let room = recorded_length("a\"b.css") + recorded_length("c.css");
        let (budget, wanted) = (budget(&Silent, COPIED), |path: &str| path != "old");
        let left_out = NotCarried::default();
        let mut walk =
            FileWalk { budget: &budget, wanted: &wanted, paths: Vec::new(), room, seen: 0, left_out };
        walk.enter(&Directory::open(place.path()).unwrap(), "", 0);
        assert_eq!((walk.paths.len(), walk.left_out.count), (2, 1), "{:?}", walk.paths);
        assert!(walk.paths.iter().all(|path| !path.contains(char::is_control)));
    }

    #[test]
    fn a_file_with_too_many_names_is_not_copied() {
        assert!(!is_unlinkable(&Errno::MLINK.into()));
        assert!(!is_unlinkable(&Errno::NOSPC.into()));
        assert!(is_unlinkable(&Errno::XDEV.into()) && is_unlinkable(&Errno::PERM.into()));
    }
}
