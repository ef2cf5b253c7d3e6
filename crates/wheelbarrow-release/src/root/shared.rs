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

/// Names without an extension that are always files.
const DOT_FILES: [&str; 6] = [".env", ".htaccess", ".htpasswd", ".netrc", ".pgpass", ".secret"];

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
    /// As settings name it: a file if its name has an extension (other than `.d`) or is one of [`DOT_FILES`], and no slash
    /// is behind it.
    pub(crate) fn new(text: &str) -> Result<Self, UnsafePath> {
        let path = SafePath::new(text.trim_end_matches('/'))?;
        let extension = Path::new(path.name()).extension();
        let kind = match extension {
            _ if text.ends_with('/') => SharedKind::Directory,
            Some(extension) if extension != "d" => SharedKind::File,
            None if DOT_FILES.contains(&path.name()) => SharedKind::File,
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

/// Whether nothing is shared at this path; not if that cannot be known.
pub(crate) fn is_missing(root: &Root, path: &Path) -> bool {
    let path = path.to_str().and_then(|path| SafePath::new(path.trim_end_matches('/')).ok());
    path.is_some_and(|path| matches!(reach(root, &path), Ok(PathState::Missing { .. })))
}

/// A command that puts what a release has at `path` below its code where releases share it, once it was rescued to
/// `rescued`, and leaves there what is shared already, unless the release `has_replaced` it. Where the site's
/// user may write, the command writes as that user: a link that stands there by then leads no further than that user may.
pub(crate) fn move_command(
    root: &Root,
    shared: &SharedPath,
    rescued: &Path,
    has_replaced: bool,
    identity: Option<&Identity>,
) -> Result<String, ReleaseError> {
    // A directory that is there is the site user's.
    let (is_exposed, is_nested, is_there) = match reach(root, &shared.path)? {
        PathState::Missing { is_exposed, names, .. } => (is_exposed, names.len() > 1, false),
        PathState::There => (true, false, true),
    };
    let word = |path: &Path| shell_word(&path.to_string_lossy());
    let (place, from) = (root.shared(), word(rescued));
    let is_file = shared.kind == SharedKind::File;
    let extract = if has_replaced { "-xf -" } else { "--skip-old-files -xf -" };
    let other = identity.and_then(Identity::site_user).filter(|_| is_file || is_exposed);
    let Some((user, group)) = other else {
        let to = place.join(shared.path.as_str());
        let make = match to.parent() {
            _ if is_there && !is_file => {
                return Ok(format!("`tar -C {from} -cf - . | tar -C {} {extract}`", word(&to)));
            }
            Some(above) if is_nested => format!("mkdir -p {} && ", word(above)),
            _ => String::new(),
        };
        return Ok(format!("`{make}mv {from} {}`", word(&to)));
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
    Ok(match is_file {
        true => format!("`{make}{as_user} mkdir -p {above} && {as_user} tee {to} < {from} > /dev/null`"),
        false => {
            format!("`{as_user} mkdir -p {to} && tar -C {from} -cf - . | {as_user} tar -C {to} {extract}`")
        }
    })
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
    let above = Directory::open_following(&shown).map_err(look(&shown))?;
    let mut above = above;
    let exposed = |open: &Directory, path: &Path| {
        beneath::exposure(open.as_fd(), path).map(|found| found.is_some()).map_err(look(path))
    };
    let mut is_exposed = exposed(&above, &shown)?;
    let names: Vec<&OsStr> = path.as_str().split('/').map(OsStr::new).collect();
    // The first that is not a directory.
    let mut obstacle: Option<PathBuf> = None;
    for (number, name) in names.iter().enumerate() {
        let is_last = number + 1 == names.len();
        shown.push(name);
        let stat = match above.stat_at(name) {
            // Whatever it is, the site has it.
            Ok(_) if is_last => return Ok(PathState::There),
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(obstacle) = &obstacle {
                    return Err(not_made(root, path, obstacle));
                }
                return Ok(PathState::Missing { above, names: names[number..].to_vec(), is_exposed });
            }
            // The site's user has mounted it: nothing is made in there.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(PathState::There),
            Err(error) => return Err(look(&shown)(error)),
        };
        above = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => above.sub(name).map_err(look(&shown))?,
            // Another user decides where it leads: not looked at.
            FileType::Symlink if is_exposed => return Err(not_made(root, path, &shown)),
            FileType::Symlink => {
                let obstacle = obstacle.get_or_insert_with(|| shown.clone());
                // Of a path in it, the directory is looked at.
                let inside = shown.join(name);
                match beneath::place(Path::new("/"), inside.strip_prefix("/").unwrap_or(&inside)) {
                    Ok(place) => place.directory,
                    // What another user has linked or mounted there may have it: nothing is made in there.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        return Ok(PathState::There);
                    }
                    Err(_) => return Err(not_made(root, path, obstacle)),
                }
            }
            _ => return Err(not_made(root, path, obstacle.as_deref().unwrap_or(&shown))),
        };
        is_exposed = is_exposed || exposed(&above, &shown)?;
    }
    Ok(PathState::There)
}

