//! What must hold of the wheels before an artifact is written: each is true to its RECORD, and those of one target can
//! be installed together.
//!
//! pip lets the later of two wheels overwrite the earlier one's files, and a release then depends on an order that
//! nobody chose. Here two wheels that write one path are refused, unless they write the same bytes, as the
//! `__init__.py` of old namespace packages are.

mod collisions;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err as fs;
use memmap2::Mmap;
use wheelbarrow_artifact::manifest::{Sha256, Unpacked};
use wheelbarrow_artifact::progress::{Progress, Unit};
use wheelbarrow_artifact::wheel::{OpenWheel, WheelError};
use wheelbarrow_artifact::zip::ZipError;
use wheelbarrow_wheel::tags::{CompatibleTags, Platform, required_platform};

use collisions::Claims;

/// A wheel that goes into the artifact.
pub use crate::gather::GatheredWheel as PackedWheel;

/// What the artifact is for, and which wheels that takes.
#[derive(Clone, Debug)]
pub struct PackedTarget {
    /// `3.12`.
    pub python: String,
    /// `cp312`.
    pub abi: String,
    /// The system that the wheels were chosen for.
    pub platform: Platform,
    pub wheels: Vec<PackedWheel>,
    pub pip: PackedWheel,
}

/// What the check found out about one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The narrowest tag that its wheels need.
    pub platform: String,
    /// The wheels alone.
    pub unpacked: Unpacked,
}

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("cannot read the wheel {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Wheel(#[from] WheelError),
    #[error("{first} and {second} both write {path}, and not the same")]
    Collision { first: String, second: String, path: String },
    #[error("{first} writes {first_path}, and {second} writes {second_path}: the names differ only by case")]
    Case { first: String, second: String, first_path: String, second_path: String },
    #[error("{first} writes the file {path}, and {second} writes into a directory of that name")]
    FileAndDirectory { first: String, second: String, path: String },
    #[error("the wheel {wheel} does not fit Python {python}")]
    Unfit { wheel: String, python: String, source: wheelbarrow_wheel::Error },
    #[error("two different wheels are called {filename}")]
    TwoOfOneName { filename: String },
    #[error("cannot unpack {path} of {wheel}")]
    Unpack { wheel: String, path: String, source: ZipError },
}

impl CheckError {
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Collision { .. } | Self::Case { .. } | Self::FileAndDirectory { .. } => {
                "only one of them can be installed: leave the other out of the requirements, or take versions of them \
                 that agree"
                    .to_owned()
            }
            Self::Wheel(WheelError::Record { .. }) => {
                "the wheel was altered after it was made, or made by a broken tool: take another version of it".to_owned()
            }
            Self::TwoOfOneName { .. } => "they were built for different systems: build one artifact for each".to_owned(),
            _ => return None,
        })
    }

    /// As docs/exit-codes.md says.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. } => 1,
            Self::Wheel(_) | Self::Unpack { .. } => 3,
            _ => 8,
        }
    }
}

/// A wheel, mapped.
struct Mapped<'a> {
    wheel: &'a PackedWheel,
    map: Mmap,
}

/// Where a file system remembers which wheels were compared with their RECORD; each costs as much as unpacking it.
struct Remembered<'a> {
    cache: Option<&'a Path>,
}

/// Looks at every wheel of every target. `pth` is the name of the file that puts the code on `sys.path`; `cache`
/// remembers what need not be looked at twice.
pub fn check(
    targets: &[PackedTarget],
    pth: &str,
    cache: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Vec<Checked>, CheckError> {
    let mapped = map_wheels(targets)?;
    let mut opened = BTreeMap::new();
    for (filename, mapped) in &mapped {
        opened.insert(*filename, OpenWheel::open(filename, &mapped.map)?);
    }
    check_records(&mapped, &opened, &Remembered { cache }, progress)?;
    targets.iter().map(|target| check_target(target, &opened, pth)).collect()
}

/// Each wheel once, by its name in the artifact.
fn map_wheels(targets: &[PackedTarget]) -> Result<BTreeMap<&str, Mapped<'_>>, CheckError> {
    let mut mapped: BTreeMap<&str, Mapped<'_>> = BTreeMap::new();
    for wheel in targets.iter().flat_map(|target| target.wheels.iter().chain([&target.pip])) {
        if let Some(other) = mapped.get(wheel.filename.as_str()) {
            if other.wheel.sha256 != wheel.sha256 {
                return Err(CheckError::TwoOfOneName { filename: wheel.filename.clone() });
            }
            continue;
        }
        let read_error = |source| CheckError::Read { path: wheel.path.clone(), source };
        let file = fs::File::open(&wheel.path).map_err(read_error)?;
        // SAFETY: the map is read-only, and files of the cache are replaced by renaming, never written to in place.
        let map = unsafe { Mmap::map(file.file()) }.map_err(read_error)?;
        mapped.insert(&wheel.filename, Mapped { wheel, map });
    }
    Ok(mapped)
}

