//! Shared paths of releases: directories below `ROOT/shared`, made with the first release that names them,
//! and files, which the site makes itself.
//!
//! Some of them belong to the site's user. Below those, root makes nothing and changes no owner: missing
//! paths are made with the rights of the site's user, and no link is followed.
//!
//! SQLite writes beside a database (`-journal`, `-wal`, `-shm`), so its user must be able to write in the
//! directory of the file; but `ROOT/shared` must stay root's, since it contains environment.json. So if root
//! deploys for another user, a missing file is a link into `ROOT/shared/.files`, which belongs to that user.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::process::getuid;
use wheelbarrow_artifact::release::FILES_IN_SHARED as FILES;
use wheelbarrow_base::beneath::{self, Directory};
use wheelbarrow_base::{SafePath, UnsafePath, as_user, shell_word};

use crate::command::identity::Identity;
use crate::{ReleaseError, Root};

const PERMISSIONS: u32 = 0o777;
/// Of the directory for files: what is in there is nobody's but the site's.
const FILES_PERMISSIONS: u32 = 0o750;

/// A path of `shared`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedPath {
    pub path: SafePath,
    /// What it is if it is not there yet.
    pub kind: SharedKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedKind {
    Directory,
    File,
}

impl SharedPath {
    /// As settings name it: a file if its name has an extension (other than `.d`) and no slash is behind it.
    pub(crate) fn new(text: &str) -> Result<Self, UnsafePath> {
        let path = SafePath::new(text.trim_end_matches('/'))?;
        let extension = Path::new(path.name()).extension();
        let kind = match extension {
            Some(extension) if !text.ends_with('/') && extension != "d" => SharedKind::File,
            _ => SharedKind::Directory,
        };
        Ok(Self { path, kind })
    }

    pub(crate) fn directory(path: SafePath) -> Self {
        Self { path, kind: SharedKind::Directory }
    }
}

/// How far a path below `shared` is there.
enum PathState<'p> {
    There,
    Missing {
        /// The last directory that is there.
        above: Directory,
        names: Vec<&'p OsStr>,
        /// Whether somebody else may write in that directory.
        is_exposed: bool,
    },
}

/// Refuses a path that [`make`] would refuse. The root need not exist.
pub(crate) fn inspect(
    root: &Root,
    shared: &SharedPath,
    identity: Option<&Identity>,
) -> Result<(), ReleaseError> {
    if !root.shared().is_dir() {
        return Ok(());
    }
    match reach(root, &shared.path)? {
        PathState::Missing { is_exposed: true, .. } => maker(root, &shared.path, identity).map(drop),
        _ => Ok(()),
    }
}

/// Makes the directory `shared/PATH` and gives it to the site's user; of a file, the directory that it will be in. What is
/// there stays as it is.
pub(crate) fn make(
    root: &Root,
    shared: &SharedPath,
    identity: Option<&Identity>,
) -> Result<(), ReleaseError> {
    let SharedPath { path, kind } = shared;
    let PathState::Missing { above, names, is_exposed } = reach(root, path)? else { return Ok(()) };
    let full = root.shared().join(path.as_str());
    let make = ReleaseError::io("make the directory", &full);
    let is_file = *kind == SharedKind::File;
    let directories = &names[..names.len() - usize::from(is_file)];
    if !is_exposed {
        let others = identity.filter(|identity| is_file && identity.site_user().is_some());
        return match others {
            Some(identity) => make_file_place(root, above, &names, path, identity),
            None if is_file => make_given(above, directories, None),
            None => make_given(above, directories, identity),
        }
        .map_err(make);
    }
    let make_all = || above.make_all(directories.iter().collect::<PathBuf>(), PERMISSIONS).map(drop);
    match maker(root, path, identity)? {
        Some((user, group)) => as_user(user, group, make_all).and_then(|made| made).map_err(make),
        None => make_all().map_err(make),
    }
}

/// Makes `shared/PATH` a link to `.files/PATH`, in a directory of the site's user. The names are those below `above`.
fn make_file_place(
    root: &Root,
    above: Directory,
    names: &[&OsStr],
    path: &SafePath,
    identity: &Identity,
) -> io::Result<()> {
    let shared = Directory::open_following(&root.shared())?;
    let (mut place, _) = shared.make(OsStr::new(FILES), FILES_PERMISSIONS)?;
    place.give(identity.user, identity.group)?;
    let parts: Vec<&str> = path.as_str().split('/').collect();
    let directories = &parts[..parts.len() - 1];
    if !directories.is_empty() {
        // The site's user may write there, so it is made with that user's rights.
        let make_all = || place.make_all(directories.iter().collect::<PathBuf>(), PERMISSIONS);
        place = match identity.site_user() {
            Some((user, group)) => as_user(user, group, make_all).and_then(|made| made)?,
            None => make_all()?,
        };
    }
    drop(place);
    let (name, between) = names.split_last().ok_or(io::ErrorKind::InvalidInput)?;
    let above =
        between.iter().try_fold(above, |above, name| Ok::<_, io::Error>(above.make(name, PERMISSIONS)?.0))?;
    above.symlink(format!("{}{FILES}/{path}", "../".repeat(directories.len())), name)
}

