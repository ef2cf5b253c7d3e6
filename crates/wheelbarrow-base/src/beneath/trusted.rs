//! Resolves a path as far as no other user controls it.
//!
//! A symbolic link is followed if only root or this user can have made it. Every directory on the way is
//! checked: the first in which another user may write is the path's exposure. A file system that another user has
//! mounted is not entered: the owners that it shows are what that user says.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::{Directory, open_beneath, to_io_error};

/// The number of links that the kernel follows.
const LINKS: usize = 40;

/// The target of a path: a name in an open directory.
#[derive(Debug)]
pub struct Place {
    pub directory: Directory,
    /// The last part; not a link, and possibly missing.
    pub name: OsString,
    /// The whole path, without links.
    pub path: PathBuf,
    /// The first directory on the way in which another user may write.
    pub exposed: Option<Exposure>,
}

/// A file or directory that a user other than root and this user controls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    pub path: PathBuf,
    pub reason: String,
}

impl fmt::Display for Exposure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.path.display(), self.reason)
    }
}

/// Follows `path` from `base`, a directory whose own path is trusted.
pub fn place(base: &Path, path: &Path) -> io::Result<Place> {
    let mut exposed = None;
    let (directory, above, name) = follow(base, path, &mut exposed)?;
    Ok(Place { directory, path: above.join(&name), name, exposed })
}

/// [`place`] of an absolute path, and the `stat` of what is there. No file system of another user is asked.
pub fn found(path: &Path) -> io::Result<(Place, Stat)> {
    let place = place(Path::new("/"), path.strip_prefix("/").unwrap_or(path))?;
    let stat = place.directory.stat_at(&place.name)?;
    Ok((place, stat))
}

/// An absolute path without links. As it is, if [`found`] finds nothing there.
pub fn real(path: &Path) -> PathBuf {
    found(path).map_or_else(|_| path.to_path_buf(), |(place, _)| place.path)
}

/// Whether nothing is at `path`, an absolute path. What is behind a link of another user, or in a directory of one, is not
/// looked at: it may be there.
pub fn is_missing(path: &Path) -> bool {
    let mut exposed = None;
    let below = path.strip_prefix("/").unwrap_or(path);
    let looked =
        follow(Path::new("/"), below, &mut exposed).and_then(|(above, _, name)| above.stat_at(&name));
    exposed.is_none() && looked.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// [`place`]; the exposure is known also if a part is missing.
fn follow(
    base: &Path,
    path: &Path,
    exposed: &mut Option<Exposure>,
) -> io::Result<(Directory, PathBuf, OsString)> {
    let reached = Directory::open_following(base)?;
    let mut walk = Walk { reached, shown: base.to_owned(), exposed };
    let mut left: Vec<OsString> = Vec::new();
    push(&mut left, path);
    let mut links = 0;
    walk.expose()?;
    while let Some(part) = left.pop() {
        let is_last = left.is_empty();
        let kind = if part == "/" || part == ".." { None } else { walk.stat_at(&part)? };
        match kind {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                links += 1;
                if links > LINKS || !walk.may_follow(&stat)? {
                    return Err(to_io_error(rustix::io::Errno::LOOP));
                }
                let target = rustix::fs::readlinkat(&walk.reached, &part, Vec::new())?;
                push(&mut left, Path::new(&OsString::from_vec(target.into_bytes())));
            }
            _ if is_last && part != "/" && part != ".." => {
                return Ok((Directory::from(walk.reached.descriptor), walk.shown, part));
            }
            _ => walk.enter(&part)?,
        }
    }
    Err(io::Error::new(io::ErrorKind::IsADirectory, "a directory, not a file"))
}

/// The Unix socket at the end of a path, opened with O_PATH: from then on `/proc/self/fd/N` names it.
pub fn socket(path: &Path) -> io::Result<OwnedFd> {
    let absolute = std::path::absolute(path)?;
    let place = place(Path::new("/"), absolute.strip_prefix("/").unwrap_or(&absolute))?;
    let directory = place.directory;
    let open = directory.open_beneath(Path::new(&place.name), OFlags::PATH)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&open)?.st_mode) {
        FileType::Socket => Ok(open),
        FileType::Symlink => Err(to_io_error(rustix::io::Errno::LOOP)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a Unix socket")),
    }
}

/// Why another user could replace the directory at `path`, an absolute path, or put a link into it. If the
/// directory is missing, the deepest existing directory above it counts, and those that its links lead through.
pub fn exposure_of(path: &Path) -> io::Result<Option<String>> {
    // A file that need not be there, of which the directory is looked at.
    let mut inside = path.join("file");
    loop {
        let mut exposed = None;
        let followed = follow(Path::new("/"), inside.strip_prefix("/").unwrap_or(&inside), &mut exposed);
        let error = match (followed, exposed) {
            (_, Some(exposure)) => return Ok(Some(exposure.to_string())),
            (Ok(_), None) => return Ok(None),
            (Err(error), None) => error,
        };
        let is_missing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind());
        match inside.parent().filter(|above| is_missing && above.parent().is_some()) {
            Some(above) => inside = above.to_path_buf(),
            None if error.kind() == io::ErrorKind::InvalidData => return Ok(Some(error.to_string())),
            None => return Err(error),
        }
    }
}

