//! What releases share: directories below `ROOT/shared`, made with the first release that names them.
//!
//! Some of them are given to the site's user. Below those, root makes nothing and gives nothing away: what is missing
//! there is made with the rights of the site's user, and no link is followed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::FileType;
use rustix::process::getuid;
use wheelbarrow_base::beneath::{self, Directory};
use wheelbarrow_base::{SafePath, as_user};

use crate::command::identity::Identity;
use crate::{ReleaseError, Root};

const PERMISSIONS: u32 = 0o777;

/// How far a path below `shared` is there.
enum Reached<'p> {
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
pub(crate) fn inspect(root: &Root, path: &SafePath, identity: Option<&Identity>) -> Result<(), ReleaseError> {
    if !root.shared().is_dir() {
        return Ok(());
    }
    match reach(root, path)? {
        Reached::Missing { is_exposed: true, .. } => maker(root, path, identity).map(drop),
        _ => Ok(()),
    }
}

/// Makes the directory `shared/PATH` and gives it to the site's user; one that is there stays as it is.
pub(crate) fn make(root: &Root, path: &SafePath, identity: Option<&Identity>) -> Result<(), ReleaseError> {
    let Reached::Missing { above, names, is_exposed } = reach(root, path)? else { return Ok(()) };
    let full = root.shared().join(path.as_str());
    let make = ReleaseError::io("make the directory", &full);
    if !is_exposed {
        return make_given(above, &names, identity).map_err(make);
    }
    let make_all = || above.make_all(names.iter().collect::<std::path::PathBuf>(), PERMISSIONS).map(drop);
    match maker(root, path, identity)? {
        Some((user, group)) => as_user(user, group, make_all).and_then(|made| made).map_err(make),
        None => make_all().map_err(make),
    }
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

fn reach<'p>(root: &Root, path: &'p SafePath) -> Result<Reached<'p>, ReleaseError> {
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
        let stat = match above.look(name) {
            // Whatever it is, the site has it.
            Ok(_) if is_last => return Ok(Reached::There),
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Reached::Missing { above, names: names[number..].to_vec(), is_exposed });
            }
            Err(error) => return Err(look(&shown)(error)),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            let full = root.shared().join(path.as_str());
            // Looked at, and nothing more.
            if fs_err::symlink_metadata(&full).is_ok() {
                return Ok(Reached::There);
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
    Ok(Reached::There)
}

fn refused(what: &str, way_out: &str) -> ReleaseError {
    ReleaseError::Setting { key: "shared", reason: format!("{what}; {way_out}") }
}
