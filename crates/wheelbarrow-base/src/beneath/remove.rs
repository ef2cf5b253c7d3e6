//! Removes a tree by descriptors, however deep it is, without crossing a mount point.
//!
//! A process that has a directory of the tree open can continue to write in it, wherever the tree was renamed
//! to. So each directory is closed to other users before it is listed. A directory further down can still be
//! made deeper faster than it is removed, so a removal has a time limit.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::Directory;
use crate::FsError;
use crate::unique::unique;

/// How many directories are open at the same time. Deeper ones are first moved up.
const DEPTH: usize = 64;
/// How many entries of a directory are in memory at the same time.
const ENTRIES: usize = 10_000;
/// How long a removal continues after a request to stop: small trees are still removed.
const GRACE: Duration = Duration::from_secs(1);

/// The time limit of a removal.
#[derive(Clone, Copy)]
pub struct Patience<'p> {
    pub limit: Duration,
    pub is_cancelled: &'p dyn Fn() -> bool,
}

impl Patience<'_> {
    /// A limit without a request to stop.
    pub fn of(limit: Duration) -> Self {
        Self { limit, is_cancelled: &|| false }
    }
}

/// A directory that is being emptied.
struct Open {
    directory: Directory,
    name: OsString,
    /// Subdirectories that still must be removed.
    left: Vec<OsString>,
    /// Whether it had more entries than were listed.
    has_more: bool,
    /// How many of the listed entries were removed.
    gone: usize,
}

/// Removes `name` of `directory`, whatever its kind. A missing entry is not an error. If an entry cannot be
/// removed, the others still are; the first error is returned. `path` is the tree's name in errors.
///
/// [`FsError::Unfinished`] means that the time limit was exceeded. The remaining entries keep the name.
pub fn remove_tree(
    directory: &Directory,
    name: &OsStr,
    path: &Path,
    patience: &Patience<'_>,
) -> Result<(), FsError> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(FsError::errno("remove", path)(errno)),
    }
    let mut removal = Removal { path, first: None, patience, begun: Instant::now(), stopped: None };
    let mut open = Vec::new();
    let above = directory.sub("").map_err(FsError::io("open", path))?.on_one_mount();
    removal.enter(&above, name, &mut open);
    while let Some(last) = open.last_mut() {
        let is_listed_again = last.left.is_empty() && last.has_more && last.gone > 0;
        if removal.is_over() {
            return Err(FsError::Unfinished { path: path.to_path_buf(), limit: removal.begun.elapsed() });
        }
        match last.left.pop() {
            Some(name) if open.len() < DEPTH => {
                let above = open.len() - 1;
                removal.descend(&name, above, &mut open);
            }
            Some(name) => removal.move_up(&name, &mut open),
            None if is_listed_again => removal.list_again(&mut open),
            None => {
                let Some(done) = open.pop() else { break };
                let above = open.last().map_or(directory, |above| &above.directory);
                match rustix::fs::unlinkat(above, &done.name, AtFlags::REMOVEDIR) {
                    Ok(()) => open.last_mut().into_iter().for_each(|above| above.gone += 1),
                    Err(errno) => {
                        let path = removal.path_of(&open, &done.name);
                        removal.note("remove", &path, errno.into());
                    }
                }
            }
        }
    }
    removal.first.map_or(Ok(()), Err)
}

struct Removal<'r> {
    path: &'r Path,
    first: Option<FsError>,
    patience: &'r Patience<'r>,
    begun: Instant,
    /// When a stop was requested.
    stopped: Option<Instant>,
}

impl Removal<'_> {
    fn is_over(&mut self) -> bool {
        if self.stopped.is_none() && (self.patience.is_cancelled)() {
            self.stopped = Some(Instant::now());
        }
        self.begun.elapsed() >= self.patience.limit
            || self.stopped.is_some_and(|stopped| stopped.elapsed() >= GRACE)
    }

    fn descend(&mut self, name: &OsStr, above: usize, open: &mut Vec<Open>) {
        match open[above].directory.sub("") {
            Ok(above) => self.enter(&above, name, open),
            Err(error) => self.note("open", &self.path_of(open, name), error),
        }
    }

    /// Opens a directory and removes everything in it except subdirectories.
    fn enter(&mut self, above: &Directory, name: &OsStr, open: &mut Vec<Open>) {
        let path = self.path_of(open, name);
        let directory = match above.sub(name) {
            Ok(directory) => directory,
            Err(error) => return self.note("remove", &path, error),
        };
        close_to_others(&directory);
        let mut entered =
            Open { directory, name: name.to_owned(), left: Vec::new(), has_more: false, gone: 0 };
        self.list(&path, &mut entered);
        open.push(entered);
    }

    fn list_again(&mut self, open: &mut [Open]) {
        let Some((last, above)) = open.split_last_mut() else { return };
        let path = self.path_of(above, &last.name);
        self.list(&path, last);
    }

    /// Lists the next entries, and removes those that are not directories.
    fn list(&mut self, path: &Path, open: &mut Open) {
        (open.has_more, open.gone) = (false, 0);
        let entries = match open.directory.first_entries(ENTRIES) {
            Ok((entries, has_more)) => {
                open.has_more = has_more;
                entries
            }
            Err(error) => return self.note("remove", path, error),
        };
        for (name, kind) in entries {
            if kind == FileType::Directory {
                open.left.push(name);
                continue;
            }
            if self.is_over() {
                return;
            }
            match open.directory.unlink(&name) {
                Ok(()) => open.gone += 1,
                Err(error) => self.note("remove", &path.join(&name), error),
            }
        }
    }

    /// Moves a directory that is too deep to the top of the tree.
    fn move_up(&mut self, name: &OsStr, open: &mut [Open]) {
        let path = self.path_of(open, name);
        let Some((top, rest)) = open.split_first_mut() else { return };
        let Some(from) = rest.last_mut() else { return };
        let other = OsString::from(format!(".{:08x}", unique()));
        match from.directory.rename_new(name, &top.directory, &other) {
            Ok(()) => {
                from.gone += 1;
                top.left.push(other);
            }
            Err(error) => self.note("remove", &path, error),
        }
    }

    fn path_of(&self, open: &[Open], name: &OsStr) -> PathBuf {
        let Some((_, below)) = open.split_first() else { return self.path.to_path_buf() };
        let above: PathBuf = below.iter().map(|open| open.name.as_os_str()).collect();
        self.path.join(above).join(name)
    }

    fn note(&mut self, action: &'static str, path: &Path, source: io::Error) {
        self.first.get_or_insert_with(|| FsError::Io { action, path: path.to_path_buf(), source });
    }
}

/// Gives a directory an owner and a mode that prevent other users from creating entries in it, even those who
/// have it open. Without the right to do so, the removal continues as far as possible.
fn close_to_others(directory: &Directory) {
    let me = rustix::process::geteuid();
    let user = directory.stat().map(|stat| stat.st_uid);
    if user.is_ok_and(|user| user != me.as_raw())
        && (!me.is_root() || directory.give(Some(me.as_raw()), None).is_err())
    {
        return;
    }
    // After the owner: the one before may have changed the mode up to then. The bits of the group are also the most that
    // an access control list gives.
    if directory.stat().is_ok_and(|stat| stat.st_mode & 0o322 != 0o300) {
        let _ = directory.set_mode(0o700);
    }
}