/// Makes the directory at `path`, an absolute path, and the missing directories above it, without following a
/// link that another user may have made. Nothing is made in or below a directory in which another user may
/// write: that directory is returned.
pub fn make_directories(path: &Path, mode: u32) -> io::Result<Option<Exposure>> {
    let mut directories: Vec<&Path> = path.ancestors().collect();
    while let Some(directory) = directories.pop() {
        let place = match place(Path::new("/"), directory) {
            // It ends in `/` or in `..`, and is there.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => continue,
            place => place?,
        };
        if place.exposed.is_some() {
            return Ok(place.exposed);
        }
        match place.directory.stat_at(&place.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // If somebody else was faster, what they have made is looked at, or is no directory.
                let (made, _) = place.directory.make(&place.name, mode)?;
                if let Some(exposure) = exposure(made.as_fd(), directory)? {
                    return Ok(Some(exposure));
                }
            }
            looked => _ = looked?,
        }
    }
    Ok(None)
}

/// The remaining parts in reverse order.
fn push(left: &mut Vec<OsString>, path: &Path) {
    let parts: Vec<&OsStr> =
        path.components().filter(|part| *part != Component::CurDir).map(Component::as_os_str).collect();
    left.extend(parts.into_iter().rev().map(OsStr::to_owned));
}

struct Walk<'e> {
    reached: Directory,
    shown: PathBuf,
    exposed: &'e mut Option<Exposure>,
}

impl Walk<'_> {
    /// `None` if it does not exist.
    fn stat_at(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match self.reached.stat_at(name) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a link belongs to root or this user, in a directory where no other user can replace it.
    fn may_follow(&self, link: &Stat) -> io::Result<bool> {
        Ok(is_ours(link.st_uid) && self.exposed.is_none())
    }

    fn enter(&mut self, part: &OsStr) -> io::Result<()> {
        // Links were looked at before; one that has come since then is not followed.
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |way| match part == "/" || part == ".." {
            true => rustix::fs::openat(&self.reached, part, flags | way, Mode::empty()),
            false => open_beneath(&self.reached, Path::new(part), flags | way),
        };
        let opened = match open(OFlags::RDONLY) {
            // It may be gone through all the same.
            Err(rustix::io::Errno::ACCESS) => open(OFlags::PATH),
            opened => opened,
        };
        self.reached = Directory::from(opened.map_err(to_io_error)?);
        if part == ".." {
            self.shown.pop();
        } else {
            self.shown.push(part);
        }
        self.expose()
    }

    fn expose(&mut self) -> io::Result<()> {
        if self.exposed.is_none() {
            // Nothing is made in the directories above: what is there already keeps its rights.
            *self.exposed = control(self.reached.as_fd(), &self.shown)?;
        }
        Ok(())
    }
}

/// Why an open file or directory is not controlled by root and this user alone. `path` is its name in the
/// reason.
///
/// In a directory with the sticky bit, users cannot replace the files of others, so each file is judged by
/// itself.
pub fn exposure(open: std::os::fd::BorrowedFd<'_>, path: &Path) -> io::Result<Option<Exposure>> {
    if let Some(exposure) = control(open, path)? {
        return Ok(Some(exposure));
    }
    let stat = rustix::fs::fstat(open)?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let is_given = is_directory && stat.st_mode & 0o1000 == 0 && gives_away(open, stat.st_gid);
    let reason = "gives files that are made in it to others, by its default access control list";
    Ok(is_given.then(|| Exposure { path: path.to_path_buf(), reason: reason.to_owned() }))
}

/// The same, of what is there: what is made in a directory is not thought of.
fn control(open: std::os::fd::BorrowedFd<'_>, path: &Path) -> io::Result<Option<Exposure>> {
    let stat = rustix::fs::fstat(open)?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let is_sticky = is_directory && stat.st_mode & 0o1000 != 0;
    let writes = |bit| stat.st_mode & bit != 0 && !is_sticky;
    let reason = if !is_ours(stat.st_uid) {
        format!("belongs to {}", name_of("/etc/passwd", stat.st_uid, "user"))
    } else if writes(0o002) {
        "may be written by everybody".to_owned()
    } else if writes(0o020) && has_others(stat.st_gid) {
        format!("may be written by {}", name_of("/etc/group", stat.st_gid, "group"))
    } else if writes(0o020) && rustix::fs::fgetxattr_query(open, c"system.posix_acl_access").is_ok() {
        "may be written by others, by its access control list".to_owned()
    } else {
        return Ok(None);
    };
    Ok(Some(Exposure { path: path.to_path_buf(), reason }))
}

