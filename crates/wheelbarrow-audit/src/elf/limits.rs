//! Limits for what an ELF file can make a reader keep.
//!
//! Any number of entries may name one string of any length, so the names in a small file could take any amount
//! of memory.

use goblin::container::Ctx;
use goblin::elf::dynamic::Dynamic;
use goblin::elf::program_header::{PT_DYNAMIC, ProgramHeader};
use goblin::elf::section_header::{SHN_XINDEX, SHT_SYMTAB, SectionHeader};
use goblin::elf::{Elf, header::Header};

/// PATH_MAX of Linux without its NUL: no loader opens a longer path.
const LONGEST: usize = 4095;

/// Bytes of the names that are kept of one file. libpython has 200 kB, all others have less.
const MOST_BYTES: usize = 4 << 20;

/// Strings in the tables of one file, of which goblin keeps a list. The largest libraries have a million.
const MOST_STRINGS: usize = 4 << 20;

/// Sections of one file. Object files with a section for each function have 100,000.
const MOST_SECTIONS: u64 = 1 << 20;

/// Bytes of the dynamic section, with 16 bytes for each entry. Libraries have less than a hundred entries.
const LARGEST_DYNAMIC: u64 = 1 << 20;

/// Copies names until there are too many.
pub(super) struct Names {
    left: usize,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { left: MOST_BYTES }
    }

    pub(super) fn copy(&mut self, name: &str) -> Result<String, String> {
        if name.len() > LONGEST {
            return Err(format!("a name in it has more than {LONGEST} bytes"));
        }
        self.count(name)?;
        Ok(name.to_owned())
    }

    /// For a name that is copied elsewhere, or an entry that is looked at.
    pub(super) fn count(&mut self, name: &str) -> Result<(), String> {
        let left = self.left.checked_sub(size_of::<String>() + name.len());
        self.left = left.ok_or("its names have more than 4 MB")?;
        Ok(())
    }
}

/// Refuses what goblin would read with many times the memory of the file.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let text = |error: goblin::error::Error| error.to_string();
    let header = Elf::parse_header(bytes).map_err(text)?;
    let ctx = Ctx::new(header.container().map_err(text)?, header.endianness().map_err(text)?);
    let place = usize::try_from(header.e_phoff).unwrap_or(usize::MAX);
    let programs = ProgramHeader::parse(bytes, place, header.e_phnum.into(), ctx).map_err(text)?;
    if programs.iter().any(|program| program.p_type == PT_DYNAMIC && program.p_filesz > LARGEST_DYNAMIC) {
        return Err("its dynamic section has more than 1 MB".to_owned());
    }
    let dynamic = Dynamic::parse(bytes, &programs, ctx).ok().flatten();
    let dynamic = dynamic.map(|dynamic| table(bytes, dynamic.info.strtab, dynamic.info.strsz));
    let sections = sections(bytes, &header, ctx)?;
    let named = named_tables(&header, &sections);
    let of_section = |section: &SectionHeader| {
        let number = |number| usize::try_from(number).unwrap_or(usize::MAX);
        table(bytes, number(section.sh_offset), number(section.sh_size))
    };
    let tables = named.into_iter().filter_map(|place| sections.get(place)).map(of_section).chain(dynamic);
    let strings = tables.flatten().filter(|byte| **byte == 0).take(MOST_STRINGS + 1).count();
    match strings > MOST_STRINGS {
        true => Err(format!("its string tables have more than {MOST_STRINGS} strings")),
        false => Ok(()),
    }
}

/// As far as it is in the file.
fn table(bytes: &[u8], start: usize, size: usize) -> &[u8] {
    let rest = bytes.get(start..).unwrap_or_default();
    &rest[..size.min(rest.len())]
}

/// None where they cannot be read: goblin does without them, too.
fn sections(bytes: &[u8], header: &Header, ctx: Ctx) -> Result<Vec<SectionHeader>, String> {
    let place = usize::try_from(header.e_shoff).unwrap_or(usize::MAX);
    let parse = |count| SectionHeader::parse(bytes, place, count, ctx).unwrap_or_default();
    let count = match header.e_shnum {
        // The first one has their number.
        0 => parse(1).first().map_or(0, |first| first.sh_size),
        count => count.into(),
    };
    if count > MOST_SECTIONS {
        return Err(format!("it has more than {MOST_SECTIONS} sections"));
    }
    Ok(parse(header.e_shnum.into()))
}

