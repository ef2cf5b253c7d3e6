//! Reads one member: its hash and its kind.

use std::collections::HashMap;
use std::io::Write;

use memmap2::Mmap;
use sha2::Digest;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::wheel::{OpenWheel, WheelError};
use wheelbarrow_artifact::zip::{Entry, Inflater, Method};
use wheelbarrow_wheel::layout::Layout;
use wheelbarrow_wheel::record::RecordRow;

use super::entry_points;
use super::error::ReadError;
use super::kept::{self, Kept};
use super::room::{LARGEST_ELF, SPOOLS, Share};
use crate::elf::{ElfFacts, ElfFile, is_elf};
use crate::facts::WheelFacts;

/// ELF files up to so many bytes are looked at in memory, larger ones in a file that is removed at once.
const IN_MEMORY: u64 = 48 << 20;

/// Pages of the wheel are given back after so many bytes of a member.
const RELEASED: usize = 16 << 20;

/// The members of a wheel beside the rows of its RECORD.
pub(super) struct Members<'w, 'a> {
    wheel: &'w OpenWheel<'a>,
    layout: Layout,
    /// By their paths, which are not in the rows any more.
    rows: HashMap<String, RecordRow>,
    memory: &'w Kept,
    /// What is wrong with RECORD before a member was looked at.
    twice: Vec<String>,
}

/// What was found out so far.
#[derive(Default)]
pub(super) struct MemberFindings {
    record: Vec<String>,
    elf: Vec<ElfFile>,
    broken_elf: Vec<(String, String)>,
}

impl MemberFindings {
    pub(super) fn add(&mut self, mut other: Self) {
        self.record.append(&mut other.record);
        self.elf.append(&mut other.elf);
        self.broken_elf.append(&mut other.broken_elf);
    }
}

impl<'w, 'a> Members<'w, 'a> {
    pub(super) fn new(wheel: &'w OpenWheel<'a>, memory: &'w Kept) -> Result<Self, ReadError> {
        let (mut rows, mut twice) = (HashMap::new(), Vec::new());
        for mut row in wheel.record()? {
            let path = std::mem::take(&mut row.path);
            let hash = row.hash.as_ref().map_or(0, |(name, digest)| kept::size(name) + kept::size(digest));
            memory.add(size_of::<RecordRow>() + kept::size(&path) + hash)?;
            if rows.contains_key(&path) {
                twice.push(format!("it lists {path} twice"));
            }
            rows.insert(path, row);
        }
        Ok(Self { wheel, layout: Layout::new(wheel.dist_info()), rows, memory, twice })
    }

