//! A site root and its files.
//!
//! ```text
//! ROOT/
//!   current -> releases/ID     changed by one rename(2), after a sync
//!   releases/ID/               an install at its final path; .wheelbarrow/release.json is written last
//!   shared/                    environment.json, media, whatever outlives a release
//!   store/                     unpacked wheels, hard-linked into releases
//!   .wheelbarrow/              lock, journal.jsonl, singletons.json, trash/, pins/, bad/, reserve/
//! ```

pub(crate) mod compatible;
pub(crate) mod create;
pub(crate) mod current;
pub(crate) mod data;
pub(crate) mod distributions;
pub(crate) mod history;
pub(crate) mod id;
pub(crate) mod inventory;
pub(crate) mod journal;
pub(crate) mod lock;
pub(crate) mod locked_root;
pub(crate) mod marker_files;
pub(crate) mod moved_root;
pub(crate) mod operator;
pub(crate) mod receipt;
pub(crate) mod release;
pub(crate) mod release_files;
pub(crate) mod rescued;
pub(crate) mod reserve;
pub(crate) mod retention;
pub(crate) mod settings;
mod settings_file;
pub(crate) mod shared;
pub(crate) mod singletons;
pub(crate) mod trash;
pub(crate) mod trusted;
pub(crate) mod trusted_python;

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelbarrow_artifact::format::{self, Misread, Newer};
use wheelbarrow_base::beneath::{self, Directory};
use wheelbarrow_wheel::order;

use crate::root::journal::{Journal, JournalEvent};
use crate::root::receipt::RECEIPT_PATH;
use crate::root::release::{CompleteRelease, FORMAT, RELEASE_PATH, ReleaseRecord, with_environment};
use crate::{ReleaseError, ReleaseId};

const STATE: &str = ".wheelbarrow";
const RELEASES: &str = "releases";

/// A directory that was made a site root.
#[derive(Clone, Debug)]
pub struct Root {
    /// Absolute.
    path: PathBuf,
}

/// A directory in `releases/`.
#[derive(Clone, Debug)]
pub struct ReleaseDirectory {
    pub id: ReleaseId,
    /// None where it never became complete, or its record is of a later version.
    pub complete: Option<CompleteRelease>,
    /// What of its record only a later version of Wheelbarrow understands. Such a release is neither changed nor removed.
    pub newer: Option<Newer>,
    pub is_pinned: bool,
    pub is_bad: bool,
}

impl ReleaseDirectory {
    /// Whether it never became complete, so that nobody can need it.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.complete.is_none() && self.newer.is_none()
    }
}

impl Root {
    /// Wherever `path`, absolute, leads, if anywhere.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// The same, where nobody else can exchange what root finds there.
    pub(crate) fn trusted_at(path: &Path) -> Result<Self, ReleaseError> {
        let root = Self::at(path);
        check_trusted(&root)?;
        Ok(root)
    }

    /// The root at `path`, absolute, which [`Root::create`] has made.
    pub fn open(path: &Path) -> Result<Self, ReleaseError> {
        let root = Self::trusted_at(path)?;
        if root.is_made() {
            return Ok(root);
        }
        Err(ReleaseError::NotARoot { path: path.to_path_buf() })
    }

    fn is_made(&self) -> bool {
        self.releases().is_dir() && self.state().is_dir()
    }

    /// The root that `path`, absolute, is, or the root and the release, where `path` is or leads to a release. None of an
    /// install that is in no root.
    pub fn of(path: &Path) -> Option<(Self, Option<ReleaseId>)> {
        let is_install =
            |path: &Path| Directory::open(path).is_ok_and(|open| open.stat_at(RECEIPT_PATH).is_ok());
        if !is_install(path)
            && let Ok(root) = Self::open(path)
        {
            return Some((root, None));
        }
        let real = beneath::real(path);
        let id = real.file_name()?.to_str()?.parse().ok()?;
        let releases = real.parent().filter(|parent| parent.ends_with(RELEASES))?;
        Some((Self::open(releases.parent()?).ok()?, Some(id)))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the servers are pointed at.
    pub fn current(&self) -> PathBuf {
        self.path.join("current")
    }

    pub fn releases(&self) -> PathBuf {
        self.path.join(RELEASES)
    }

    pub fn release(&self, id: &ReleaseId) -> PathBuf {
        self.releases().join(id.to_string())
    }

    pub fn shared(&self) -> PathBuf {
        self.path.join("shared")
    }

    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    pub fn journal(&self) -> Journal {
        Journal::at(self.state().join("journal.jsonl"))
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.state().join("trash")
    }

    /// Files that are removed on a full disk.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.state().join("reserve")
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.state().join("lock")
    }

