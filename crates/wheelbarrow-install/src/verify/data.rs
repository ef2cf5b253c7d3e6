//! Data of the site in an install: files that the site has written.
//!
//! Nothing removes such files without an explicit request. A file counts as installed if it is older than the
//! receipt, or if its bytes match the sums; so a database from the artifact counts as data once the site has
//! changed it. If the receipt was altered, only the virtualenv is known.

use std::cell::OnceCell;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use serde_json::{Map, Value};
use wheelbarrow_base::beneath::{Directory, is_beside};
use wheelbarrow_base::progress::Silent;

use super::claims::{self, Claims, LinkJudgement};
use super::sizes::{FileSizes, plain};
use super::walk::{OVERHEAD, below, is_bytecode, is_too_long, join, list};
use super::{CHUNK, FileOutcome, VerifyJob, compare_file};
use crate::InstallError;
use crate::layout::{ENVIRONMENT, RECEIPT_PATH};

/// How many files are named.
const NAMED: usize = 10;
/// How many are counted: whoever has to look through them needs no exact number.
const COUNTED: usize = 10_000;
/// How many files that commands have made are recorded: the others count as data.
const MADE: usize = 100_000;
/// How a file of SQLite begins.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";
/// Bytes that all paths in memory may take at once: the site chooses how many files it writes. A directory that needs more
/// counts as one that cannot be listed.
const ROOM: usize = 256 << 20;
/// The same if the number of files is limited too.
const COUNTED_ROOM: usize = 16 << 20;
/// Entries of one directory.
const ENTRIES: usize = 500_000;
/// What Wheelbarrow itself writes into an install.
const OWN: &[u8] = b".wheelbarrow";

/// Files that are not known to be made from the artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ForeignData {
    /// Paths below the install, ordered, the first few. One that ends in a slash is a directory that cannot be listed.
    pub files: Vec<String>,
    /// How many there are, counted up to ten thousand.
    pub count: usize,
}

/// What else is known to be made from the artifact.
#[derive(Clone, Debug, Default)]
pub struct KnownFiles {
    /// Directories below the install, such as the one with collected static files.
    pub directories: BTreeSet<PathBuf>,
    /// Links to what is in this directory are no data.
    pub shared: Option<PathBuf>,
    /// Files and links that commands have made, as [`made_files`] found them.
    pub files: Map<String, Value>,
}

