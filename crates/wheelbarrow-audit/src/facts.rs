//! The facts about one wheel, independent of any target.

use serde::{Deserialize, Serialize};

use crate::elf::ElfFile;

/// Grows when the same wheel would give other facts: what was kept before is then not looked at.
pub(crate) const VERSION: u32 = 2;

/// Made of the wheel's bytes alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelFacts {
    /// What RECORD says and is not so.
    pub record: Vec<String>,
    /// Ordered by path.
    pub elf: Vec<ElfFile>,
    /// Members that begin as ELF does, and why they cannot be read.
    pub broken_elf: Vec<(String, String)>,
    /// Scripts that would fail when they are started.
    pub entry_points: Vec<DeadEntryPoint>,
}

impl WheelFacts {
    /// Bytes of its texts.
    pub(crate) fn size(&self) -> usize {
        let broken = self.broken_elf.iter().flat_map(|(path, why)| [path, why]);
        let texts = self.record.iter().chain(broken).map(|text| size_of::<String>() + text.len());
        texts.sum::<usize>() + self.elf.iter().map(|file| file.facts.size()).sum::<usize>()
    }
}

/// A script whose object is not to be found in the wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadEntryPoint {
    /// Of the script.
    pub name: String,
    pub module: String,
    /// Set where the module is there and has no such attribute.
    pub attribute: Option<String>,
}
