//! Files of releases by their content: code, static files and the packs of the project's bytecode, each under
//! the path of its member. Files that were added to a release or altered are not among them: a file counts
//! after its bytes were compared with the manifest.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;

use sha2::Digest;
use wheelbarrow_artifact::in_parallel;
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, Manifest, Member, MemberKind, Sha256};
use wheelbarrow_artifact::thin::is_of_project;
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_base::json;

use crate::root::release::CompleteRelease;
use crate::stage::rebuilt_artifact::BYTECODE;
use crate::{ReleaseError, Root};

/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// A file of a release, or a link, whose target is what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReleaseFile {
    /// The release.
    release: PathBuf,
    /// Below it.
    path: String,
    pub(crate) is_link: bool,
}

impl ReleaseFile {
    /// For errors.
    pub(crate) fn path(&self) -> PathBuf {
        self.release.join(&self.path)
    }

    /// The bytes of a file, to be read.
    pub(crate) fn open(&self) -> io::Result<File> {
        Directory::open(&self.release)?.on_one_mount().file(&self.path)
    }

    /// The target of a link.
    pub(crate) fn target(&self) -> io::Result<Vec<u8>> {
        Ok(Directory::open(&self.release)?.on_one_mount().read_link(&self.path)?.into_encoded_bytes())
    }
}

/// Which contents are looked for.
pub(crate) enum WantedFiles {
    All,
    These(BTreeSet<Sha256>),
}

/// The files that complete releases have of what is wanted, one for each contents. The newest releases come first.
pub(crate) fn find(root: &Root, wanted: &WantedFiles) -> Result<HashMap<Sha256, ReleaseFile>, ReleaseError> {
    let mut found = HashMap::new();
    for release in root.found()?.into_iter().rev().filter_map(|found| found.complete) {
        let Some(manifest) = manifest_of(&release)? else { continue };
        let mut candidates: HashMap<Sha256, &Member> = HashMap::new();
        for member in manifest.members.iter().filter(|member| stands_in_release(&member.path)) {
            let is_wanted = match wanted {
                WantedFiles::All => true,
                WantedFiles::These(these) => these.contains(&member.sha256),
            };
            if is_wanted && !found.contains_key(&member.sha256) {
                candidates.insert(member.sha256, member);
            }
        }
        let candidates: Vec<_> = candidates.into_values().collect();
        for (member, file) in
            candidates.iter().zip(in_parallel(&candidates, |member| compare(&release, member)))
        {
            found.extend(file?.map(|file| (member.sha256, file)));
        }
    }
    Ok(found)
}

/// None where it is not that of the artifact any more.
fn manifest_of(release: &CompleteRelease) -> Result<Option<Manifest>, ReleaseError> {
    let text = release.read_if_there(MANIFEST_PATH)?;
    let text = text.filter(|text| Sha256::of(text) == release.record.manifest_sha256);
    Ok(text.and_then(|text| json::from_slice(&text).ok()))
}

fn stands_in_release(path: &str) -> bool {
    is_of_project(path) || path.strip_prefix(BYTECODE).is_some_and(|rest| rest.starts_with('/'))
}

/// The member as the release has it; none where it is not there or another. Some of a release is its site's to write,
/// so no link is followed.
fn compare(release: &CompleteRelease, member: &Member) -> Result<Option<ReleaseFile>, ReleaseError> {
    let is_link = member.kind == MemberKind::Link;
    let file = ReleaseFile { release: release.path().to_path_buf(), path: member.path.clone(), is_link };
    let sha256 = match is_link {
        true => file.target().map(|target| Some(Sha256::of(&target))),
        false => file.open().and_then(|file| match file.metadata()?.len() == member.size {
            true => hash(file, member.size),
            false => Ok(None),
        }),
    };
    match sha256 {
        Ok(sha256) => Ok((sha256 == Some(member.sha256)).then_some(file)),
        Err(error) if is_another(&error) => Ok(None),
        Err(error) => Err(ReleaseError::io("read", &file.path())(error)),
    }
}

/// Whether it says that something of another kind is there, or nothing, or a mount point, or a file that somebody holds with a
/// lease (fcntl(2)), who could keep a reader waiting.
fn is_another(error: &io::Error) -> bool {
    use ErrorKind::{
        InvalidData, InvalidInput, IsADirectory, NotADirectory, NotFound, ResourceBusy, WouldBlock,
    };
    let kinds = [NotFound, NotADirectory, IsADirectory, WouldBlock, ResourceBusy, InvalidData, InvalidInput];
    kinds.contains(&error.kind())
}

/// None of a file that has more than `size` bytes: its owner may write while it is read, and for ever.
fn hash(file: impl Read, size: u64) -> io::Result<Option<Sha256>> {
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut left = size;
    let mut file = file.take(size.saturating_add(1));
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Some(Sha256(hash.finalize().into())));
        }
        let Some(rest) = left.checked_sub(read as u64) else { return Ok(None) };
        left = rest;
        hash.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_grows_while_it_is_read_is_another() {
        assert_eq!(hash(io::repeat(0), 3).unwrap(), None);
        assert_eq!(hash(io::repeat(0), CHUNK as u64).unwrap(), None);
        assert_eq!(hash(&b"abc"[..], 3).unwrap(), Some(Sha256::of(b"abc")));
    }
}