    /// What commands hold that run for a release.
    pub(crate) fn command_lock_path(&self) -> PathBuf {
        self.state().join("command.lock")
    }

    /// What the host was told of services that only one host runs.
    pub(crate) fn singletons(&self) -> PathBuf {
        self.state().join("singletons.json")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// Whether a user other than root deploys here, or would make the root.
    pub(crate) fn is_of_plain_user(&self) -> bool {
        let user = rustix::process::getuid().as_raw();
        user != 0 && fs::metadata(&self.path).map_or(user, |metadata| metadata.uid()) != 0
    }

    /// A path below the root, as it stands in the journal.
    pub(crate) fn below(&self, path: &Path) -> Option<String> {
        Some(path.strip_prefix(&self.path).ok()?.to_str()?.to_owned())
    }

    /// Where `current` leads to, as it stands on disk.
    pub fn live(&self) -> Result<Option<ReleaseId>, ReleaseError> {
        let path = self.current();
        let foreign = |found: String| ReleaseError::ForeignCurrent { path: path.clone(), found };
        let target = match fs::read_link(&path) {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                return Err(foreign(if path.is_dir() { "a directory" } else { "a file" }.to_owned()));
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(ReleaseError::NotADirectory { path: self.path.clone() });
            }
            Err(source) => return Err(ReleaseError::io("read the link", &path)(source)),
        };
        let id = self.release_at(&target);
        id.map(Some).ok_or_else(|| foreign(format!("a link to {}", target.display())))
    }

    /// The release that a link in the root leads to, there or not. People make absolute links; the next switch makes a relative
    /// one.
    fn release_at(&self, target: &Path) -> Option<ReleaseId> {
        let path = self.path.join(target);
        let id = path.file_name()?.to_str()?.parse().ok()?;
        let (parent, releases) = (path.parent()?, self.releases());
        let real = |path: &Path| fs::canonicalize(path).ok();
        let is_here = parent == releases
            || real(parent).is_some_and(|real_parent| Some(real_parent) == real(&releases));
        is_here.then_some(id)
    }

    /// What `current` contains for a release.
    pub(crate) fn target_of(id: &ReleaseId) -> PathBuf {
        Path::new(RELEASES).join(id.to_string())
    }