impl ForeignData {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The names on one line: `code/db.sqlite3, code/media/a.jpg and 12 more`.
impl fmt::Display for ForeignData {
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
pub fn data(destination: &Path, made: &KnownFiles) -> Result<ForeignData, InstallError> {
    let found =
        search(destination, made, FoundData { named: NAMED, counted: COUNTED, ..FoundData::default() })?;
    Ok(ForeignData {
        files: found.names.into_iter().map(|path| String::from_utf8_lossy(&path).into_owned()).collect(),
        count: found.count,
    })
}

/// The paths of all such files, ordered. One that ends in a slash is a directory that cannot be listed.
pub fn data_files(destination: &Path, made: &KnownFiles) -> Result<Vec<PathBuf>, InstallError> {
    let all = FoundData { named: usize::MAX, counted: usize::MAX, ..FoundData::default() };
    let names = search(destination, made, all)?.names;
    Ok(names.into_iter().map(|path| OsString::from_vec(path).into()).collect())
}

/// The known files of the install, and those that were made since `begun`, in seconds and nanoseconds: the size of each, and its
/// modification time. A database is left out: it is the site's from the first write. So is a file whose new modification
/// time has whole seconds: the file system may not record the next change.
pub fn made_files(
    destination: &Path,
    known: &KnownFiles,
    begun: (i64, i64),
) -> Result<Map<String, Value>, InstallError> {
    let found = search(destination, known, FoundData { named: MADE, counted: MADE, ..FoundData::default() })?;
    let root = claims::open(destination)?;
    let mut files = known.files.clone();
    for path in found.names.into_iter().filter_map(|path| String::from_utf8(path).ok()) {
        let Ok(stat) = root.stat_at(&path) else { continue };
        let is_exact = stat.st_mtime_nsec != 0 || stat.st_mtime < begun.0;
        if changed_at(&stat) >= begun && is_exact && !may_be_database(&root, &path, &stat) {
            files.insert(path, state(&stat));
        }
    }
    Ok(files)
}

/// The databases of SQLite among these files of an install that were changed after `since`, in seconds since 1970: paths below
/// it.
pub fn changed_databases(
    destination: &Path,
    files: &[PathBuf],
    since: i64,
) -> Result<Vec<String>, InstallError> {
    let root = claims::open(destination)?;
    // A copy may keep the time of its original.
    let is_changed = |path: &str| root.stat_at(path).is_ok_and(|stat| stat.st_ctime > since);
    let is_wanted = |path: &&str| {
        // Until it is copied into the database, a change is in another file.
        (is_changed(path) || is_changed(&format!("{path}-wal"))) && is_database(&root, path).unwrap_or(false)
    };
    Ok(files.iter().filter_map(|path| path.to_str()).filter(is_wanted).map(str::to_owned).collect())
}

fn may_be_database(root: &Directory, path: &str, stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) != FileType::Symlink && is_database(root, path).unwrap_or(true)
}

fn is_database(root: &Directory, path: &str) -> io::Result<bool> {
    let mut head = [0; SQLITE.len()];
    let read = root.file(path)?.read(&mut head)?;
    Ok(head[..read] == *SQLITE)
}

fn search(destination: &Path, made: &KnownFiles, found: FoundData) -> Result<FoundData, InstallError> {
    let root = claims::open(destination)?;
    let claims = match Claims::read(destination, &root) {
        Ok(claims) => Some(claims),
        Err(InstallError::BrokenReceipt { .. }) => None,
        Err(error) => return Err(error),
    };
    let mut made = made.clone();
    match &claims {
        Some(claims) => made.directories.extend(claims.static_root.clone()),
        None => _ = made.directories.insert("venv".into()),
    }
    let installed = root.stat_at(RECEIPT_PATH).map_or((0, 0), |receipt| changed_at(&receipt));
    let (claims, sizes) = (claims.as_ref(), OnceCell::new());
    let room = if found.counted == usize::MAX { ROOM } else { COUNTED_ROOM };
    let mut search = DataSearch { destination, made: &made, claims, sizes, root, installed, found, room };
    search.run()?;
    Ok(search.found)
}

struct DataSearch<'s> {
    destination: &'s Path,
    made: &'s KnownFiles,
    /// None where the receipt was altered.
    claims: Option<&'s Claims>,
    /// Once they are wanted.
    sizes: OnceCell<FileSizes>,
    root: Directory,
    /// When the receipt was written: seconds and nanoseconds.
    installed: (i64, i64),
    found: FoundData,
    /// Bytes that are left for paths.
    room: usize,
}

#[derive(Default)]
struct FoundData {
    names: BTreeSet<Vec<u8>>,
    count: usize,
    /// How many are named at most, and counted.
    named: usize,
    counted: usize,
}

impl FoundData {
    fn add(&mut self, path: Vec<u8>) {
        self.count += 1;
        self.names.insert(path);
        if self.names.len() > self.named {
            self.names.pop_last();
        }
    }
}