    pub(super) fn entries(&self) -> &'w [Entry] {
        self.wheel.archive().entries()
    }

    /// Reads a member, and compares it with its row as the specification asks of installers: each file must be listed
    /// with its true hash, and, where the size is given, its true size.
    /// `release` is called now and then while a large member is read: what was read of it can go out of memory.
    pub(super) fn read_member(
        &self,
        index: usize,
        inflater: &mut Inflater,
        found: &mut MemberFindings,
        release: &dyn Fn(&Entry),
    ) -> Result<(), ReadError> {
        let entry = &self.entries()[index];
        if entry.is_directory() {
            return Ok(());
        }
        let row = self.rows.get(&entry.name);
        if row.is_some_and(|row| row.size.is_some_and(|size| size != entry.size)) {
            // Whatever is in it, it is not what was recorded.
            found.record.push(format!("{} has {} bytes", entry.name, entry.size));
            return Ok(());
        }
        let algorithm = row.and_then(|row| row.hash.as_ref()).map_or("", |(algorithm, _)| algorithm);
        let contents = self.contents(entry, algorithm, inflater, release)?;
        if !self.layout.is_record(&entry.name) {
            found.record.extend(compare(entry, row, &contents.digest));
        }
        match contents.elf {
            None => {}
            Some(Ok((facts, sha256))) => {
                // Hashing once is enough.
                let recorded = || Sha256::from_record(contents.digest.as_deref()?);
                let sha256 = sha256.or_else(recorded).unwrap_or(Sha256([0; 32]));
                self.memory.add(facts.size())?;
                found.elf.push(ElfFile { path: entry.name.clone(), sha256, facts });
            }
            Some(Err(why)) => found.broken_elf.push((entry.name.clone(), why)),
        }
        Ok(())
    }

    fn contents(
        &self,
        entry: &Entry,
        algorithm: &str,
        inflater: &mut Inflater,
        release: &dyn Fn(&Entry),
    ) -> Result<MemberContents, ReadError> {
        let spool_error = |source| ReadError::Spool { wheel: self.wheel.filename().to_string(), source };
        let raw = self.wheel.archive().raw(entry);
        let hash = RecordHash::new(algorithm);
        let mut reader = MemberReader { entry, hash, begun: false, elf: None, spool: None, failure: None };
        let mut unreleased = 0;
        let mut consume = |bytes: &[u8]| {
            reader.consume(bytes);
            unreleased += bytes.len();
            if unreleased >= RELEASED {
                release(entry);
                unreleased = 0;
            }
        };
        inflater
            .read(entry, raw, &mut consume)
            .map_err(|source| WheelError::Zip { wheel: self.wheel.filename().to_string(), source })?;
        if let Some(source) = reader.failure {
            return Err(spool_error(source));
        }
        let elf = match reader.spool {
            // Larger than what is handed out in one piece.
            Some(_) if entry.method == Method::Stored => Some(reader.hash.read_elf(raw)),
            Some(spool) => Some(reader.hash.read_elf(&spool.bytes().map_err(spool_error)?)),
            None => reader.elf,
        };
        Ok(MemberContents { digest: reader.hash.finish(), elf })
    }

    /// All that was found, once each member was looked at.
    pub(super) fn finish(&self, found: MemberFindings) -> Result<WheelFacts, ReadError> {
        let MemberFindings { mut record, mut elf, mut broken_elf } = found;
        record.extend(self.twice.iter().cloned());
        record.extend(self.leftover());
        self.memory.add(record.iter().map(|text| kept::size(text)).sum())?;
        record.sort_unstable();
        elf.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        broken_elf.sort_unstable();
        let entry_points = entry_points::dead(self.wheel)?;
        Ok(WheelFacts { record, elf, broken_elf, entry_points })
    }

    /// Rows without a member, unless they name a directory.
    fn leftover(&self) -> Vec<String> {
        let mut names: Vec<&str> = self.entries().iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        let gone = self.rows.keys().filter(|path| {
            names.binary_search(&path.as_str()).is_err()
                && !self.layout.is_record(path)
                && !path.ends_with('/')
        });
        let gone = gone.filter(|path| {
            let inside = format!("{path}/");
            let first = names.get(names.partition_point(|name| *name < inside.as_str()));
            !first.is_some_and(|name| name.starts_with(&inside))
        });
        gone.map(|path| format!("it lists {path}, which is not there")).collect()
    }
}

struct MemberContents {
    /// As RECORD has it, or nothing where it has none by an algorithm that counts.
    digest: Option<String>,
    elf: Option<ReadElf>,
}

/// What an ELF file says, with its SHA-256 where RECORD does not go by that; or why it cannot be read.
type ReadElf = Result<(ElfFacts, Option<Sha256>), String>;

/// What is not true of a member.
fn compare(entry: &Entry, row: Option<&RecordRow>, digest: &Option<String>) -> Option<String> {
    let name = &entry.name;
    let Some(row) = row else { return Some(format!("it does not list {name}")) };
    let Some((algorithm, expected)) = &row.hash else { return Some(format!("{name} has no hash")) };
    match digest {
        None => Some(format!("{name} has a hash by {algorithm}; wheels need sha256 or better")),
        Some(found) if found == expected => None,
        Some(found) => Some(format!("{name} has {algorithm}={found}, not {algorithm}={expected}")),
    }
}

/// The algorithms that wheels may use.
enum RecordHash {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
    None,
}

impl RecordHash {
    fn new(algorithm: &str) -> Self {
        match algorithm {
            "sha256" => Self::Sha256(sha2::Sha256::new()),
            "sha384" => Self::Sha384(sha2::Sha384::new()),
            "sha512" => Self::Sha512(sha2::Sha512::new()),
            _ => Self::None,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
            Self::None => {}
        }
    }

    fn read_elf(&self, bytes: &[u8]) -> ReadElf {
        let sha256 = (!matches!(self, Self::Sha256(_))).then(|| Sha256::of(bytes));
        Ok((ElfFacts::read(bytes)?, sha256))
    }