/// On all cores, those that were not looked at before.
fn check_records(
    mapped: &BTreeMap<&str, Mapped<'_>>,
    opened: &BTreeMap<&str, OpenWheel<'_>>,
    remembered: &Remembered<'_>,
    progress: &dyn Progress,
) -> Result<(), CheckError> {
    let mut fresh: Vec<_> =
        mapped.values().map(|mapped| mapped.wheel).filter(|wheel| !remembered.has(wheel.sha256)).collect();
    fresh.sort_by_key(|wheel| std::cmp::Reverse(wheel.size));
    progress.begin("checking wheels", fresh.iter().map(|wheel| wheel.size).sum(), Unit::Bytes);
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..wheelbarrow_artifact::threads() {
            scope.spawn(|| {
                while let Some(wheel) = fresh.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match opened[wheel.filename.as_str()].check_record() {
                        Ok(()) => remembered.keep(wheel.sha256),
                        Err(error) => {
                            failure
                                .lock()
                                .unwrap_or_else(std::sync::PoisonError::into_inner)
                                .get_or_insert(error);
                            next.store(fresh.len(), Ordering::Relaxed);
                        }
                    }
                    progress.advance(wheel.size);
                }
            });
        }
    });
    progress.end();
    match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

impl Remembered<'_> {
    fn path(&self, sha256: Sha256) -> Option<PathBuf> {
        let hex = sha256.to_string();
        Some(self.cache?.join("checked").join(&hex[..2]).join(hex))
    }

    fn has(&self, sha256: Sha256) -> bool {
        self.path(sha256).is_some_and(|path| path.exists())
    }

    /// Not being able to only means to look again next time.
    fn keep(&self, sha256: Sha256) {
        if let Some((path, parent)) = self.path(sha256).as_ref().and_then(|path| Some((path, path.parent()?)))
        {
            let _ = fs::create_dir_all(parent).and_then(|()| fs::write(path, ""));
        }
    }
}

fn check_target(
    target: &PackedTarget,
    opened: &BTreeMap<&str, OpenWheel<'_>>,
    pth: &str,
) -> Result<Checked, CheckError> {
    let (major, minor) = target.version();
    let tags = CompatibleTags::new((major, minor), &target.abi, &target.platform);
    let wheels: Vec<_> = target.wheels.iter().map(|wheel| &opened[wheel.filename.as_str()]).collect();
    for wheel in &wheels {
        fits(wheel, &tags, target)?;
    }
    let filenames = wheels.iter().map(|wheel| wheel.filename());
    let platform = required_platform(filenames, &tags, target.platform.libc()).map_err(|source| {
        CheckError::Unfit { wheel: "of this target".to_owned(), python: target.python.clone(), source }
    })?;
    let mut claims = Claims::new(target, pth);
    for wheel in &wheels {
        claims.wheel(wheel)?;
    }
    // A site that depends on pip brings its own.
    if wheels.iter().all(|wheel| wheel.filename().name != "pip") {
        claims.pip(&opened[target.pip.filename.as_str()])?;
    }
    let unpacked = claims.finish()?;
    Ok(Checked { platform, unpacked })
}

fn fits(wheel: &OpenWheel<'_>, tags: &CompatibleTags, target: &PackedTarget) -> Result<(), CheckError> {
    if tags.rank(wheel.filename()).is_some() {
        return Ok(());
    }
    let filename = wheel.filename().to_string();
    let source = wheelbarrow_wheel::Error::Unfit { filename: filename.clone() };
    Err(CheckError::Unfit { wheel: filename, python: target.python.clone(), source })
}

impl PackedTarget {
    /// Major and minor.
    pub fn version(&self) -> (u32, u32) {
        let (major, minor) = self.python.split_once('.').unwrap_or((&self.python, "0"));
        (major.parse().unwrap_or(3), minor.parse().unwrap_or(0))
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