/// Whether other users may write what is made in a directory, whatever the umask is: acl(5), and posix_acl_xattr.h of Linux.
fn gives_away(open: std::os::fd::BorrowedFd<'_>, group: u32) -> bool {
    let mut list = [0; 4096];
    let length = match rustix::fs::fgetxattr(open, c"system.posix_acl_default", &mut list) {
        Ok(length) => length,
        Err(error) => return error == rustix::io::Errno::RANGE,
    };
    // A version, then the tag, the rights and the user or group of each entry.
    list[..length].get(4..).unwrap_or_default().chunks_exact(8).any(|entry| {
        let number = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        entry[2] & 2 != 0
            && match entry[0] {
                0x02 => !is_ours(number),
                0x04 => has_others(group),
                0x08 => has_others(number),
                tag => tag == 0x20,
            }
    })
}

fn is_ours(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

/// Whether a group has members besides root and this user. Of the groups without an entry, only this user's
/// own group is trusted.
fn has_others(group: u32) -> bool {
    let is_own = group == rustix::process::getegid().as_raw();
    members_beside_us(group, &lines("/etc/group"), &lines("/etc/passwd")).unwrap_or(!is_own)
}

/// `None` if no group has that number. If several groups have the number, the members of all of them can
/// write.
fn members_beside_us(group: u32, groups: &[Vec<String>], users: &[Vec<String>]) -> Option<bool> {
    let number =
        |fields: &[String], field: usize| fields.get(field).and_then(|text| text.parse::<u32>().ok());
    let user = |name: &str| {
        let found = users.iter().find(|fields| fields.first().is_some_and(|first| first == name));
        found.and_then(|fields| number(fields, 2))
    };
    let is_other = |user: Option<u32>| user.is_none_or(|user| !is_ours(user));
    let mut found = groups.iter().filter(|fields| number(fields, 2) == Some(group)).peekable();
    found.peek()?;
    let mut members =
        found.flat_map(|fields| fields.get(3).map(String::as_str).unwrap_or_default().split(','));
    Some(
        members.any(|name| !name.is_empty() && is_other(user(name)))
            || users.iter().any(|fields| number(fields, 3) == Some(group) && is_other(number(fields, 2))),
    )
}

/// `the user www-data`, or a number if no file names it.
fn name_of(file: &str, number: u32, what: &str) -> String {
    let text = number.to_string();
    let found = lines(file).into_iter().find(|fields| fields.get(2) == Some(&text));
    format!("the {what} {}", found.and_then(|fields| fields.into_iter().next()).unwrap_or(text))
}

fn lines(path: &str) -> Vec<Vec<String>> {
    let text = fs_err::read(path).unwrap_or_default();
    fields(&String::from_utf8_lossy(&text))
}

fn fields(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_gives_new_files_to_others_is_exposed() {
        let place = tempfile::tempdir().unwrap();
        let reason = || {
            let open = rustix::fs::open(place.path(), OFlags::RDONLY, Mode::empty()).unwrap();
            exposure(open.as_fd(), place.path()).unwrap().map(|exposure| exposure.reason)
        };
        let own = rustix::process::geteuid().as_raw();
        // setfacl -d -m u:USER:RIGHTS
        for (user, rights, is_exposed) in [(4321, 7, true), (4321, 5, false), (own, 7, false)] {
            let (none, all) = (u32::MAX, [(1, 7), (2, rights), (4, 5), (0x10, 7), (0x20, 5)]);
            let mut list = 2_u32.to_le_bytes().to_vec();
            for (tag, rights) in all {
                let number = if tag == 2 { user } else { none };
                list.extend([tag, 0, rights, 0]);
                list.extend(number.to_le_bytes());
            }
            let name = c"system.posix_acl_default";
            match rustix::fs::setxattr(place.path(), name, &list, rustix::fs::XattrFlags::empty()) {
                Err(rustix::io::Errno::NOTSUP) => return println!("skipped: no access lists here"),
                set => set.unwrap(),
            }
            assert_eq!(reason().is_some(), is_exposed, "{user} {rights}: {:?}", reason());
        }
    }

    #[test]
    fn all_groups_of_a_number_have_members() {
        let users = fields("root:x:0:0::/root:\nsite:x:4321:4321::/:\n");
        let members = |groups| members_beside_us(4000, &fields(groups), &users);
        assert_eq!(members("other:x:4001:site\n"), None);
        assert_eq!(members("deploy:x:4000:root\n"), Some(false));
        assert_eq!(members("deploy:x:4000:root\nweb:x:4000:site\n"), Some(true));
        assert_eq!(members("deploy:x:4000:root\nweb:x:4000:unknown\n"), Some(true));
        assert_eq!(members_beside_us(4321, &fields("site:x:4321:\n"), &users), Some(true));
    }
}