    fn finish(self) -> Option<String> {
        let encode = |digest: &[u8]| Some(data_encoding::BASE64URL_NOPAD.encode(digest));
        match self {
            Self::Sha256(hash) => encode(&hash.finalize()),
            Self::Sha384(hash) => encode(&hash.finalize()),
            Self::Sha512(hash) => encode(&hash.finalize()),
            Self::None => None,
        }
    }
}

/// Takes a member as it is inflated: in one piece, or in several where it is large.
struct MemberReader<'e> {
    entry: &'e Entry,
    hash: RecordHash,
    /// Whether its first bytes were seen.
    begun: bool,
    elf: Option<ReadElf>,
    /// Set for a large ELF file.
    spool: Option<Spool>,
    failure: Option<std::io::Error>,
}

impl MemberReader<'_> {
    fn consume(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        if let Some(spool) = &mut self.spool {
            if self.entry.method == Method::Deflated && self.failure.is_none() {
                self.failure = spool.add(bytes).err();
            }
        } else if !std::mem::replace(&mut self.begun, !bytes.is_empty()) {
            match Beginning::of(bytes, self.entry.size) {
                Beginning::Other => {}
                Beginning::TooLarge => self.elf = Some(Err("it has more than 2 GB".to_owned())),
                Beginning::Whole => self.elf = Some(self.hash.read_elf(bytes)),
                Beginning::Part if self.entry.method == Method::Stored => self.spool = Some(Spool::None),
                Beginning::Part => match Spool::new(self.entry.size) {
                    Ok(mut spool) => {
                        self.failure = spool.add(bytes).err();
                        self.spool = Some(spool);
                    }
                    Err(error) => self.failure = Some(error),
                },
            }
        }
    }
}

/// What a member is by its first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    /// No ELF file.
    Other,
    TooLarge,
    /// An ELF file, of which these bytes are all.
    Whole,
    Part,
}

impl Beginning {
    fn of(bytes: &[u8], size: u64) -> Self {
        match () {
            () if !is_elf(bytes) => Self::Other,
            () if size > LARGEST_ELF => Self::TooLarge,
            () if bytes.len() as u64 == size => Self::Whole,
            () => Self::Part,
        }
    }
}

enum Spool {
    /// The member is in the wheel as it is.
    None,
    Memory(Vec<u8>),
    File(std::fs::File, Share<'static>),
}

/// A spool that can be read.
enum SpooledFile {
    Memory(Vec<u8>),
    File(Mmap, #[expect(dead_code, reason = "gives back its room when it is dropped")] Share<'static>),
}

impl Spool {
    fn new(size: u64) -> std::io::Result<Self> {
        Ok(if size <= IN_MEMORY {
            Self::Memory(Vec::with_capacity(usize::try_from(size).unwrap_or(0)))
        } else {
            let share = SPOOLS.take(size);
            Self::File(temporary()?, share)
        })
    }

    fn add(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::None => {}
            Self::Memory(memory) => memory.extend_from_slice(bytes),
            Self::File(file, _) => file.write_all(bytes)?,
        }
        Ok(())
    }

    fn bytes(self) -> std::io::Result<SpooledFile> {
        Ok(match self {
            Self::None => SpooledFile::Memory(Vec::new()),
            Self::Memory(memory) => SpooledFile::Memory(memory),
            // SAFETY: nobody else has the file, which has no name.
            Self::File(file, share) => SpooledFile::File(unsafe { Mmap::map(&file) }?, share),
        })
    }
}

/// Not in /tmp, if nobody has chosen it: that may be memory.
fn temporary() -> std::io::Result<std::fs::File> {
    let chosen = std::env::var_os("TMPDIR").is_some();
    let own = if chosen { None } else { tempfile::tempfile_in("/var/tmp").ok() };
    own.map_or_else(tempfile::tempfile, Ok)
}

impl std::ops::Deref for SpooledFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Memory(memory) => memory,
            Self::File(map, _) => map,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elf_files_that_are_too_large_are_not_looked_at() {
        let elf = b"\x7fELF\x02\x01";
        assert_eq!(Beginning::of(b"\x7fEL", 1 << 40), Beginning::Other);
        assert_eq!(Beginning::of(elf, 6), Beginning::Whole);
        assert_eq!(Beginning::of(elf, LARGEST_ELF), Beginning::Part);
        assert_eq!(Beginning::of(elf, LARGEST_ELF + 1), Beginning::TooLarge);
    }
}
