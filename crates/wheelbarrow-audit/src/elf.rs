//! The needs of an ELF file from the system that loads it.
//!
//! Only the parts that the dynamic loader reads are parsed: program headers, the dynamic section, needed
//! versions and dynamic symbols. The formats are those of the System V ABI and of the Linux Standard Base,
//! symbol versioning.

use goblin::elf::program_header::{PF_X, PT_GNU_STACK};
use goblin::elf::{Elf, header, sym};
use goblin::options::ParseOptions;
use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::manifest::Sha256;

use limits::Names;

mod limits;

/// A needed version that may be missing: the loader only says so (LSB, `vna_flags`).
const VER_FLG_WEAK: u16 = 2;

/// One file of a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElfFile {
    /// The member of the wheel.
    pub path: String,
    pub sha256: Sha256,
    #[serde(flatten)]
    pub facts: ElfFacts,
}

/// What the bytes say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElfFacts {
    /// As in platform tags, `x86_64`; `machine 42` for one that has no tag.
    pub machine: String,
    pub kind: Kind,
    pub soname: Option<String>,
    /// DT_NEEDED, in order.
    pub needed: Vec<String>,
    /// Directories of DT_RPATH and DT_RUNPATH, as written.
    pub search: Vec<String>,
    /// The library and the version of its symbols that must be there, such as `libc.so.6` and `GLIBC_2.28`.
    pub versions: Vec<(String, String)>,
    pub stack: Stack,
    /// Undefined `Py...` and `_Py...` symbols, weak ones not among them.
    pub python_used: Vec<String>,
    /// Those that it brings itself.
    pub python_defined: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A module that Python imports: it has a `PyInit_` function.
    Extension,
    /// Any other shared object.
    Library,
    /// Started by itself.
    Program,
    /// Nothing that a loader takes: object files, core dumps, files with debugging information only.
    Other,
}

/// What PT_GNU_STACK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stack {
    Executable,
    Plain,
    /// There is none: the machine's default counts.
    Unsaid,
}

/// Whether a file begins as ELF files do.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(header::ELFMAG)
}

impl ElfFacts {
    /// Reads a whole file. An error says what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        limits::check(bytes)?;
        let elf =
            Elf::parse_with_opts(bytes, &ParseOptions::permissive()).map_err(|error| error.to_string())?;
        let mut names = Names::new();
        let mut facts = Self {
            machine: machine(&elf.header),
            kind: Kind::Other,
            soname: elf.soname.map(|name| names.copy(name)).transpose()?,
            needed: elf.libraries.iter().map(|name| names.copy(name)).collect::<Result<_, _>>()?,
            search: search(&elf, &mut names)?,
            versions: versions(&elf, &mut names)?,
            stack: stack(&elf),
            python_used: Vec::new(),
            python_defined: Vec::new(),
        };
        let mut is_extension = false;
        for symbol in &elf.dynsyms {
            let Some(name) = elf.dynstrtab.get_at(symbol.st_name) else { continue };
            if !(name.starts_with("Py") || name.starts_with("_Py")) {
                continue;
            }
            if symbol.is_import() && symbol.st_bind() != sym::STB_WEAK {
                facts.python_used.push(names.copy(name)?);
            } else if symbol.st_shndx != 0 {
                is_extension |= name.starts_with("PyInit");
                facts.python_defined.push(names.copy(name)?);
            }
        }
        facts.python_used.sort_unstable();
        facts.python_defined.sort_unstable();
        facts.kind = kind(&elf, is_extension);
        Ok(facts)
    }

    /// Bytes of its texts.
    pub(crate) fn size(&self) -> usize {
        let lists = [&self.needed, &self.search, &self.python_used, &self.python_defined];
        let pairs = self.versions.iter().flat_map(|(library, version)| [library, version]);
        lists.into_iter().flatten().chain(pairs).map(|text| size_of::<String>() + text.len()).sum()
    }

    /// The versions of one family, such as `GLIBC`, highest last.
    pub fn versions_of(&self, family: &str) -> Vec<Vec<u32>> {
        let mut found: Vec<_> =
            self.versions.iter().filter_map(|(_, version)| numbered(version, family)).collect();
        found.sort_unstable();
        found
    }
}

/// `[2, 28]` of `GLIBC_2.28`.
pub(crate) fn numbered(version: &str, family: &str) -> Option<Vec<u32>> {
    let numbers = version.strip_prefix(family)?.strip_prefix('_')?;
    // What these stand for came with these versions, and has no number of its own.
    let numbers = match (family, numbers) {
        ("GLIBC", "ABI_DT_RELR") => "2.36",
        ("GLIBC", "ABI_GNU_TLS" | "ABI_GNU2_TLS" | "ABI_DT_X86_64_PLT") => "2.42",
        (_, numbers) => numbers,
    };
    numbers.split('.').map(|number| number.parse().ok()).collect()
}

fn kind(elf: &Elf<'_>, is_extension: bool) -> Kind {
    let has_dynamic = elf.dynamic.as_ref().is_some_and(|dynamic| !dynamic.dyns.is_empty());
    match elf.header.e_type {
        _ if is_extension => Kind::Extension,
        header::ET_EXEC => Kind::Program,
        header::ET_DYN if elf.interpreter.is_some() => Kind::Program,
        header::ET_DYN if has_dynamic => Kind::Library,
        _ => Kind::Other,
    }
}

/// The name that platform tags have for it.
fn machine(header: &header::Header) -> String {
    let wide = header.e_ident[header::EI_CLASS] == header::ELFCLASS64;
    let little = header.e_ident[header::EI_DATA] == header::ELFDATA2LSB;
    match (header.e_machine, wide, little) {
        (header::EM_X86_64, true, _) => "x86_64",
        (header::EM_386, false, _) => "i686",
        (header::EM_AARCH64, true, true) => "aarch64",
        (header::EM_ARM, false, true) => "armv7l",
        (header::EM_PPC64, true, true) => "ppc64le",
        (header::EM_PPC64, true, false) => "ppc64",
        (header::EM_S390, true, false) => "s390x",
        (header::EM_RISCV, true, true) => "riscv64",
        (EM_LOONGARCH, true, true) => "loongarch64",
        (other, ..) => return format!("machine {other}"),
    }
    .to_owned()
}

/// Not among goblin's.
const EM_LOONGARCH: u16 = 258;

fn search(elf: &Elf<'_>, names: &mut Names) -> Result<Vec<String>, String> {
    let both = elf.rpaths.iter().chain(&elf.runpaths);
    both.flat_map(|list| list.split(':')).map(|directory| names.copy(directory)).collect()
}

fn versions(elf: &Elf<'_>, names: &mut Names) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    for needed in elf.verneed.iter().flat_map(|section| section.iter()) {
        let library =
            elf.dynstrtab.get_at(needed.vn_file).ok_or("a needed version is of a library without a name")?;
        // Even an entry that is passed over takes time, and entries may overlap.
        names.count("")?;
        for version in needed.iter() {
            names.count("")?;
            if version.vna_flags & VER_FLG_WEAK != 0 {
                continue;
            }
            if let Some(version) = elf.dynstrtab.get_at(version.vna_name) {
                found.push((names.copy(library)?, names.copy(version)?));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn stack(elf: &Elf<'_>) -> Stack {
    match elf.program_headers.iter().find(|header| header.p_type == PT_GNU_STACK) {
        Some(header) if header.p_flags & PF_X != 0 => Stack::Executable,
        Some(_) => Stack::Plain,
        None => Stack::Unsaid,
    }
}
