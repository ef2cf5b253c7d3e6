//! What an install holds beside what was installed: files that its site has written.
//!
//! Nothing removes such files unless it is asked to. A file counts as installed while it is older than the receipt, or has
//! the bytes that the sums name; so a database that the artifact brought counts as written once the site has changed it.
//! Of an install whose receipt was altered, only the virtualenv is known.

use std::cell::OnceCell;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelbarrow_artifact::progress::Silent;
use wheelbarrow_base::beneath::{Directory, is_beside};

use super::claims::{Claims, Judgement};
use super::sizes::{Sizes, plain};
use super::walk::{is_bytecode, join};
use super::{CHUNK, Job, Outcome, compare_file};
use crate::InstallError;
use crate::layout::{ENVIRONMENT, RECEIPT_PATH};

/// How many files are named.
const NAMED: usize = 10;
/// How many are counted: whoever has to look through them needs no exact number.
const COUNTED: usize = 10_000;
/// What Wheelbarrow itself writes into an install.
const OWN: &[u8] = b".wheelbarrow";

/// Files that are not known to be made from the artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Data {
    /// Paths below the install, ordered, the first few. One that ends in a slash is a directory that cannot be listed.
    pub files: Vec<String>,
    /// How many there are, counted up to ten thousand.
    pub count: usize,
}

/// What else is known to be made from the artifact.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Directories below the install, such as the one with collected static files.
    pub directories: BTreeSet<PathBuf>,
    /// Links to what is in this directory are no data.
    pub shared: Option<PathBuf>,
}

impl Data {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The names on one line: `code/db.sqlite3, code/media/a.jpg and 12 more`.
impl fmt::Display for Data {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.files.iter().map(|path| path.escape_debug().to_string()).collect();
        formatter.write_str(&names.join(", "))?;
        match self.count - self.files.len().min(self.count) {
            0 => Ok(()),
            _ if self.count >= COUNTED => write!(formatter, " and more than {} more", COUNTED - NAMED - 1),
            more => write!(formatter, " and {more} more"),
        }
    }
}

/// Looks through the install at `destination`.
pub fn data(destination: &Path, made: &Made) -> Result<Data, InstallError> {
    let claims = match Claims::read(destination) {
        Ok(claims) => Some(claims),
        Err(InstallError::BrokenReceipt { .. }) => None,
        Err(error) => return Err(error),
    };
    let mut made = made.clone();
    match &claims {
        Some(claims) => made.directories.extend(claims.static_root.clone()),
        None => _ = made.directories.insert("venv".into()),
    }
    let own = destination.join(RECEIPT_PATH);
    let installed = fs::symlink_metadata(&own).map_or((0, 0), |receipt| changed_at(&receipt));
    let root = Directory::open_following(destination).map_err(InstallError::io("open", destination))?;
    let (claims, found) = (claims.as_ref(), Found::default());
    let sizes = OnceCell::new();
    let mut search = Search { destination, made: &made, claims, sizes, root, installed, found };
    search.run()?;
    Ok(Data {
        files: search
            .found
            .names
            .into_iter()
            .map(|path| String::from_utf8_lossy(&path).into_owned())
            .collect(),
        count: search.found.count,
    })
}

struct Search<'s> {
    destination: &'s Path,
    made: &'s Made,
    /// None where the receipt was altered.
    claims: Option<&'s Claims>,
    /// Once they are wanted; none if they cannot be read.
    sizes: OnceCell<Option<Sizes>>,
    root: Directory,
    /// When the receipt was written: seconds and nanoseconds.
    installed: (i64, i64),
    found: Found,
}

#[derive(Default)]
struct Found {
    names: BTreeSet<Vec<u8>>,
    count: usize,
}

impl Found {
    fn add(&mut self, path: Vec<u8>) {
        self.count += 1;
        self.names.insert(path);
        if self.names.len() > NAMED {
            self.names.pop_last();
        }
    }
}

