//! Compares an install with its own records: finds changed, missing and extra files.
//!
//! The receipt names the sums, the sums name every file, and the manifest among them names the links of the
//! project. The links of the virtualenv follow from the interpreter in the receipt. Nothing signs the
//! receipt: this finds accidental changes, not those of an attacker who also rewrote the receipt.

mod claims;
mod data;
mod sizes;
mod walk;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sha2::Digest;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::beneath::{Directory, is_missing};
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_wheel::order;

use self::claims::{Claims, LinkJudgement, PYTHON};
pub use self::data::{ForeignData, KnownFiles, changed_databases, data, data_files, made_files};
use self::sizes::FileSizes;
use self::walk::{FoundFile, Walk, walk};
use crate::InstallError;

/// How much is read at once: it fits into the cache of a core.
const CHUNK: usize = 256 << 10;

/// Files from this size on are hashed first, so that no core is left alone with one at the end.
const LARGE: u64 = 1 << 20;

/// How an install differs from what was installed. Paths are below the destination, ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verification {
    pub destination: PathBuf,
    /// How many files and links were compared.
    pub files: usize,
    /// Other bytes, another target of a link, or not even the same kind of thing.
    pub changed: Vec<String>,
    pub missing: Vec<String>,
    /// In the destination, and of nobody. Directories, environment.json and bytecode in `__pycache__` do not count.
    pub extra: Vec<String>,
    /// Whether there are more of these than there is room for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_more: bool,
}

impl Verification {
    /// Calls the Python of the virtualenv missing if its link leads nowhere: the interpreter is not of the install, and may be
    /// gone.
    pub fn find_python(&mut self) {
        let is_known =
            [&self.missing, &self.changed].iter().any(|paths| paths.iter().any(|path| path == PYTHON));
        if !is_known && is_missing(&self.destination.join(PYTHON)) {
            self.missing.push(PYTHON.to_owned());
            order::sort(&mut self.missing);
        }
    }

    pub fn is_clean(&self) -> bool {
        self.changed.is_empty() && self.missing.is_empty() && self.extra.is_empty() && !self.has_more
    }
}

/// Reads every file of the install at `destination` once, on all cores.
pub fn verify(destination: &Path, progress: &dyn Progress) -> Result<Verification, InstallError> {
    verify_but(destination, &BTreeSet::new(), progress)
}

/// The same; what is in the directories `left_out`, which are below the destination, and is not of the install, is not looked at.
pub fn verify_but(
    destination: &Path,
    left_out: &BTreeSet<PathBuf>,
    progress: &dyn Progress,
) -> Result<Verification, InstallError> {
    let root = claims::open(destination)?;
    let claims = Claims::read(destination, &root)?;
    let sizes = FileSizes::read(&root, &claims);
    let Walk { mut found, has_more } = walk(destination, &root, &claims, left_out)?;
    let mut verification = Verification {
        destination: destination.to_path_buf(),
        files: claims.files.len(),
        has_more,
        ..Default::default()
    };

    let mut files = Vec::with_capacity(claims.files.len());
    for (path, sha256) in &claims.files {
        match found.remove(path.as_bytes()) {
            Some(FoundFile::File { size }) if sizes.may_be(path, size) => {
                files.push(VerifyJob { path, sha256: *sha256, size });
            }
            Some(_) => verification.changed.push(path.clone()),
            None => verification.missing.push(path.clone()),
        }
    }
    compare(&root, files, &mut verification, progress)?;
    compare_links(&claims, &mut found, &mut verification);
    verification.extra = found.into_keys().map(|path| String::from_utf8_lossy(&path).into_owned()).collect();
    for paths in [&mut verification.changed, &mut verification.missing, &mut verification.extra] {
        order::sort(paths);
    }
    Ok(verification)
}

/// A file to be hashed.
struct VerifyJob<'c> {
    path: &'c str,
    sha256: Sha256,
    /// Bytes, when it was looked at.
    size: u64,
}

/// What a file was found to be.
#[derive(Debug)]
enum FileOutcome {
    Same,
    Changed,
    Missing,
}