fn not_made(root: &Root, path: &SafePath, obstacle: &Path) -> ReleaseError {
    let full = root.shared().join(path.as_str());
    let what = format!("{} is not a directory, so {} is not made", obstacle.display(), full.display());
    refused(&what, "nothing is made through links; make the directory, or remove the link")
}

fn refused(what: &str, way_out: &str) -> ReleaseError {
    ReleaseError::Setting { key: "shared", reason: format!("{what}; {way_out}") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::process::Command;

    use fs_err as fs;
    use wheelbarrow_testing::mounts::{SilentMount, in_time};

    use super::*;

    /// Root looks through the links that nobody but root can have made, and through no others.
    #[test]
    fn a_link_of_the_sites_user_is_not_looked_through() {
        if !getuid().is_root() {
            println!("skipped: only root can do something for another user");
            return;
        }
        let base = tempfile::Builder::new().prefix("wheelbarrow-links").tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(base.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let root = Root::create(&base.path().join("root")).unwrap();
        let (disk, var) = (base.path().join("disk"), root.shared().join("var"));
        fs::create_dir_all(disk.join("media")).unwrap();
        fs::create_dir(&var).unwrap();
        symlink(&disk, root.shared().join("data")).unwrap();
        for place in [&disk, &var] {
            symlink(&disk, place.join("theirs")).unwrap();
            std::os::unix::fs::chown(place, Some(65_534), Some(65_534)).unwrap();
        }
        let looked = |path: &str| inspect(&root, &SharedPath::new(path).unwrap(), None);

        looked("data/media").unwrap();
        symlink("/nonexistent", root.shared().join("broken")).unwrap();
        for (path, link) in [
            ("data/theirs/media", "data/theirs"),
            ("var/theirs/media", "var/theirs"),
            ("data/other", "data"),
            ("broken/media", "broken"),
        ] {
            let error = looked(path).unwrap_err().to_string();
            assert!(error.contains(&format!("shared/{link} is not a directory, so ")), "{error}");
        }
    }

    /// Root's link leads to a file system of the site's user, or to a link of theirs: whatever is there is theirs.
    #[test]
    fn nothing_is_asked_behind_a_link_into_a_directory_of_another_user() {
        if !getuid().is_root() {
            println!("skipped: only root can do something for another user");
            return;
        }
        let base = tempfile::Builder::new().prefix("wheelbarrow-mounts").tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(base.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let root = Root::create(&base.path().join("root")).unwrap();
        let home = base.path().join("home");
        let mounted = home.join("media");
        fs::create_dir_all(&mounted).unwrap();
        std::os::unix::fs::chown(&home, Some(4321), None).unwrap();
        symlink(&mounted, root.shared().join("media")).unwrap();
        symlink("media", home.join("other")).unwrap();
        symlink(home.join("other"), root.shared().join("linked")).unwrap();
        let Some(_mount) = SilentMount::at(&mounted) else { return };
        for path in ["media/uploads", "linked/uploads", "media", "media/a.db"] {
            let (root, shared) = (root.clone(), SharedPath::new(path).unwrap());
            in_time(move || make(&root, &shared, None)).unwrap();
        }
    }

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
            let command = move_command(&root, &shared, &rescued, false, Some(&identity)).unwrap();
            let ended = Command::new("sh").args(["-c", command.trim_matches('`')]).output().unwrap();
            ended.status.success()
        };
        assert!(moved("sub/b.db"));
        let files = root.shared().join(FILES);
        let written = fs::metadata(files.join("sub/b.db")).unwrap();
        assert_eq!((written.uid(), written.len()), (user, 4));

        let (uploads, more) = (root.shared().join("uploads"), base.path().join("more"));
        for (directory, text) in [(&uploads, "newer"), (&more, "older")] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("a"), text).unwrap();
        }
        fs::write(more.join("b"), "older").unwrap();
        std::os::unix::fs::chown(&uploads, Some(user), Some(group)).unwrap();
        let shared = SharedPath::new("uploads").unwrap();
        let command = move_command(&root, &shared, &more, false, Some(&identity)).unwrap();
        assert!(Command::new("sh").args(["-c", command.trim_matches('`')]).status().unwrap().success());
        assert_eq!(fs::read_to_string(uploads.join("a")).unwrap(), "newer", "it is not written over");
        assert_eq!(fs::metadata(uploads.join("b")).unwrap().uid(), user);

        symlink(&victim, files.join("other")).unwrap();
        assert!(!moved("other/b.db"));
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
        assert_eq!(fs::metadata(&victim).unwrap().uid(), 0, "it is nobody else's");
    }
}