/// A command that puts what a release has at `path` below its code where releases share it, once it was rescued to
/// `rescued`; none if something is shared there already. Where the site's user may write, the command writes as that user: a link
/// that stands there by then leads no further than that user may.
pub(crate) fn move_command(
    root: &Root,
    shared: &SharedPath,
    rescued: &Path,
    identity: Option<&Identity>,
) -> Result<Option<String>, ReleaseError> {
    let PathState::Missing { is_exposed, names, .. } = reach(root, &shared.path)? else { return Ok(None) };
    let word = |path: &Path| shell_word(&path.to_string_lossy());
    let (place, from) = (root.shared(), word(rescued));
    let is_file = shared.kind == SharedKind::File;
    let other = identity.and_then(Identity::site_user).filter(|_| is_file || is_exposed);
    let Some((user, group)) = other else {
        let to = place.join(shared.path.as_str());
        let make = match to.parent() {
            Some(above) if names.len() > 1 => format!("mkdir -p {} && ", word(above)),
            _ => String::new(),
        };
        return Ok(Some(format!("`{make}mv {from} {}`", word(&to))));
    };
    let files = place.join(FILES);
    let (to, make) = match is_file && !is_exposed {
        true => (
            files.join(shared.path.as_str()),
            format!("install -d -o {user} -g {group} -m 750 {} && ", word(&files)),
        ),
        false => (place.join(shared.path.as_str()), String::new()),
    };
    let above = word(to.parent().unwrap_or(&place));
    let to = word(&to);
    let as_user = format!("setpriv --reuid {user} --regid {group} --clear-groups");
    Ok(Some(match is_file {
        true => format!("`{make}{as_user} mkdir -p {above} && {as_user} tee {to} < {from} > /dev/null`"),
        false => format!("`{as_user} mkdir -p {to} && tar -C {from} -cf - . | {as_user} tar -C {to} -xf -`"),
    }))
}

/// The last of them belongs to the site's user, if it is made here.
fn make_given(above: Directory, names: &[&OsStr], identity: Option<&Identity>) -> io::Result<()> {
    let mut reached = (above, false);
    for name in names {
        reached = reached.0.make(name, PERMISSIONS)?;
    }
    match (identity, reached) {
        (Some(identity), (made, true)) => made.give(identity.user, identity.group),
        _ => Ok(()),
    }
}

/// With whose rights a directory is made where somebody else may write: user and group, or none for this process's own.
fn maker(
    root: &Root,
    path: &SafePath,
    identity: Option<&Identity>,
) -> Result<Option<(u32, u32)>, ReleaseError> {
    if !getuid().is_root() {
        return Ok(None);
    }
    match identity.and_then(Identity::site_user) {
        Some(user) => Ok(Some(user)),
        None => Err(refused(
            &format!(
                "another user may write where {} is to be made",
                root.shared().join(path.as_str()).display()
            ),
            "name the site's user as `owner`, or make the directory",
        )),
    }
}

fn reach<'p>(root: &Root, path: &'p SafePath) -> Result<PathState<'p>, ReleaseError> {
    let mut shown = root.shared();
    let look = |path: &Path| ReleaseError::io("look at", path);
    let mut above = Directory::open_following(&shown).map_err(look(&shown))?;
    let exposed = |open: &Directory, path: &Path| {
        beneath::exposure(open.as_fd(), path).map(|found| found.is_some()).map_err(look(path))
    };
    let mut is_exposed = exposed(&above, &shown)?;
    let names: Vec<&OsStr> = path.as_str().split('/').map(OsStr::new).collect();
    for (number, name) in names.iter().enumerate() {
        let is_last = number + 1 == names.len();
        shown.push(name);
        let stat = match above.stat_at(name) {
            // Whatever it is, the site has it.
            Ok(_) if is_last => return Ok(PathState::There),
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(PathState::Missing { above, names: names[number..].to_vec(), is_exposed });
            }
            Err(error) => return Err(look(&shown)(error)),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            let full = root.shared().join(path.as_str());
            // Looked at, and nothing more.
            if fs_err::symlink_metadata(&full).is_ok() {
                return Ok(PathState::There);
            }
            let what = format!("{} is not a directory, so {} is not made", shown.display(), full.display());
            return Err(refused(
                &what,
                "nothing is made through links; make the directory, or remove the link",
            ));
        }
        above = above.sub(name).map_err(look(&shown))?;
        is_exposed = is_exposed || exposed(&above, &shown)?;
    }
    Ok(PathState::There)
}

fn refused(what: &str, way_out: &str) -> ReleaseError {
    ReleaseError::Setting { key: "shared", reason: format!("{what}; {way_out}") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::process::Command;

    use fs_err as fs;

    use super::*;

    /// The site's user has put a link to a directory of root's in the way.
    #[test]
    fn a_command_that_moves_follows_no_link_with_roots_rights() {
        if !getuid().is_root() {
            println!("skipped: only root can do something for another user");
            return;
        }
        let (user, group) = (65_534, 65_534);
        let identity =
            Identity { user: Some(user), group: Some(group), name: "site".into(), home: "/".into() };
        let base = tempfile::Builder::new().prefix("wheelbarrow-moves").tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(base.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let root = Root::create(&base.path().join("a root")).unwrap();
        let (victim, rescued) = (base.path().join("victim"), base.path().join("it's rescued"));
        fs::create_dir(&victim).unwrap();
        fs::write(&rescued, "rows").unwrap();
        let moved = |path: &str| {
            let shared = SharedPath::new(path).unwrap();
            let command = move_command(&root, &shared, &rescued, Some(&identity)).unwrap().unwrap();
            let ended = Command::new("sh").args(["-c", command.trim_matches('`')]).output().unwrap();
            ended.status.success()
        };
        assert!(moved("sub/b.db"));
        let files = root.shared().join(FILES);
        let written = fs::metadata(files.join("sub/b.db")).unwrap();
        assert_eq!((written.uid(), written.len()), (user, 4));

        symlink(&victim, files.join("other")).unwrap();
        assert!(!moved("other/b.db"));
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
        assert_eq!(fs::metadata(&victim).unwrap().uid(), 0, "it is nobody else's");
    }
}
