//! Static files that were collected at build, in the store by their content: `STORE/static/SHA256`. The same
//! file in several releases takes its space once.
//!
//! They have no index: the manifest has their sizes and hashes. A file is hashed before it is linked, like
//! the member of the artifact that need not be read then. Its modification time is the time of writing, so it
//! changes whenever the contents change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use fs_err as fs;
use wheelbarrow_artifact::manifest::{Manifest, Member, MemberKind, Sha256};
use wheelbarrow_artifact::{VerifiedArtifact, in_parallel};
use wheelbarrow_base::progress::Progress;
use wheelbarrow_base::{Exit, Explain, SharedUmask};
use wheelbarrow_wheel::order::Inserted;

use super::contents::sha256_of;
use super::paths::{STATIC, static_entry};
use super::{Store, names};
use crate::InstallError;
use crate::engine;
use crate::plan::{Contents, Plan, PlannedFile, now};
use crate::preflight;
use crate::writer::WriteOptions;

/// The collected static files of an artifact, each content once.
pub(crate) struct WantedStatics(Vec<WantedStatic>);

struct WantedStatic {
    sha256: Sha256,
    size: u64,
    /// Of the members with these contents.
    paths: Vec<String>,
}

impl WantedStatics {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let mut wanted: BTreeMap<Sha256, WantedStatic> = BTreeMap::new();
        for Member { path, size, sha256, .. } in of_manifest(manifest) {
            let content = || WantedStatic { sha256: *sha256, size: *size, paths: Vec::new() };
            wanted.entry(*sha256).or_insert_with(content).paths.push(path.clone());
        }
        Self(wanted.into_values().collect())
    }

    /// The contents that the store has. Altered files are taken out of use.
    pub(crate) fn find(
        &self,
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<BTreeSet<Sha256>, InstallError> {
        let (mut found, mut altered) = (BTreeSet::new(), Vec::new());
        let looks = in_parallel(&self.0, |wanted| store.look_at_static(wanted.sha256, Some(wanted.size)));
        for (wanted, look) in self.0.iter().zip(looks) {
            match look? {
                StaticFile::Whole => _ = found.insert(wanted.sha256),
                StaticFile::Missing => {}
                StaticFile::Altered => {
                    altered.push((static_entry(wanted.sha256), "it was changed".to_owned()));
                }
            }
        }
        match store.drop_altered(&altered, progress) {
            // Nothing of it is used; who owns the store puts it right.
            Err(error) if error.exit() == Exit::Refused => Ok(found),
            dropped => dropped.map(|()| found),
        }
    }

    /// The members of the artifact that `found` makes unnecessary.
    pub(crate) fn unread(&self, found: &BTreeSet<Sha256>) -> impl Iterator<Item = String> {
        self.0.iter().filter(|wanted| found.contains(&wanted.sha256)).flat_map(|wanted| wanted.paths.clone())
    }

    /// Writes what the store lacks; gives the contents that it has then. `known` is what was just found there.
    pub(crate) fn ensure(
        &self,
        store: &Store,
        artifact: &mut VerifiedArtifact,
        known: Option<BTreeSet<Sha256>>,
        progress: &dyn Progress,
    ) -> Result<BTreeSet<Sha256>, InstallError> {
        let mut found = match known {
            Some(known) => known,
            None => self.find(store, progress)?,
        };
        let missing: Vec<_> = self.0.iter().filter(|wanted| !found.contains(&wanted.sha256)).collect();
        for path in missing.iter().filter_map(|wanted| wanted.paths.first()) {
            artifact.verify_member(path, progress)?;
        }
        match store.write_statics(artifact, &missing, progress) {
            // It is somebody else's store: the files are written into the install.
            Err(error) if error.exit() == Exit::Refused => return Ok(found),
            written => written?,
        }
        found.extend(missing.iter().map(|wanted| wanted.sha256));
        Ok(found)
    }

    /// Only those of these contents.
    pub(super) fn only(mut self, sha256: Sha256) -> Option<Self> {
        self.0.retain(|wanted| wanted.sha256 == sha256);
        (!self.0.is_empty()).then_some(self)
    }
}

/// The members of an artifact that are kept by their content. An executable file is none: its mode would be that of all.
pub(super) fn of_manifest(manifest: &Manifest) -> impl Iterator<Item = &Member> {
    manifest.members.iter().filter(|member| is_kept(manifest, member))
}

pub(crate) fn is_kept(manifest: &Manifest, member: &Member) -> bool {
    member.kind == MemberKind::File && manifest.project.is_collected(&member.path)
}

/// What there is of a static file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StaticFile {
    Whole,
    Missing,
    Altered,
}

impl Store {
    /// The SHA-256 of every static file, ordered.
    pub(super) fn statics(&self) -> Result<Vec<Sha256>, InstallError> {
        names(&self.path.join(STATIC))
    }

    /// Compares a file with its name. One of another size than `size` is not read.
    pub(super) fn look_at_static(
        &self,
        sha256: Sha256,
        size: Option<u64>,
    ) -> Result<StaticFile, InstallError> {
        let path = self.path.join(static_entry(sha256));
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(StaticFile::Missing),
            Err(error) => return Err(InstallError::io("look at", &path)(error)),
        };
        if !metadata.is_file() || size.is_some_and(|size| size != metadata.len()) {
            return Ok(StaticFile::Altered);
        }
        match sha256_of(&path) {
            Ok(found) if found == sha256 => Ok(StaticFile::Whole),
            Ok(_) => Ok(StaticFile::Altered),
            // Another run has just taken it out.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(StaticFile::Missing),
            Err(error) => Err(InstallError::io("read", &path)(error)),
        }
    }

    fn write_statics(
        &self,
        artifact: &VerifiedArtifact,
        missing: &[&WantedStatic],
        progress: &dyn Progress,
    ) -> Result<(), InstallError> {
        let files = missing.iter().filter_map(|wanted| {
            // Verifying has seen that it is there.
            let entry = artifact.archive().find(wanted.paths.first()?)?;
            Some(PlannedFile {
                path: wanted.sha256.to_string(),
                executable: false,
                timed: true,
                sha256: wanted.sha256,
                contents: Contents::Member { entry, raw: artifact.archive().raw(entry) },
            })
        });
        let plan = Plan { files: files.collect(), time: now(), ..Plan::default() };
        if plan.files.is_empty() {
            return Ok(());
        }
        // Another install links what this one makes.
        let _umask = SharedUmask::set();
        let directory = self.path.join(STATIC);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(InstallError::io("make the directory", &directory)(error));
            }
            _ => {}
        }
        let scratch = self.scratch()?;
        preflight::check_space(scratch.path(), &plan)?;
        engine::execute(
            &plan,
            artifact,
            scratch.directory(),
            scratch.path(),
            &WriteOptions::of_store(None),
            progress,
        )?;
        rustix::fs::syncfs(scratch.directory())
            .map_err(|errno| InstallError::io("sync", self.path())(errno.into()))?;
        for file in &plan.files {
            let path = directory.join(&file.path);
            fs::rename(scratch.path().join(&file.path), &path).map_err(InstallError::io("write", &path))?;
        }
        Ok(())
    }
}

/// The contents that an install of a manifest takes from a store.
pub(super) fn contents_of(manifest: &Manifest) -> BTreeSet<Sha256> {
    of_manifest(manifest).map(|member| member.sha256).inserted()
}