/// Hashes the files, by one thread a core.
fn compare(
    root: &Directory,
    mut jobs: Vec<VerifyJob<'_>>,
    verification: &mut Verification,
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    // The others stay in the order of their paths, those of a directory together.
    order::sort_by_key(&mut jobs, |job| std::cmp::Reverse(if job.size >= LARGE { job.size } else { 0 }));
    progress.begin("comparing", jobs.iter().map(|job| job.size).sum(), Unit::Bytes);
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let destination = verification.destination.clone();
    let different = Mutex::new(verification);
    wheelbarrow_artifact::on_all_cores(|| {
        let mut buffer = vec![0; CHUNK];
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            match compare_file(root, job, &mut buffer, progress) {
                Ok(FileOutcome::Same) => {}
                Ok(outcome) => {
                    let mut different = different.lock().unwrap_or_else(PoisonError::into_inner);
                    let list = match outcome {
                        FileOutcome::Missing => &mut different.missing,
                        _ => &mut different.changed,
                    };
                    list.push(job.path.to_owned());
                }
                Err(error) => {
                    let error = match error.kind() {
                        io::ErrorKind::Interrupted => InstallError::Cancelled,
                        _ => InstallError::io("read", &destination.join(job.path))(error),
                    };
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    next.store(jobs.len(), Ordering::Relaxed);
                }
            }
        }
    });
    progress.end();
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// An error of kind `Interrupted` means that somebody asked to stop.
fn compare_file(
    root: &Directory,
    job: &VerifyJob<'_>,
    buffer: &mut [u8],
    progress: &dyn Progress,
) -> io::Result<FileOutcome> {
    // Something else may have been put there since the walk, or on the way to it.
    let mut file = match root.file(job.path) {
        Ok(file) => file,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(FileOutcome::Missing),
                // No regular file, a link, or a file that somebody holds with a lease (fcntl(2)), who could keep a reader
                // waiting.
                io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory | io::ErrorKind::WouldBlock => {
                    Ok(FileOutcome::Changed)
                }
                _ => Err(error),
            };
        }
    };
    let mut hash = sha2::Sha256::new();
    let mut left = job.size;
    loop {
        if progress.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match file.read(buffer) {
            Ok(0) => break,
            // It grows.
            Ok(read) if read as u64 > left => return Ok(FileOutcome::Changed),
            Ok(read) => {
                left -= read as u64;
                hash.update(&buffer[..read]);
                progress.advance(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let same = Sha256(hash.finalize().into()) == job.sha256;
    Ok(if same { FileOutcome::Same } else { FileOutcome::Changed })
}

/// Takes the links that belong to the install out of what was found.
fn compare_links(claims: &Claims, found: &mut HashMap<Vec<u8>, FoundFile>, verification: &mut Verification) {
    for (path, sha256) in &claims.links {
        verification.files += 1;
        match found.remove(path.as_bytes()) {
            Some(FoundFile::Link { target }) if Sha256::of(&target) == *sha256 => {}
            Some(_) => verification.changed.push(path.clone()),
            None => verification.missing.push(path.clone()),
        }
    }
    if !found.contains_key(PYTHON.as_bytes()) {
        verification.missing.push(PYTHON.to_owned());
    }
    found.retain(|path, found| {
        let judgement = match found {
            FoundFile::Link { target } => claims.judge_link(path, target),
            _ if claims.is_python(path) => LinkJudgement::Changed,
            _ => LinkJudgement::Unknown,
        };
        match judgement {
            LinkJudgement::Known => verification.files += 1,
            LinkJudgement::Changed => verification.changed.push(String::from_utf8_lossy(path).into_owned()),
            LinkJudgement::Unknown => return true,
        }
        false
    });
}

#[cfg(test)]
mod tests {
    use wheelbarrow_base::progress::Silent;

    use super::*;

    #[test]
    fn what_is_exchanged_on_the_way_to_a_file_is_not_opened() {
        let place = tempfile::tempdir().unwrap();
        let root = Directory::open_following(place.path()).unwrap();
        let compare = |path| {
            let job = VerifyJob { path, sha256: Sha256::of(b""), size: 0 };
            compare_file(&root, &job, &mut [0; 10], &Silent).unwrap()
        };
        std::os::unix::fs::symlink("/dev", place.path().join("below")).unwrap();
        fs_err::create_dir(place.path().join("directory")).unwrap();
        fs_err::write(place.path().join("file"), "").unwrap();
        for (path, outcome) in
            [("below/zero", "Changed"), ("directory", "Changed"), ("file", "Same"), ("no", "Missing")]
        {
            assert_eq!(format!("{:?}", compare(path)), outcome, "{path}");
        }
    }
}