impl Search<'_> {
    fn run(&mut self) -> Result<(), InstallError> {
        let mut directories = VecDeque::from([Vec::new()]);
        while let Some(directory) = directories.pop_front() {
            let absolute = self.destination.join(std::ffi::OsStr::from_bytes(&directory));
            let entries = match fs::read_dir(&absolute) {
                Err(error) if error.kind() == ErrorKind::NotFound && !directory.is_empty() => continue,
                // What this user may not list may hold anything.
                Err(error) if error.kind() == ErrorKind::PermissionDenied && !directory.is_empty() => {
                    self.found.add([directory, b"/".to_vec()].concat());
                    continue;
                }
                listed => listed.map_err(InstallError::io("list", &absolute))?,
            };
            for entry in entries {
                let entry = entry.map_err(InstallError::io("list", &absolute))?;
                let path = join(&directory, entry.file_name().as_bytes());
                let kind = entry.file_type().map_err(InstallError::io("look at", &absolute))?;
                if self.is_made(&path, kind.is_dir()) {
                    continue;
                }
                if kind.is_dir() {
                    directories.push_back(path);
                } else if self.is_data(&path, &entry)? {
                    self.found.add(path);
                }
                if self.found.count >= COUNTED {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn is_made(&self, path: &[u8], is_directory: bool) -> bool {
        match is_directory {
            true => {
                path == OWN || self.made.directories.contains(Path::new(std::ffi::OsStr::from_bytes(path)))
            }
            false => path == ENVIRONMENT.as_bytes() || is_beside(path, ENVIRONMENT.as_bytes()),
        }
    }

    fn is_data(&self, path: &[u8], entry: &fs::DirEntry) -> Result<bool, InstallError> {
        let metadata = match entry.metadata() {
            // It was removed meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            metadata => metadata.map_err(InstallError::io("look at", &entry.path()))?,
        };
        if metadata.is_symlink() {
            let target = fs::read_link(entry.path());
            let target = target.map_err(InstallError::io("read the link", &entry.path()))?;
            return Ok(!self.is_link_of_install(path, &target));
        }
        // A socket or a pipe holds nothing.
        if !metadata.is_file() {
            return Ok(false);
        }
        let name = std::str::from_utf8(path).ok();
        let listed = name.and_then(|name| self.claims?.files.get_key_value(name));
        let Some((path, sha256)) = listed else { return Ok(!is_bytecode(path)) };
        // Some file systems have whole seconds only: as old as the receipt may be younger.
        if changed_at(&metadata) < self.installed {
            return Ok(false);
        }
        let read = || Sizes::read(self.destination, self.claims?).ok();
        if !self.sizes.get_or_init(read).as_ref().is_some_and(|sizes| sizes.may_be(path, metadata.len())) {
            return Ok(true);
        }
        let job = Job { path, sha256: *sha256, size: metadata.len() };
        let compared = compare_file(&self.root, &job, &mut vec![0; CHUNK], &Silent);
        Ok(!matches!(compared, Ok(Outcome::Same | Outcome::Missing)))
    }

    fn is_link_of_install(&self, path: &[u8], target: &Path) -> bool {
        if let Some(claims) = self.claims {
            let is_own = claims.links.iter().any(|(link, _)| link.as_bytes() == path);
            let judgement = claims.judge_link(path, target.as_os_str().as_bytes());
            if is_own || !matches!(judgement, Judgement::Unknown) {
                return true;
            }
        }
        let Some(shared) = &self.made.shared else { return false };
        let link = self.destination.join(std::ffi::OsStr::from_bytes(path));
        plain(&link.parent().unwrap_or(&link).join(target)).starts_with(shared)
    }
}

/// When the bytes of a file were last changed. Linking a file changes its `ctime`, so that says nothing of files with
/// several links; nobody sets it, while some programs set `mtime` back.
fn changed_at(metadata: &std::fs::Metadata) -> (i64, i64) {
    match metadata.nlink() {
        1 => (metadata.ctime(), metadata.ctime_nsec()),
        _ => (metadata.mtime(), metadata.mtime_nsec()),
    }
}
