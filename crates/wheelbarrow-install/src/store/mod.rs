//! The store: wheels unpacked once, by their SHA-256, with their bytecode, and linked into every install that
//! uses them.
//!
//! ```text
//! STORE/store.json                  {"format":1,"program":"0.1.0"}: the version that made it
//! STORE/lock                        flock: shared by installs, exclusive for the collector
//! STORE/tmp/XXXXXXXX/               work in progress, under an flock
//! STORE/wheels/SHA256/              an entry: whole, or not there
//!     index                         what is in files/
//!     files/SCHEME/...              site-packages, scripts, data or headers; read-only
//!     bytecode/SHA256/              of the pack that it was unpacked from: index and files/, likewise
//! STORE/wheels/DIGEST/              a bundled Python: the files below its `python/`
//! STORE/programs/SHA256             a native program
//! STORE/static/SHA256               a static file that was collected at build; read-only
//! ```
//!
//! An entry is made in `tmp`, synced, and renamed. An altered entry is renamed before it is removed. So every
//! entry is complete, and readers need only the file lock that excludes the collector.

mod collect;
mod compare;
mod contents;
mod fill;
mod index;
mod inventory;
mod lacking;
mod link;
mod paths;
mod programs;
mod python;
mod static_links;
mod statics;
mod transfer;
mod wanted;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::format::{self, Misread, Needed, Newer};
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_base::{
    LARGEST_TEXT, Lock, Scratch, SharedUmask, beneath, open_regular, read_limited, read_regular,
};
use wheelbarrow_wheel::order;

use crate::InstallError;
pub use crate::options::{LinkMode, StoreOptions};
pub use collect::{Collection, Removal, RemovedEntry, collect};
pub use compare::{BrokenEntry, StoreVerification, repair, verify};
pub(crate) use fill::ensure;
use index::UnusableIndex;
pub(crate) use index::{Entry, FileKind, Index, IndexFile, Kind};
pub use inventory::{Inventory, Stored, StoredBytecode, add_to_inventory, inventory};
pub(crate) use lacking::lacking;
pub use lacking::{lacking_files, lacking_wheels};
pub(crate) use link::link;
use paths::{BYTECODE, FILES, FORMAT, INDEX, PROGRAMS, STATIC, WHEELS, wheel_entry};
pub use programs::programs;
pub(crate) use python::WantedPython;
pub(crate) use static_links::StaticLinks;
pub(crate) use statics::{WantedStatics, is_kept};
pub(crate) use transfer::Transfer;
pub(crate) use wanted::{StoredPart, StoredWheel, WantedWheel, unread_members, wanted};

const FORMAT_FILE: &str = "store.json";
const LOCK: &str = "lock";
const WORK: &str = "tmp";

/// What everybody may do with an entry, whatever the umask of who made it.
const READABLE: u32 = 0o044;

/// A store under a lock.
pub struct Store {
    path: PathBuf,
    /// None for who may not change it.
    _lock: Option<Lock>,
}

/// Who else may use the store meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Others that only add, and take out what was altered.
    Shared,
    /// Nobody.
    Exclusive,
}

#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
    /// The version that made the store.
    #[serde(default)]
    program: Option<String>,
}