    /// Every release that is there, by number. What else lies in `releases/` is nobody's business here.
    pub fn found(&self) -> Result<Vec<ReleaseDirectory>, ReleaseError> {
        let directory = self.releases();
        let mut found = Vec::new();
        for entry in fs::read_dir(&directory).map_err(ReleaseError::io("list", &directory))? {
            let entry = entry.map_err(ReleaseError::io("list", &directory))?;
            let id = entry.file_name().to_str().and_then(|name| name.parse::<ReleaseId>().ok());
            let Some(id) = id.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir())) else { continue };
            let (complete, newer) = match self.complete_or_none(&id) {
                Ok(complete) => (complete, None),
                Err(ReleaseError::Newer(newer)) => (None, Some(newer)),
                Err(error) => return Err(error),
            };
            found.push(ReleaseDirectory {
                complete,
                newer,
                is_pinned: self.is_marked(&id, Mark::Pinned)?,
                is_bad: self.is_marked(&id, Mark::Bad)?,
                id,
            });
        }
        order::sort_by(&mut found, |one, other| one.id.cmp(&other.id));
        Ok(found)
    }

    /// The release `id`, if it is there and complete.
    pub fn complete(&self, id: &ReleaseId) -> Result<CompleteRelease, ReleaseError> {
        if let Some(release) = self.complete_or_none(id)? {
            return Ok(release);
        }
        match self.release(id).is_dir() {
            true => Err(ReleaseError::Incomplete { id: id.clone() }),
            false => Err(ReleaseError::Unknown { root: self.path.clone(), id: id.to_string() }),
        }
    }

    /// The release `id`, else the live one.
    pub fn complete_or_live(&self, id: Option<&ReleaseId>) -> Result<CompleteRelease, ReleaseError> {
        match id {
            Some(id) => self.complete(id),
            None => {
                let nothing = || ReleaseError::NothingLive { root: self.path.clone() };
                self.complete(&self.live()?.ok_or_else(nothing)?)
            }
        }
    }

    /// As `complete`; none where it is not there or not complete, as after damage to its record. A record that cannot be read, or
    /// that a newer program wrote, is neither: what is not complete is removed.
    pub(crate) fn complete_or_none(&self, id: &ReleaseId) -> Result<Option<CompleteRelease>, ReleaseError> {
        let path = self.release(id);
        let record = path.join(RELEASE_PATH);
        let text = match Directory::open(&path).and_then(|release| release.read(RELEASE_PATH)) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(ReleaseError::io("read", &record)(error)),
        };
        let record = match format::read_own::<ReleaseRecord>(&record, &text, FORMAT) {
            Ok(read) => with_environment(read, &path),
            Err(Misread::Newer(newer)) => return Err(newer.into()),
            Err(Misread::Wrong(_)) => return Ok(None),
        };
        Ok((record.id == *id).then_some(CompleteRelease { path, record }))
    }

    /// One more than any number that was ever given away here: by the journal, in `releases/` and in the trash.
    pub(crate) fn next_number(&self) -> Result<u64, ReleaseError> {
        let mut last = 0;
        for entry in self.journal().read()? {
            if let JournalEvent::Begun { id, .. } | JournalEvent::Removed { id } = entry.event {
                last = last.max(id.number());
            }
        }
        for directory in [self.releases(), self.trash()] {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                // Nobody but who deploys looks into the trash; its numbers are in the journal too.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                    continue;
                }
                Err(error) => return Err(ReleaseError::io("list", &directory)(error)),
            };
            for entry in entries {
                let name = entry.map_err(ReleaseError::io("list", &directory))?.file_name();
                let name = name.to_str().unwrap_or_default().trim_start_matches('.');
                let id = name.split('.').next().and_then(|name| name.parse::<ReleaseId>().ok());
                last = last.max(id.map_or(0, |id| id.number()));
            }
        }
        last.checked_add(1).ok_or_else(|| {
            let reason = format!(
                "it has the number {last}, and no number is higher; if that is not a release, remove it"
            );
            ReleaseError::io("number the next release in", &self.releases())(std::io::Error::other(reason))
        })
    }

    pub(crate) fn is_marked(&self, id: &ReleaseId, mark: Mark) -> Result<bool, ReleaseError> {
        let path = self.mark_directory(mark).join(id.to_string());
        path.try_exists().map_err(ReleaseError::io("look for", &path))
    }

    pub(crate) fn mark_directory(&self, mark: Mark) -> PathBuf {
        self.state().join(match mark {
            Mark::Pinned => "pins",
            Mark::Bad => "bad",
        })
    }
}

/// Refuses to work as root on a root that somebody else could exchange, or put a link into: what is removed and renamed below it
/// could be somebody else's then, and the programs in its releases his. The root need not be there: then it is what would be above
/// it that counts.
fn check_trusted(root: &Root) -> Result<(), ReleaseError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for directory in [root.releases(), root.state()] {
        let exposure = beneath::exposure_of(&directory).map_err(ReleaseError::io("look at", &directory))?;
        if let Some(reason) = exposure {
            return Err(ReleaseError::Untrusted { path: root.path().to_path_buf(), reason });
        }
    }
    Ok(())
}

/// What can be said of a release from outside: an empty file named after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Never pruned.
    Pinned,
    /// Never chosen unless it is named.
    Bad,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn no_release_gets_a_number_a_second_time() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        for (last, next) in [(u64::MAX - 1, Some(u64::MAX)), (u64::MAX, None)] {
            fs::create_dir(root.releases().join(format!("{last}-00000000"))).unwrap();
            let found = root.next_number();
            assert!(found.as_ref().ok() == next.as_ref(), "{found:?}");
        }
    }

    #[test]
    fn a_root_that_another_user_may_exchange_is_refused() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root is tricked like that");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let above = place.path().join("above");
        let root = Root::create(&above.join("root")).unwrap();
        check_trusted(&root).unwrap();
        for directory in [above.clone(), root.path().to_path_buf(), root.releases(), root.state()] {
            chown(&directory, Some(4321), None).unwrap();
            let refused = check_trusted(&root).unwrap_err();
            assert!(matches!(refused, ReleaseError::Untrusted { .. }), "{refused:?}");
            chown(&directory, Some(0), None).unwrap();
        }
        check_trusted(&root).unwrap();
        // A link that another user has made.
        let (releases, elsewhere) = (root.releases(), place.path().join("elsewhere"));
        fs_err::rename(&releases, &elsewhere).unwrap();
        symlink(&elsewhere, &releases).unwrap();
        std::os::unix::fs::lchown(&releases, Some(4321), None).unwrap();
        assert!(matches!(check_trusted(&root).unwrap_err(), ReleaseError::Untrusted { .. }));
        assert!(matches!(Root::open(root.path()).unwrap_err(), ReleaseError::Untrusted { .. }));
    }
}
