//! Opens and verifies artifacts.
//!
//! [`Artifact::open`] reads the directory and the manifest and refuses an artifact in which they disagree.
//! [`Artifact::verify`] reads every byte once and returns the [`VerifiedArtifact`] that an install requires.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::UncheckedAdvice;
use sha2::Digest;
use wheelbarrow_base::MappedFile;
use wheelbarrow_base::json;
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_wheel::order::{self, Inserted};

use crate::error::{ArtifactError, Distrust};
use crate::format::{self, Misread};
use crate::head;
use crate::manifest::{self, FORMAT, MANIFEST_PATH, Manifest, Member, MemberKind, Sha256};
use crate::rules;
use crate::thin::{self, THIN_PATH};
use crate::tree::Tree;
use crate::zip::{Archive, DosTime, Entry, Inflater, Method, WriteError, ZipWriter};

/// Where the optional signature stands.
pub const SIGNATURE_PATH: &str = ".wheelbarrow/manifest.json.sig";

/// Where the lines in front of the zip stand once more, without the last end, so that the manifest covers them. Artifacts of before 0.2 have
/// no such member.
pub const SHEBANG_PATH: &str = ".wheelbarrow/shebang";

/// The first line that an artifact has if nobody asks for another.
pub const SHEBANG: &str = "#!/usr/bin/env python3";

/// No manifest is larger: 65,535 members of a few hundred bytes.
const LARGEST_MANIFEST: u64 = 32 << 20;

/// Several times that of an RSA key of 16,384 bits.
const LARGEST_SIGNATURE: u64 = 64 << 10;

/// A link with a larger target is refused in any case.
const LARGEST_TARGET: u64 = 64 << 10;

/// How much is hashed between two looks at the clock. It stays in the processor's own memory between both sums of it.
const CHUNK: usize = 256 << 10;

/// How much of the file may be read until its pages are let go of. Doing that stops every thread for a moment, so it is not
/// done often; nor seldom, since pages count as memory of this process.
const MAPPED: usize = 16 << 20;

/// An artifact whose directory and manifest agree. What its members hold is not known yet.
pub struct Artifact {
    path: PathBuf,
    archive: Archive<MappedFile>,
    /// The lines in front of the zip, nearly always one, without the last end.
    shebang: String,
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    vouched_by: Option<String>,
    extent: Extent,
    /// What a thin artifact leaves out; empty for all others.
    left_out: BTreeSet<String>,
    /// Bytes that were read since pages were let go of.
    mapped: AtomicUsize,
}

/// How much of what the manifest names must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Whole,
    /// Wheels, bytecode and what only starts an install may be missing.
    Part,
    /// What it says itself that it leaves out.
    Thin,
}

/// An artifact of which every member was compared with the manifest, but for those that somebody has by their SHA-256
/// and will not read here: see [`Artifact::verify_but`].
pub struct VerifiedArtifact {
    artifact: Artifact,
    unread: BTreeSet<String>,
}

#[derive(serde::Deserialize)]
struct FormatOnly {
    format: u64,
}

/// Whoever decides whether an artifact is used at all. The manifest covers every member by its SHA-256, so it is enough to
/// judge that, before anything in it is understood.
pub trait Trust: std::fmt::Debug + Send + Sync {
    /// `manifest` and `signature` are the bytes of [`MANIFEST_PATH`] and of [`SIGNATURE_PATH`], if there is one. Who vouches for
    /// it, where that was asked.
    fn judge(&self, manifest: &[u8], signature: Option<&[u8]>) -> Result<Option<String>, Distrust>;
}

/// Trusts everybody.
#[derive(Clone, Copy, Debug)]
pub struct Anybody;

impl Trust for Anybody {
    fn judge(&self, _: &[u8], _: Option<&[u8]>) -> Result<Option<String>, Distrust> {
        Ok(None)
    }
}

impl Artifact {
    pub fn open(path: &Path) -> Result<Self, ArtifactError> {
        Self::open_trusted(path, &Anybody)
    }

