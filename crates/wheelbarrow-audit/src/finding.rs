//! The findings of an audit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The rules, as `docs/reference/audit.md` explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// An ELF file for another machine.
    ElfMachine,
    /// An ELF file for another C library.
    ElfLibc,
    /// A glibc that is newer than the target's.
    ElfGlibc,
    /// Symbol versions of libstdc++ or libgcc that the target does not have.
    ElfSymbol,
    /// A shared library that nobody has.
    ElfLibrary,
    /// Directories that the loader should not look into.
    ElfRpath,
    /// A stack that can be executed.
    ElfExecstack,
    /// A function of Python that the target's does not have.
    ElfPythonSymbol,
    /// A library of Python's, beside the interpreter that is running already.
    ElfLibpython,
    /// A file that begins as ELF does and cannot be read as such.
    ElfBroken,
    /// The wheel's name says that it is for another system.
    Tag,
    RequiresPython,
    /// RECORD is not true.
    Record,
    Metadata,
    EntryPoint,
    /// What a wheel requires is not there.
    Requirement,
    /// Two wheels write one path.
    Collision,
    /// Two wheels write paths that differ by case only.
    CaseClash,
    /// A version that its authors took back.
    Yanked,
    /// A project that its index marks as archived, deprecated or quarantined.
    ProjectStatus,
    /// A bundled Python that was built long ago.
    PythonAge,
}

impl Rule {
    pub const ALL: [Self; 21] = [
        Self::ElfMachine,
        Self::ElfLibc,
        Self::ElfGlibc,
        Self::ElfSymbol,
        Self::ElfLibrary,
        Self::ElfRpath,
        Self::ElfExecstack,
        Self::ElfPythonSymbol,
        Self::ElfLibpython,
        Self::ElfBroken,
        Self::Tag,
        Self::RequiresPython,
        Self::Record,
        Self::Metadata,
        Self::EntryPoint,
        Self::Requirement,
        Self::Collision,
        Self::CaseClash,
        Self::Yanked,
        Self::ProjectStatus,
        Self::PythonAge,
    ];

    /// As people write it.
    pub fn id(self) -> &'static str {
        match self {
            Self::ElfMachine => "elf-machine",
            Self::ElfLibc => "elf-libc",
            Self::ElfGlibc => "elf-glibc",
            Self::ElfSymbol => "elf-symbol",
            Self::ElfLibrary => "elf-library",
            Self::ElfRpath => "elf-rpath",
            Self::ElfExecstack => "elf-execstack",
            Self::ElfPythonSymbol => "elf-python-symbol",
            Self::ElfLibpython => "elf-libpython",
            Self::ElfBroken => "elf-broken",
            Self::Tag => "tag",
            Self::RequiresPython => "requires-python",
            Self::Record => "record",
            Self::Metadata => "metadata",
            Self::EntryPoint => "entry-point",
            Self::Requirement => "requirement",
            Self::Collision => "collision",
            Self::CaseClash => "case-clash",
            Self::Yanked => "yanked",
            Self::ProjectStatus => "project-status",
            Self::PythonAge => "python-age",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.id())
    }
}

impl FromStr for Rule {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|rule| rule.id() == text).ok_or(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The site would not run, or not as it should: the build is refused.
    Error,
    /// Said, and no more.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Bytes of the sentence of a finding: it quotes texts of wheels.
const LONGEST: usize = 2000;

/// The first `most` bytes of a text, and `...` if that is not all.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.get(..text.floor_char_boundary(most)).filter(|begin| begin.len() < text.len()) {
        Some(begin) => format!("{begin}..."),
        None => text.to_owned(),
    }
}

/// One thing that is wrong, once for each wheel and target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub rule: Rule,
    pub severity: Severity,
    /// What `--allow RULE:NAME` has to name: the distribution, normalised; for a collision of two wheels the path.
    pub name: String,
    /// File name of the wheel; empty for the bundled Python.
    pub wheel: String,
    /// The member of the wheel, where it is one.
    pub file: Option<String>,
    /// The library that is missing: `--allow elf-library:LIBRARY` names it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// One sentence.
    pub what: String,
    pub hint: Option<String>,
    /// Why it is let pass; empty where nobody said.
    pub allowed: Option<String>,
}

impl Finding {
    pub(crate) fn error(rule: Rule, wheel: &crate::AuditedWheel<'_>, what: impl Into<String>) -> Self {
        Self::new(rule, Severity::Error, wheel, &what.into())
    }

    pub(crate) fn warning(rule: Rule, wheel: &crate::AuditedWheel<'_>, what: impl Into<String>) -> Self {
        Self::new(rule, Severity::Warning, wheel, &what.into())
    }

    fn new(rule: Rule, severity: Severity, wheel: &crate::AuditedWheel<'_>, what: &str) -> Self {
        let what = cut(what, LONGEST);
        let filename = wheel.open.filename();
        Self {
            rule,
            severity,
            name: filename.name.clone(),
            wheel: filename.to_string(),
            file: None,
            library: None,
            what,
            hint: None,
            allowed: None,
        }
    }

    pub(crate) fn file(mut self, file: &str) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn library(mut self, library: &str) -> Self {
        self.library = Some(library.to_owned());
        self
    }

    /// Whether it stands in the way.
    pub fn refuses(&self) -> bool {
        self.severity == Severity::Error && self.allowed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!([cut("aé", 3), cut("aéb", 2), cut("", 0)], ["aé", "a...", ""]);
    }

    #[test]
    fn ids_are_those_of_the_json() {
        for rule in Rule::ALL {
            assert_eq!(serde_json::json!(rule), rule.id());
            assert_eq!(rule.id().parse(), Ok(rule));
        }
    }
}