/// The sections that goblin takes for tables of strings: of the names of sections, and of the last table of symbols.
fn named_tables(header: &Header, sections: &[SectionHeader]) -> Vec<usize> {
    let symbols = sections.iter().rfind(|section| section.sh_type == SHT_SYMTAB);
    let places = [Some(u32::from(header.e_shstrndx)), symbols.map(|section| section.sh_link)];
    let first = sections.first().map_or(0, |first| first.sh_link);
    let places = places.into_iter().flatten();
    places.map(|place| if place == SHN_XINDEX { first } else { place } as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_copied_up_to_a_limit() {
        let mut names = Names::new();
        assert_eq!(names.copy("libz.so.1"), Ok("libz.so.1".to_owned()));
        assert!(names.copy(&"a".repeat(LONGEST + 1)).unwrap_err().contains("more than 4095 bytes"));
        let long = "a".repeat(LONGEST);
        let copied = (0..).take_while(|_| names.copy(&long).is_ok()).count();
        assert!((900..1024).contains(&copied), "{copied}");
    }

    /// A library that needs `needed` times the first string of `strings`.
    fn library(needed: usize, strings: &[u8]) -> Vec<u8> {
        let entries = (0..needed).map(|_| [1, 1]).chain([[5, 0], [10, strings.len() as u64], [0, 0]]);
        let mut entries: Vec<[u64; 2]> = entries.collect();
        let (start, size) = (64 + 2 * 56, 16 * entries.len() as u64);
        entries[needed][1] = start + size;
        let program = |kind: u32, start: u64, size: u64| {
            let words = [start, start, start, size, size, 8].map(u64::to_le_bytes);
            [&[kind.to_le_bytes(), 5_u32.to_le_bytes()].concat()[..], &words.concat()].concat()
        };
        let header = [
            &b"\x7fELF\x02\x01\x01"[..],
            &[0; 9],
            &[3, 0, 62, 0, 1, 0, 0, 0],
            &[0; 8],
            &64_u64.to_le_bytes(),
            &[0; 12],
            &[64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0],
        ]
        .concat();
        let whole = start + size + strings.len() as u64;
        let entries = entries.concat().into_iter().flat_map(u64::to_le_bytes).collect::<Vec<_>>();
        [&header[..], &program(1, 0, whole), &program(2, start, size), &entries, strings].concat()
    }

    fn needed(needed: usize, strings: &[u8]) -> Result<Vec<String>, String> {
        crate::elf::ElfFacts::read(&library(needed, strings)).map(|facts| facts.needed)
    }

    #[test]
    fn small_files_that_need_much_memory_are_refused() {
        assert_eq!(needed(2, b"\0libz.so.1\0"), Ok(vec!["libz.so.1".to_owned(); 2]));
        let long = [b"\0", "a".repeat(LONGEST + 1).as_bytes(), b"\0"].concat();
        insta::assert_snapshot!(needed(1, &long).unwrap_err(), @"a name in it has more than 4095 bytes");
        assert_eq!(needed(9, &[&[0], &long[2..]].concat()).unwrap().len(), 9);
        insta::assert_snapshot!(needed(2000, &[&[0], &long[2..]].concat()).unwrap_err(), @"its names have more than 4 MB");
        insta::assert_snapshot!(needed(70_000, b"\0a\0").unwrap_err(), @"its dynamic section has more than 1 MB");
        let empty = vec![0; MOST_STRINGS + 1];
        insta::assert_snapshot!(needed(1, &empty).unwrap_err(), @"its string tables have more than 4194304 strings");
    }

    #[test]
    fn empty_names_are_counted() {
        let mut names = Names::new();
        let copied = (0..MOST_BYTES).take_while(|_| names.count("").is_ok()).count();
        assert_eq!(copied, MOST_BYTES / size_of::<String>());
    }
}