    /// Opens one that `trust` has nothing against.
    pub fn open_trusted(path: &Path, trust: &dyn Trust) -> Result<Self, ArtifactError> {
        Self::open_extent(path, Extent::Whole, trust)
    }

    /// Opens one of which whoever wrote it has left out what an install does not need: wheels that a store has, static files
    /// that are collected again.
    pub fn open_part(path: &Path) -> Result<Self, ArtifactError> {
        Self::open_extent(path, Extent::Part, &Anybody)
    }

    /// Opens one that may be thin. What it leaves out, [`Artifact::left_out`], must be had from elsewhere before it can be
    /// installed.
    pub fn open_thin(path: &Path, trust: &dyn Trust) -> Result<Self, ArtifactError> {
        Self::open_extent(path, Extent::Thin, trust)
    }

    fn open_extent(path: &Path, extent: Extent, trust: &dyn Trust) -> Result<Self, ArtifactError> {
        let read_error = |source| ArtifactError::Read { path: path.to_path_buf(), source };
        let map = MappedFile::open(path).map_err(read_error)?;
        let zip_error = |source| ArtifactError::Zip { path: path.to_path_buf(), source };
        let archive = Archive::parse(map).map_err(zip_error)?;
        let entry = archive
            .find(MANIFEST_PATH)
            .ok_or_else(|| ArtifactError::NoManifest { path: path.to_path_buf() })?;
        let shebang = archive.head().map_err(zip_error)?.to_owned();
        let manifest_bytes = archive.read(entry, LARGEST_MANIFEST).map_err(zip_error)?;
        let signature = archive.find(SIGNATURE_PATH).map(|entry| archive.read(entry, LARGEST_SIGNATURE));
        let vouched_by = trust
            .judge(&manifest_bytes, signature.transpose().map_err(zip_error)?.as_deref())
            .map_err(|source| ArtifactError::Untrusted { path: path.to_path_buf(), source })?;
        let manifest = parse_manifest(path, &manifest_bytes)?;
        let left_out = match archive.find(THIN_PATH) {
            Some(entry) => {
                let text = archive.read(entry, LARGEST_MANIFEST).map_err(zip_error)?;
                thin::read(path, &text).map_err(|misread| match misread {
                    Misread::Newer(newer) => newer.into(),
                    Misread::Wrong(source) => ArtifactError::LeftOut { path: path.to_path_buf(), source },
                })?
            }
            None => BTreeSet::new(),
        };
        if extent != Extent::Thin && !left_out.is_empty() {
            return Err(ArtifactError::Thin { path: path.to_path_buf(), count: left_out.len() });
        }
        let mapped = AtomicUsize::new(0);
        let path = path.to_path_buf();
        let artifact =
            Self { path, archive, shebang, manifest, manifest_bytes, vouched_by, extent, left_out, mapped };
        artifact.compare_directory()?;
        artifact.compare_shebang()?;
        artifact.check_manifest()?;
        Ok(artifact)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it starts without Python, by a script in front of the zip.
    pub fn starts_alone(&self) -> bool {
        self.shebang.contains('\n')
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// As it stands in the artifact, byte for byte.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// Who has signed it, where that was asked and judged.
    pub fn vouched_by(&self) -> Option<&str> {
        self.vouched_by.as_deref()
    }

    /// The members that a thin artifact leaves out; empty for all others.
    pub fn left_out(&self) -> &BTreeSet<String> {
        &self.left_out
    }

    pub fn archive(&self) -> &Archive<MappedFile> {
        &self.archive
    }

    /// The lines in front of the zip, nearly always one, without the last end.
    pub fn shebang(&self) -> &str {
        &self.shebang
    }

    /// Writes it with this signature, and none but this, behind all other members. Nothing else in it changes.
    pub fn write_signed(&self, signature: &[u8], file: std::fs::File) -> Result<(), WriteError> {
        let entries = || self.archive.entries().iter().filter(|entry| entry.name != SIGNATURE_PATH);
        let time = entries().next().map_or(DosTime::FIRST, |entry| entry.time);
        let mut zip = ZipWriter::new(file, self.shebang(), time)?;
        entries().try_for_each(|entry| zip.copy(entry, self.archive.raw(entry)))?;
        zip.add(SIGNATURE_PATH, MemberKind::File, signature)?;
        zip.finish().map(drop)
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.archive.bytes().len() as u64
    }

    /// Reads every member once, on all cores, and compares it with the manifest.
    pub fn verify(self, progress: &dyn Progress) -> Result<VerifiedArtifact, ArtifactError> {
        self.verify_but(BTreeSet::new(), progress)
    }

    /// The same, without the members in `known`, which a store has by the SHA-256 in the manifest.
    /// [`VerifiedArtifact::verify_member`] must come before any of them is read after all.
    ///
    /// Where somebody has to vouch for it, all of it is read: what was altered is refused by every host, whatever it has.
    pub fn verify_but(
        self,
        known: BTreeSet<String>,
        progress: &dyn Progress,
    ) -> Result<VerifiedArtifact, ArtifactError> {
        let known = if self.vouched_by.is_some() { BTreeSet::new() } else { known };
        let members = self.manifest.members_by_path();
        let mut pairs: Vec<(&Entry, &Member)> = self
            .archive
            .entries()
            .iter()
            .filter(|entry| !known.contains(&entry.name))
            .filter_map(|entry| Some((entry, *members.get(entry.name.as_str())?)))
            .collect();
        // The largest first, so that no core is left alone with one at the end.
        order::sort_by_key(&mut pairs, |(entry, _)| std::cmp::Reverse(entry.size));
        progress.begin("checking", pairs.iter().map(|(entry, _)| entry.data.len() as u64).sum(), Unit::Bytes);
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        crate::on_all_cores(|| {
            let mut inflater = Inflater::new();
            while let Some((entry, member)) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.verify_member(entry, member, &mut inflater, progress) {
                    failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                    next.store(pairs.len(), Ordering::Relaxed);
                }
            }
        });
        progress.end();
        drop(pairs);
        drop(members);
        match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(error) => Err(error),
            None => {
                self.check_links()?;
                Ok(VerifiedArtifact { artifact: self, unread: known })
            }
        }
    }

