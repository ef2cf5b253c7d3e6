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
    rows: HashMap<String, RecordRow>,
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
    pub(super) fn new(wheel: &'w OpenWheel<'a>) -> Result<Self, WheelError> {
        let (mut rows, mut twice) = (HashMap::new(), Vec::new());
        for row in wheel.record()? {
            if let Some(first) = rows.insert(row.path.clone(), row) {
                twice.push(format!("it lists {} twice", first.path));
            }
        }
        Ok(Self { wheel, layout: Layout::new(wheel.dist_info()), rows, twice })
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
        let mut reader =
            MemberReader { entry, hash: RecordHash::new(algorithm), elf: None, spool: None, failure: None };
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
        } else if is_elf(bytes) && self.elf.is_none() {
            if bytes.len() as u64 == self.entry.size {
                self.elf = Some(self.hash.read_elf(bytes));
            } else {
                let mut spool = Spool::new(self.entry.size);
                if self.entry.method == Method::Deflated {
                    self.failure = spool.as_mut().ok().and_then(|spool| spool.add(bytes).err());
                }
                match spool {
                    Ok(spool) => self.spool = Some(spool),
                    Err(error) => self.failure = Some(error),
                }
            }
        }
    }
}

enum Spool {
    Memory(Vec<u8>),
    File(std::fs::File),
}

/// A spool that can be read.
enum SpooledFile {
    Memory(Vec<u8>),
    File(Mmap),
}

impl Spool {
    fn new(size: u64) -> std::io::Result<Self> {
        Ok(if size <= IN_MEMORY {
            Self::Memory(Vec::with_capacity(usize::try_from(size).unwrap_or(0)))
        } else {
            Self::File(tempfile::tempfile()?)
        })
    }

    fn add(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Memory(memory) => memory.extend_from_slice(bytes),
            Self::File(file) => file.write_all(bytes)?,
        }
        Ok(())
    }

    fn bytes(self) -> std::io::Result<SpooledFile> {
        Ok(match self {
            Self::Memory(memory) => SpooledFile::Memory(memory),
            // SAFETY: nobody else has the file, which has no name.
            Self::File(file) => SpooledFile::File(unsafe { Mmap::map(&file) }?),
        })
    }
}

impl std::ops::Deref for SpooledFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Memory(memory) => memory,
            Self::File(map) => map,
        }
    }
}
