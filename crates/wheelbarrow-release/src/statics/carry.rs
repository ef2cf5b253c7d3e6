//! Static files of one release into another, in directories where the site's user may write: with the rights of that
//! user if root deploys, through descriptors, and regular files alone.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::fs::FileType;
use wheelbarrow_fs::as_user;
use wheelbarrow_fs::beneath::Directory;

use crate::identity::Identity;
use crate::release::CompleteRelease;
use crate::settings::Settings;

/// Whoever writes in the directory chooses how much there is: more is left out.
const FILES: usize = 200_000;
const DEPTH: usize = 64;
/// Bytes of a path below STATIC_ROOT.
const LONGEST: usize = 1024;

/// The STATIC_ROOT of two releases, open.
pub(super) struct Carrying {
    old: Directory,
    new: Directory,
    /// With whose rights: user and group. None for those of this process.
    user: Option<(u32, u32)>,
    left_out: LeftOut,
}

/// What was not carried.
#[derive(Default)]
struct LeftOut {
    count: usize,
    first: Option<String>,
}

impl Carrying {
    /// None if one of them is not there.
    pub(super) fn open(
        (live, from): (&CompleteRelease, &str),
        (next, to): (&CompleteRelease, &str),
        settings: &Settings,
    ) -> io::Result<Option<Self>> {
        let open = |release: &CompleteRelease, below: &str| match Directory::open(release.path())
            .and_then(|release| release.sub(below))
        {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        };
        let (Some(old), Some(new)) = (open(live, from)?, open(next, to)?) else { return Ok(None) };
        let user = settings.identity.as_ref().and_then(Identity::site_user);
        Ok(Some(Self { old, new, user, left_out: LeftOut::default() }))
    }

    /// Files that the old one has and the new one lacks, as paths that are UTF-8, as those of a URL are.
    pub(super) fn find(&mut self, wanted: impl Fn(&str) -> bool + Sync) -> Vec<String> {
        let Self { old, new, user, left_out } = self;
        let found = with_rights(*user, || {
            let mut left_out = LeftOut::default();
            let mut paths = Vec::new();
            left_out.walk(old, "", 0, &mut paths);
            paths.retain(|path| wanted(path) && new.look(path).is_err());
            (paths, left_out)
        });
        let (paths, found) = found.unwrap_or_else(|error| (Vec::new(), LeftOut::of(&error)));
        left_out.add(found);
        paths
    }

    pub(super) fn link(&mut self, paths: &[String]) {
        let Self { old, new, user, left_out } = self;
        let linked = with_rights(*user, || {
            let mut left_out = LeftOut::default();
            let mut open: Option<(&str, Directory)> = None;
            for path in paths {
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
                if let Err(error) = link(old, path, directory, OsStr::new(name), *user) {
                    left_out.note(path, &error);
                }
            }
            left_out
        });
        left_out.add(linked.unwrap_or_else(|error| LeftOut::of(&error)));
    }

    /// In words.
    pub(super) fn problem(self) -> Option<String> {
        let LeftOut { count, first } = self.left_out;
        let first = first?;
        Some(if count > 1 { format!("{first}, and {} more", count - 1) } else { first })
    }
}

impl LeftOut {
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

    fn walk(&mut self, directory: &Directory, below: &str, depth: usize, paths: &mut Vec<String>) {
        let entries = match directory.entries() {
            Ok(entries) => entries,
            Err(error) => return self.note(below, &error),
        };
        for (name, kind) in entries {
            let Some(name) = name.to_str() else { continue };
            let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            match kind {
                _ if path.len() > LONGEST || depth > DEPTH => {
                    let shown: String = path.chars().take(80).collect();
                    return self.note(&format!("{shown}..."), &"the path is too long");
                }
                FileType::Directory => match directory.sub(name) {
                    Ok(directory) => self.walk(&directory, &path, depth + 1, paths),
                    Err(error) => self.note(&path, &error),
                },
                FileType::RegularFile if paths.len() >= FILES => {
                    return self.note(below, &format!("there are more than {FILES} files"));
                }
                FileType::RegularFile => paths.push(path),
                _ => {}
            }
        }
    }
}

fn with_rights<T: Send>(user: Option<(u32, u32)>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    match user {
        Some((user, group)) => as_user(user, group, work),
        None => Ok(work()),
    }
}

/// Links what the site's user or who deploys owns, or copies it: whole or not at all.
fn link(
    old: &Directory,
    path: &str,
    directory: &Directory,
    name: &OsStr,
    user: Option<(u32, u32)>,
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
    match directory.link(&file, name) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            copy(&mut file, metadata.mode() & 0o777, directory, name)
        }
        _ => Ok(()),
    }
}

/// Across file systems, or another owner's file under `fs.protected_hardlinks`.
fn copy(file: &mut File, mode: u32, directory: &Directory, name: &OsStr) -> io::Result<()> {
    let (beside, mut copy) = directory.create_beside(name, 0o600)?;
    let copied = io::copy(file, &mut copy)
        .and_then(|_| copy.set_permissions(PermissionsExt::from_mode(mode)))
        .and_then(|()| directory.rename_new(&beside, directory, name));
    copied.or_else(|error| {
        let _ = directory.unlink(&beside);
        if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
    })
}