    fn verify_member(
        &self,
        entry: &Entry,
        member: &Member,
        inflater: &mut Inflater,
        progress: &dyn Progress,
    ) -> Result<(), ArtifactError> {
        if progress.is_cancelled() {
            return Err(ArtifactError::Cancelled);
        }
        let zip_error = |source| ArtifactError::Zip { path: self.path.clone(), source };
        let mut hash = sha2::Sha256::new();
        let mut crc32 = entry.crc32;
        match entry.method {
            Method::Stored => {
                let mut sum = flate2::Crc::new();
                for chunk in self.archive.raw(entry).chunks(CHUNK) {
                    sum.update(chunk);
                    hash.update(chunk);
                    self.was_read(chunk.len());
                    progress.advance(chunk.len() as u64);
                }
                crc32 = sum.sum();
            }
            Method::Deflated => {
                inflater
                    .read_releasing(entry, self.archive.raw(entry), &mut |bytes| hash.update(bytes), &|raw| {
                        self.was_read(raw.len());
                    })
                    .map_err(zip_error)?;
                self.was_read(entry.data.len());
                progress.advance(entry.data.len() as u64);
            }
        }
        let found = Sha256(hash.finalize().into());
        if found == member.sha256 {
            return entry.check_crc32(crc32).map_err(zip_error);
        }
        Err(self.altered(format!("{} has SHA-256 {found}, the manifest says {}", entry.name, member.sha256)))
    }

