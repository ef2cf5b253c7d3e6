//! The bundled Python in the store: an entry like that of a wheel, with its files below `files/python`, so
//! that a second release with the same Python links them. Its name is the digest of its members in the
//! manifest.

use wheelbarrow_artifact::manifest::{INTERPRETER_FACTS, Manifest, Member, MemberKind, Sha256};
use wheelbarrow_artifact::{Artifact, VerifiedArtifact};
use wheelbarrow_base::SharedUmask;
use wheelbarrow_base::progress::Progress;

use super::Store;
use super::fill::{DraftEntry, EntryFiller, MOST_ROUNDS};
use super::index::{Entry, FileKind, Kind, NewFiles};
use super::paths::{FILES, wheel_entry};
use crate::InstallError;
use crate::plan::{Contents, PlannedFile, now};

/// What the names of such entries end with, where those of wheels end with `.whl`.
const SUFFIX: &str = ".python";

/// The Python of an artifact, as an entry of the store.
pub(crate) struct WantedPython {
    name: String,
    sha256: Sha256,
}

impl WantedPython {
    /// If the artifact brings one.
    pub(crate) fn of(manifest: &Manifest) -> Option<Self> {
        let own = manifest.interpreter.as_ref()?;
        let name = format!("cpython-{}-{}{SUFFIX}", own.version, own.machine);
        Some(Self { name, sha256: manifest.interpreter_digest() })
    }

    /// The entry, if the store has it; one that cannot be used is taken out of use.
    pub(crate) fn find(&self, store: &Store, progress: &dyn Progress) -> Result<Option<Entry>, InstallError> {
        let path = wheel_entry(self.sha256);
        let broken = match store.index(&path)? {
            None => return Ok(None),
            Some(Ok(index)) if matches!(&index.header.kind, Kind::Wheel { wheel, .. } if *wheel == self.name) =>
            {
                return Ok(Some(Entry { sha256: self.sha256, path, index }));
            }
            Some(Ok(_)) => "its index is not that of a Python".to_owned(),
            Some(Err(what)) => what,
        };
        store.drop_altered(&[(path, broken)], progress)?;
        Ok(None)
    }

    /// The members of the artifact that the entry makes unnecessary: all but what was read of it, and links.
    pub(crate) fn unread(artifact: &Artifact) -> impl Iterator<Item = String> {
        members(artifact).map(|member| member.path.clone()).filter(|path| path != INTERPRETER_FACTS)
    }

    /// The entry, which is made of the artifact if the store does not have it.
    pub(crate) fn ensure(
        &self,
        store: &Store,
        artifact: &mut VerifiedArtifact,
        progress: &dyn Progress,
    ) -> Result<Entry, InstallError> {
        // Another run may take out what this one has just made, but not forever.
        for _ in 0..MOST_ROUNDS {
            if let Some(entry) = self.find(store, progress)? {
                return Ok(entry);
            }
            let paths: Vec<String> = members(artifact).map(|member| member.path.clone()).collect();
            for path in &paths {
                artifact.verify_member(path, progress)?;
            }
            let _umask = SharedUmask::set();
            self.fill(artifact).write(store, progress)?;
        }
        Err(InstallError::RestlessStore { path: store.path().to_path_buf() })
    }

    fn fill<'a>(&self, artifact: &'a VerifiedArtifact) -> EntryFiller<'a> {
        let place = self.sha256.to_string();
        let (mut files, mut planned) = (NewFiles::new(), Vec::new());
        for member in members(artifact) {
            // Verifying has seen that it is there.
            let Some(entry) = artifact.archive().find(&member.path) else { continue };
            let executable = member.kind == MemberKind::Executable;
            let kind = if executable { FileKind::Executable } else { FileKind::Plain };
            files.insert(member.path.clone(), (kind, member.size, member.sha256));
            planned.push(PlannedFile {
                path: format!("{place}/{FILES}/{}", member.path),
                executable,
                timed: true,
                sha256: member.sha256,
                contents: Contents::Member { entry, raw: artifact.archive().raw(entry) },
            });
        }
        let kind = Kind::Wheel { wheel: self.name.clone(), dist_info: String::new(), entry_points: None };
        let entry = wheel_entry(self.sha256);
        let mut filler = EntryFiller::new(artifact, now());
        filler.add(DraftEntry { place, entry, kind, files, record: String::new() }, planned);
        filler
    }
}

/// The members that an entry has, which is all but links.
fn members(artifact: &Artifact) -> impl Iterator<Item = &Member> {
    artifact.manifest().interpreter_members().filter(|member| member.kind != MemberKind::Link)
}