impl DataSearch<'_> {
    fn run(&mut self) -> Result<(), InstallError> {
        let mut directories = VecDeque::from([Vec::new()]);
        while let Some(above) = directories.pop_front() {
            let listed = match list(&self.root, &above, ENTRIES) {
                // What this user may not list may hold anything.
                Err(error) if error.kind() == ErrorKind::PermissionDenied && !above.is_empty() => {
                    self.found.add([above, b"/".to_vec()].concat());
                    continue;
                }
                listed => listed.map_err(InstallError::io("list", &below(self.destination, &above)))?,
            };
            let Some((directory, entries, mut has_more)) = listed else { continue };
            for (name, kind) in entries {
                let path = join(&above, name.as_bytes());
                let is_directory = kind == FileType::Directory;
                if self.is_made(&path, is_directory) {
                    continue;
                }
                let Some(room) = self.room.checked_sub(path.len() + OVERHEAD) else {
                    has_more = true;
                    break;
                };
                if is_directory && is_too_long(&path) {
                    self.found.add([path, b"/".to_vec()].concat());
                } else if is_directory {
                    self.room = room;
                    directories.push_back(path);
                } else if self
                    .is_data(&path, &directory, &name)
                    .map_err(|error| InstallError::io("look at", &below(self.destination, &path))(error))?
                {
                    self.room = room;
                    self.found.add(path);
                }
                if self.found.count >= self.found.counted {
                    return Ok(());
                }
            }
            if has_more {
                self.found.add([above, b"/".to_vec()].concat());
            }
        }
        Ok(())
    }

    fn is_made(&self, path: &[u8], is_directory: bool) -> bool {
        match is_directory {
            true => path == OWN || self.made.directories.contains(Path::new(OsStr::from_bytes(path))),
            false => path == ENVIRONMENT.as_bytes() || is_beside(path, ENVIRONMENT.as_bytes()),
        }
    }

    fn is_data(&self, path: &[u8], directory: &Directory, name: &OsStr) -> io::Result<bool> {
        let stat = match directory.stat_at(name) {
            // It was removed meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            looked => looked?,
        };
        let text = std::str::from_utf8(path).ok();
        if text.and_then(|path| self.made.files.get(path)).is_some_and(|made| *made == state(&stat)) {
            return Ok(false);
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink {
            return match directory.read_link(name) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                // No link any more: what somebody has put in its place is theirs.
                Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(true),
                target => Ok(!self.is_link_of_install(path, Path::new(&target?))),
            };
        }
        // A socket or a pipe holds nothing.
        if kind != FileType::RegularFile {
            return Ok(false);
        }
        let listed = text.and_then(|path| self.claims?.files.get_key_value(path));
        let Some((path, sha256)) = listed else { return Ok(!is_bytecode(path)) };
        // Some file systems have whole seconds only: as old as the receipt may be younger.
        if changed_at(&stat) < self.installed {
            return Ok(false);
        }
        let (Some(claims), size) = (self.claims, stat.st_size.unsigned_abs()) else { return Ok(true) };
        if !self.sizes.get_or_init(|| FileSizes::read(&self.root, claims)).may_be(path, size) {
            return Ok(true);
        }
        let job = VerifyJob { path, sha256: *sha256, size };
        let compared = compare_file(&self.root, &job, &mut vec![0; CHUNK], &Silent);
        Ok(!matches!(compared, Ok(FileOutcome::Same | FileOutcome::Missing)))
    }

    fn is_link_of_install(&self, path: &[u8], target: &Path) -> bool {
        if let Some(claims) = self.claims {
            let is_own = claims.links.iter().any(|(link, _)| link.as_bytes() == path);
            let judgement = claims.judge_link(path, target.as_os_str().as_bytes());
            if is_own || !matches!(judgement, LinkJudgement::Unknown) {
                return true;
            }
        }
        let Some(shared) = &self.made.shared else { return false };
        let link = self.destination.join(OsStr::from_bytes(path));
        plain(&link.parent().unwrap_or(&link).join(target)).starts_with(shared)
    }
}

/// When the bytes of a file were last changed. Linking a file changes its `ctime`, so that says nothing of files with
/// several links; nobody sets it, while some programs set `mtime` back.
fn changed_at(stat: &Stat) -> (i64, i64) {
    match stat.st_nlink {
        1 => (stat.st_ctime, stat.st_ctime_nsec as i64),
        _ => (stat.st_mtime, stat.st_mtime_nsec as i64),
    }
}

/// What a made file is recognised by: bytes, and modification time.
fn state(stat: &Stat) -> Value {
    [stat.st_size, stat.st_mtime, stat.st_mtime_nsec as i64].as_slice().into()
}