    /// The contents of a small member, compared with the manifest.
    pub fn read_member(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>, ArtifactError> {
        let contents = self
            .archive
            .read(entry, limit)
            .map_err(|source| ArtifactError::Zip { path: self.path.clone(), source })?;
        let expected = self.manifest.members.iter().find(|member| member.path == entry.name);
        if expected.is_some_and(|member| member.sha256 == Sha256::of(&contents)) {
            return Ok(contents);
        }
        Err(self.altered(format!("{} is not what the manifest says", entry.name)))
    }

    /// Says that so many bytes of the file were read. From time to time it tells the kernel that its pages are not needed for
    /// now, so that the whole artifact does not count as memory of this process. They stay in the page cache, and what is read
    /// at this moment is mapped again.
    pub fn was_read(&self, bytes: usize) {
        if self.mapped.fetch_add(bytes, Ordering::Relaxed) + bytes >= MAPPED {
            self.mapped.store(0, Ordering::Relaxed);
            // SAFETY: dropping pages of a read-only map of a file loses nothing; they are read again when touched.
            let _ = unsafe { self.archive.map().unchecked_advise(UncheckedAdvice::DontNeed) };
        }
    }

    /// The zip's directory and the manifest name the same members.
    fn compare_directory(&self) -> Result<(), ArtifactError> {
        let mut members = self.manifest.members_by_path();
        if members.len() != self.manifest.members.len() {
            return Err(self.altered("the manifest names a member twice".to_owned()));
        }
        for entry in self.archive.entries() {
            if matches!(entry.name.as_str(), MANIFEST_PATH | SIGNATURE_PATH | THIN_PATH) {
                if entry.kind() != MemberKind::File {
                    let name = &entry.name;
                    return Err(self.altered(format!("{name} does not have the mode of a regular file")));
                }
                continue;
            }
            self.check_name(&entry.name)?;
            let Some(member) = members.remove(entry.name.as_str()) else {
                return Err(self.altered(format!("the manifest does not name {}", entry.name)));
            };
            let kind = entry.kind();
            if (entry.size, kind) != (member.size, member.kind) {
                return Err(
                    self.altered(format!("{} has another size or mode than the manifest says", entry.name))
                );
            }
        }
        if !self.is_in_order() {
            return Err(self.altered("its manifest is not the last member".to_owned()));
        }
        if let Some(missing) = members.keys().find(|path| !self.may_lack(path)) {
            return Err(self.altered(format!("{missing} is missing")));
        }
        let wrong = |path: &&String| !members.contains_key(path.as_str()) || !thin::may_be_left_out(path);
        if let Some(wrong) = self.left_out.iter().find(wrong) {
            return Err(self.altered(format!("it leaves out {wrong}, which is not possible")));
        }
        members.keys().try_for_each(|missing| self.check_name(missing))?;
        let missing = members.values().map(|member| (member.path.as_str(), member.kind));
        let there = self.archive.entries().iter().map(|entry| (entry.name.as_str(), entry.kind()));
        Tree::new(there.chain(missing)).map_err(|what| self.altered(what)).map(drop)
    }

    fn check_name(&self, name: &str) -> Result<(), ArtifactError> {
        rules::check_name(name).map_err(|source| ArtifactError::Unsafe { path: self.path.clone(), source })
    }

    /// No link leads out of the project. Those of a thin artifact that leaves some out are looked at when it is whole.
    fn check_links(&self) -> Result<(), ArtifactError> {
        let links = || self.archive.entries().iter().filter(|entry| entry.kind() == MemberKind::Link);
        let all = self.manifest.members.iter().filter(|member| member.kind == MemberKind::Link).count();
        if all == 0 || links().count() < all {
            return Ok(());
        }
        let targets: Vec<(&str, Vec<u8>)> = links()
            .map(|entry| Ok((entry.name.as_str(), self.archive.read(entry, LARGEST_TARGET)?)))
            .collect::<Result<_, _>>()
            .map_err(|source| ArtifactError::Zip { path: self.path.clone(), source })?;
        let members = self.manifest.members.iter().map(|member| (member.path.as_str(), member.kind));
        let tree = Tree::new(members).map_err(|what| self.altered(what))?;
        let targets = targets.iter().map(|(path, target)| (*path, target.as_slice())).inserted();
        tree.check_links(&targets).map_err(|source| ArtifactError::Link { path: self.path.clone(), source })
    }

    /// Nothing stands behind the manifest but its signature.
    fn is_in_order(&self) -> bool {
        let mut last = self.archive.entries().iter().rev().map(|entry| entry.name.as_str());
        let name = last.next();
        name == Some(MANIFEST_PATH) || (name == Some(SIGNATURE_PATH) && last.next() == Some(MANIFEST_PATH))
    }

    /// The first line is the one that the manifest covers. One that it does not cover is nobody's word: where somebody must vouch
    /// for the artifact, it can only be the usual one.
    fn compare_shebang(&self) -> Result<(), ArtifactError> {
        let covered = self.archive.find(SHEBANG_PATH);
        let covered = covered.map(|entry| self.read_member(entry, LARGEST_SIGNATURE)).transpose()?;
        let is_covered = covered.is_some();
        if covered.is_some_and(|covered| covered != self.shebang.as_bytes()) {
            return Err(self.altered("its first line is not the one that it was built with".to_owned()));
        }
        let runs_programs = || head::runs_programs(&self.shebang, self.archive.entries());
        if self.starts_alone() && !(is_covered && runs_programs()) {
            return Err(self.altered("its first lines do not run its standalone binaries".to_owned()));
        }
        if is_covered || self.vouched_by.is_none() || self.shebang == SHEBANG {
            return Ok(());
        }
        let source =
            "its first line is not covered by its signature: build it again, with this wheelbarrow".into();
        Err(ArtifactError::Untrusted { path: self.path.clone(), source })
    }

    fn may_lack(&self, path: &str) -> bool {
        self.extent == Extent::Part || self.left_out.contains(path)
    }

    /// What later code takes for granted.
    fn check_manifest(&self) -> Result<(), ArtifactError> {
        rules::check(&self.manifest).map_err(|what| self.altered(what))?;
        for path in self.manifest.wheels_by_path().keys() {
            // The installer reads members of wheels where they stand.
            let stored = self.archive.find(path).map(|entry| entry.method == Method::Stored);
            if !stored.unwrap_or_else(|| self.may_lack(path)) {
                return Err(self.altered(format!("the wheel {path} is not stored as it is")));
            }
        }
        Ok(())
    }

    fn altered(&self, what: String) -> ArtifactError {
        let what =
            if self.archive.map().was_cut() { "it was cut off while it was read".to_owned() } else { what };
        ArtifactError::Altered { path: self.path.clone(), what }
    }
}

impl VerifiedArtifact {
    /// Compares a member with the manifest, if that was not done yet. One that is missing is an error here.
    pub fn verify_member(&mut self, path: &str, progress: &dyn Progress) -> Result<(), ArtifactError> {
        if self.artifact.archive.find(path).is_none() {
            return Err(self.artifact.altered(format!("{path} is missing")));
        }
        if self.unread.contains(path) {
            let members = self.artifact.manifest.members_by_path();
            if let (Some(entry), Some(member)) = (self.artifact.archive.find(path), members.get(path)) {
                self.artifact.verify_member(entry, member, &mut Inflater::new(), progress)?;
            }
            self.unread.remove(path);
        }
        Ok(())
    }
}

/// Forgets that it was verified.
impl From<VerifiedArtifact> for Artifact {
    fn from(artifact: VerifiedArtifact) -> Self {
        artifact.artifact
    }
}

impl Deref for VerifiedArtifact {
    type Target = Artifact;

    fn deref(&self) -> &Artifact {
        &self.artifact
    }
}

fn parse_manifest(path: &Path, bytes: &[u8]) -> Result<Manifest, ArtifactError> {
    let wrong = |source| ArtifactError::Manifest { path: path.to_path_buf(), source };
    manifest::check_values(bytes).map_err(wrong)?;
    // Another format may have other keys, so its number is looked at first.
    format::check(path, bytes, FORMAT)?;
    let FormatOnly { format } = json::from_slice(bytes).map_err(wrong)?;
    if format != u64::from(FORMAT) {
        return Err(ArtifactError::Format { path: path.to_path_buf(), found: format });
    }
    manifest::check_form(bytes).map_err(wrong)?;
    format::read(path, bytes, FORMAT).map_err(|misread| match misread {
        Misread::Newer(newer) => newer.into(),
        Misread::Wrong(error) => wrong(error),
    })
}

#[cfg(test)]
mod tests;
