//! Files of releases, by what they hold: code, static files and the packs of the project's bytecode, each under the path of
//! its member. What a release has been given beside them, and what somebody has altered, is none of them: a file counts
//! once its bytes were compared with the manifest.

use std::collections::{BTreeSet, HashMap};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use fs_err as fs;
use sha2::Digest;
use wheelbarrow_artifact::in_parallel;
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, Manifest, Member, MemberKind, Sha256};
use wheelbarrow_artifact::thin::is_of_project;

use crate::release::CompleteRelease;
use crate::remake::BYTECODE;
use crate::{ReleaseError, Root};

/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// A file of a release, or a link, whose target is what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) path: PathBuf,
    pub(crate) is_link: bool,
}

/// Which contents are looked for.
pub(crate) enum Wanted {
    All,
    These(BTreeSet<Sha256>),
}

/// The files that complete releases have of what is wanted, one for each contents. The newest releases come first.
pub(crate) fn held(root: &Root, wanted: &Wanted) -> Result<HashMap<Sha256, Held>, ReleaseError> {
    let mut found = HashMap::new();
    for release in root.found()?.into_iter().rev().filter_map(|found| found.complete) {
        let Some(manifest) = manifest_of(&release)? else { continue };
        let mut candidates: HashMap<Sha256, &Member> = HashMap::new();
        for member in manifest.members.iter().filter(|member| stands_in_release(&member.path)) {
            let is_wanted = match wanted {
                Wanted::All => true,
                Wanted::These(these) => these.contains(&member.sha256),
            };
            if is_wanted && !found.contains_key(&member.sha256) {
                candidates.insert(member.sha256, member);
            }
        }
        let candidates: Vec<_> = candidates.into_values().collect();
        for (member, held) in
            candidates.iter().zip(in_parallel(&candidates, |member| compare(&release, member)))
        {
            found.extend(held?.map(|held| (member.sha256, held)));
        }
    }
    Ok(found)
}

/// None where it is not that of the artifact any more.
fn manifest_of(release: &CompleteRelease) -> Result<Option<Manifest>, ReleaseError> {
    let path = release.path().join(MANIFEST_PATH);
    match fs::read(&path) {
        Ok(text) if Sha256::of(&text) == release.record.manifest_sha256 => {
            Ok(serde_json::from_slice(&text).ok())
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ReleaseError::io("read", &path)(error)),
    }
}

fn stands_in_release(path: &str) -> bool {
    is_of_project(path) || path.strip_prefix(BYTECODE).is_some_and(|rest| rest.starts_with('/'))
}

/// The member as the release has it; none where it is not there or another.
fn compare(release: &CompleteRelease, member: &Member) -> Result<Option<Held>, ReleaseError> {
    let path = release.path().join(&member.path);
    let is_link = member.kind == MemberKind::Link;
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(ReleaseError::io("look at", &path)(error)),
    };
    let sha256 = match is_link {
        true if metadata.is_symlink() => {
            let target = fs::read_link(&path).map_err(ReleaseError::io("read the link", &path))?;
            Sha256::of(target.as_os_str().as_encoded_bytes())
        }
        false if metadata.is_file() && metadata.len() == member.size => hash(&path)?,
        _ => return Ok(None),
    };
    Ok((sha256 == member.sha256).then_some(Held { path, is_link }))
}

fn hash(path: &Path) -> Result<Sha256, ReleaseError> {
    let mut file = fs::File::open(path).map_err(ReleaseError::io("open", path))?;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer).map_err(ReleaseError::io("read", path))? {
            0 => return Ok(Sha256(hash.finalize().into())),
            read => hash.update(&buffer[..read]),
        }
    }
}