impl Store {
    /// Opens the store at `path` for an install, or makes one in an absent or empty directory.
    pub(crate) fn open_or_make(path: &Path) -> Result<Self, InstallError> {
        refuse_exposed(path)?;
        let _umask = SharedUmask::set();
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(InstallError::MissingParent {
                    path: path.parent().unwrap_or(path).to_path_buf(),
                });
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(InstallError::io("make the store", path)(error));
            }
            // Somebody else may have been faster.
            Err(_) => refuse_exposed(path)?,
            Ok(()) => {}
        }
        if read_format(path)? {
            return Self::open(path, Access::Shared);
        }
        let own = [LOCK, WORK, WHEELS];
        for entry in fs::read_dir(path).map_err(InstallError::io("list", path))? {
            let name = entry.map_err(InstallError::io("list", path))?.file_name();
            // Somebody may be making it at this moment.
            if !own.iter().any(|own| name == *own) && name != FORMAT_FILE {
                return Err(InstallError::ForeignStore { path: path.to_path_buf() });
            }
        }
        let store = Self { path: path.to_path_buf(), _lock: Lock::shared_file(&path.join(LOCK))? };
        for directory in [WORK, WHEELS] {
            let directory = path.join(directory);
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(InstallError::io("make the directory", &directory)(error));
                }
                _ => {}
            }
        }
        store.clean()?;
        let scratch = store.scratch()?;
        let (draft, format) = (scratch.path().join(FORMAT_FILE), path.join(FORMAT_FILE));
        let about = Format { format: FORMAT, program: Some(format::PROGRAM.to_owned()) };
        let text =
            serde_json::to_vec(&about).map_err(|error| InstallError::io("write", &format)(error.into()))?;
        fs::write(&draft, text).map_err(InstallError::io("write", &format))?;
        fs::rename(&draft, &format).map_err(InstallError::io("write", &format))?;
        Ok(store)
    }

    /// Opens a store that must be there.
    pub fn open(path: &Path, access: Access) -> Result<Self, InstallError> {
        refuse_exposed(path)?;
        if !read_format(path)? {
            return Err(InstallError::NoStore { path: path.to_path_buf() });
        }
        let lock = path.join(LOCK);
        let lock = match access {
            Access::Shared => Lock::shared_file(&lock)?,
            Access::Exclusive => Some(Lock::file(&lock)?),
        };
        let store = Self { path: path.to_path_buf(), _lock: lock };
        store.clean()?;
        Ok(store)
    }

    /// Removes what runs that died have left.
    fn clean(&self) -> Result<(), InstallError> {
        Ok(Scratch::clean(&self.path.join(WORK))?)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory on the store's file system, to make entries in.
    fn scratch(&self) -> Result<Scratch, InstallError> {
        Ok(Scratch::begin(&self.path.join(WORK))?)
    }

    /// The SHA-256 of every wheel that has an entry, ordered.
    fn wheels(&self) -> Result<Vec<Sha256>, InstallError> {
        names(&self.path.join(WHEELS))
    }

    /// The SHA-256 of every pack that is unpacked beside a wheel.
    fn packs(&self, wheel: Sha256) -> Result<Vec<Sha256>, InstallError> {
        names(&self.path.join(wheel_entry(wheel)).join(BYTECODE))
    }

    /// Reads the index of an entry; `Ok(Err)` says what is wrong with it, `None` that there is no such entry.
    fn index(&self, entry: &str) -> Result<Option<Result<Index, String>>, InstallError> {
        let path = self.path.join(entry).join(INDEX);
        match read_index(&path) {
            Ok((_, mode)) if mode & READABLE != READABLE => Ok(Some(Err(format!(
                "its files cannot be read by others: the mode of its index is {mode:04o}"
            )))),
            Ok((bytes, _)) => match Index::parse(bytes) {
                Ok(index) => Ok(Some(Ok(index))),
                Err(UnusableIndex::Altered(what)) => Ok(Some(Err(what))),
                Err(UnusableIndex::Newer(what)) => {
                    Err(Newer { path: self.path.join(entry), what, needed: Needed::of(None) }.into())
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // An entry without an index was altered.
                let stands = fs::symlink_metadata(self.path.join(entry)).is_ok();
                Ok(stands.then(|| Err("its index is missing".to_owned())))
            }
            Err(error) => Err(InstallError::io("read", &path)(error)),
        }
    }

    /// What a file of an entry holds, compared with the index.
    pub(crate) fn read(
        &self,
        entry: &Entry,
        directory: &str,
        file: &IndexFile,
    ) -> Result<Vec<u8>, InstallError> {
        let inside = format!("{directory}/{}", entry.index.name(file));
        let path = self.path.join(&entry.path).join(FILES).join(&inside);
        match read_regular(&path, file.size) {
            Ok(contents) if Sha256::of(&contents) == file.sha256 => Ok(contents),
            Ok(_) => Err(self.altered(entry, &format!("{inside} was changed"))),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(self.altered(entry, &format!("{inside} was changed")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(self.altered(entry, &format!("{inside} is missing")))
            }
            Err(error) => Err(InstallError::io("read", &path)(error)),
        }
    }

    pub(crate) fn altered(&self, entry: &Entry, what: &str) -> InstallError {
        InstallError::AlteredStore { entries: vec![(entry.path.clone(), what.to_owned())] }
    }

    /// Takes entries out of use that cannot be trusted any more, and says so.
    pub(crate) fn drop_altered(
        &self,
        entries: &[(String, String)],
        progress: &dyn Progress,
    ) -> Result<(), InstallError> {
        if let Some((entry, what)) = entries.first() {
            let path = self.path.join(entry);
            let others = match entries.len() - 1 {
                0 => String::new(),
                others => format!(", and so are {others} other entries"),
            };
            progress.note(&format!("{} is taken out of use: {what}{others}", path.display()));
        }
        entries.iter().try_for_each(|(entry, _)| self.drop_entry(entry))
    }

    /// Takes an entry out of use, then removes it. Another process may have been faster.
    fn drop_entry(&self, entry: &str) -> Result<(), InstallError> {
        let scratch = self.scratch()?;
        let path = self.path.join(entry);
        match fs::rename(&path, scratch.path().join("dropped")) {
            // A directory of a lower layer of overlayfs.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                remove_in_place(&path).map_err(InstallError::io("remove", &path))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(InstallError::io("take out of use", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Removes an entry that cannot be moved. The index goes first: without it nobody takes the rest for an entry. A run that was
/// killed may have removed a part already.
fn remove_in_place(path: &Path) -> io::Result<()> {
    let or_gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    or_gone(fs::remove_file(path.join(INDEX)))?;
    or_gone(fs::remove_dir_all(path))
}

/// The bytes and the mode of an index, which was made with all of its entry.
fn read_index(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let file = open_regular(path)?;
    let mode = file.metadata()?.mode() & 0o777;
    Ok((read_limited(file, LARGEST_TEXT)?, mode))
}

/// Refuses to work as root in a store that somebody else could exchange, or put a link into: what is read there is installed, and
/// what is written and removed could be somebody else's.
pub(crate) fn refuse_exposed(path: &Path) -> Result<(), InstallError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for directory in [WORK, WHEELS, PROGRAMS, STATIC] {
        let exposure =
            beneath::exposure_of(&path.join(directory)).map_err(InstallError::io("look at", path))?;
        if let Some(reason) = exposure {
            return Err(InstallError::UntrustedStore { path: path.to_path_buf(), reason });
        }
    }
    Ok(())
}

/// Refuses a store of a later format.
pub fn check_format(path: &Path) -> Result<(), InstallError> {
    refuse_exposed(path)?;
    read_format(path).map(drop)
}

/// Whether there is a store; its format must be known.
fn read_format(path: &Path) -> Result<bool, InstallError> {
    let file = path.join(FORMAT_FILE);
    let text = match read_regular(&file, LARGEST_TEXT) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(InstallError::NotDirectory { path: path.to_path_buf(), what: "a file" });
        }
        Err(error) => return Err(InstallError::io("read", &file)(error)),
    };
    match format::read_own(&file, &text, FORMAT) {
        Ok(Format { format: FORMAT, .. }) => Ok(true),
        Ok(Format { format, .. }) => {
            Err(InstallError::io("understand", &file)(io::Error::other(format!("it has format {format}"))))
        }
        Err(Misread::Newer(newer)) => Err(newer.into()),
        Err(Misread::Wrong(error)) => Err(InstallError::io("understand", &file)(error.into())),
    }
}

/// The names in a directory that are SHA-256s; none where it is missing.
fn names(directory: &Path) -> Result<Vec<Sha256>, InstallError> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(InstallError::io("list", directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(InstallError::io("list", directory))?;
        found.extend(entry.file_name().to_str().and_then(Sha256::from_hex));
    }
    order::sort(&mut found);
    Ok(found)
}
