//! Rules for the needs of ELF files from Python.

use std::collections::{BTreeMap, HashSet};

use wheelbarrow_platform::python_symbols::{self, OLDEST};

use super::and_more;
use crate::elf::{ElfFile, Kind};
use crate::finding::{Finding, Rule};
use crate::needs::of_target;
use crate::read::AuditedWheel;
use crate::subject::Subject;

pub(crate) fn judge(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let files = subject.wheels.iter().flat_map(|wheel| &wheel.facts.elf);
    let defined: HashSet<&str> =
        files.flat_map(|file| &file.facts.python_defined).map(String::as_str).collect();
    for wheel in &subject.wheels {
        let mut used: BTreeMap<&str, Vec<&ElfFile>> = BTreeMap::new();
        for file in of_target(wheel, subject).filter(|file| file.facts.kind != Kind::Program) {
            for symbol in file.facts.python_used.iter().filter(|symbol| !defined.contains(symbol.as_str())) {
                used.entry(symbol).or_default().push(file);
            }
        }
        symbols(wheel, subject, &used, findings);
        unknown_python(wheel, subject, &used, findings);
        library(wheel, subject, findings);
    }
}

/// Whether a Python that is newer than the table has a symbol is not known, so nobody is to believe that it was looked at.
fn unknown_python(
    wheel: &AuditedWheel<'_>,
    subject: &Subject<'_>,
    used: &BTreeMap<&str, Vec<&ElfFile>>,
    findings: &mut Vec<Finding>,
) {
    let ((_, minor), newest) = (subject.floor.python, python_symbols::newest());
    let Some(file) = used.values().flatten().next().filter(|_| minor > newest) else { return };
    let what = format!("the symbols of Python 3.{minor} are unknown (known up to 3.{newest}): not checked");
    let hint = "import the site with that Python before it is deployed, or use a newer wheelbarrow";
    findings.push(Finding::warning(Rule::ElfPythonSymbol, wheel, what).file(&file.path).hint(hint));
}

/// Symbols, each with a file that uses it.
type UsedSymbols<'a> = Vec<(&'a str, &'a ElfFile)>;

/// How one symbol fits.
enum SymbolFit {
    Good,
    /// It appeared in this minor version.
    Newer(u32),
    /// It is gone since this minor version.
    Gone(u32),
    /// Newer than the stable ABI of the wheel's name, and there all the same.
    BeyondStable {
        appeared: u32,
        promised: u32,
    },
    Unknown,
}

fn symbols(
    wheel: &AuditedWheel<'_>,
    subject: &Subject<'_>,
    used: &BTreeMap<&str, Vec<&ElfFile>>,
    findings: &mut Vec<Finding>,
) {
    let (_, minor) = subject.floor.python;
    let stable = stable_abi(wheel);
    // Builds without the lock, and those for debugging, have symbols of their own.
    let ordinary = subject.floor.abi.trim_end_matches('m').ends_with(|last: char| last.is_ascii_digit());
    let mut told: BTreeMap<String, (bool, UsedSymbols<'_>)> = BTreeMap::new();
    for (symbol, files) in used {
        let (error, what) = match fit(symbol, minor, stable) {
            SymbolFit::Good => continue,
            SymbolFit::Newer(appeared) => {
                (true, format!("which appeared in Python 3.{appeared}; the target is Python 3.{minor}"))
            }
            SymbolFit::Gone(gone) => {
                (true, format!("which Python removed in 3.{gone}; the target is Python 3.{minor}"))
            }
            SymbolFit::BeyondStable { appeared, promised } => (
                false,
                format!(
                    "which appeared in Python 3.{appeared}, while its name promises the stable ABI of 3.{promised}"
                ),
            ),
            SymbolFit::Unknown if ordinary => {
                (false, format!("which no Python from 3.{OLDEST} to 3.{} has", python_symbols::newest()))
            }
            SymbolFit::Unknown => continue,
        };
        told.entry(what).or_insert((error, Vec::new())).1.push((symbol, files[0]));
    }
    for (what, (error, symbols)) in told {
        let (symbol, file) = symbols[0];
        let more = match symbols.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let what = format!("{name} uses {symbol}{more}, {what}");
        findings.push(if error {
            let hint = format!("use a wheel for Python 3.{minor}, or another version");
            Finding::error(Rule::ElfPythonSymbol, wheel, what).file(&file.path).hint(hint)
        } else {
            Finding::warning(Rule::ElfPythonSymbol, wheel, what).file(&file.path)
        });
    }
}

fn fit(symbol: &str, minor: u32, stable: Option<u32>) -> SymbolFit {
    let Some(minors) = python_symbols::minors(symbol) else {
        return if minor > python_symbols::newest() { SymbolFit::Good } else { SymbolFit::Unknown };
    };
    if minor <= python_symbols::newest() && !minors.has(minor) {
        return match minors.first() {
            first if first > minor => SymbolFit::Newer(first),
            _ => SymbolFit::Gone(
                (OLDEST..=minor).rev().take_while(|minor| !minors.has(*minor)).last().unwrap_or(minor),
            ),
        };
    }
    match stable {
        // The table does not know what came before its oldest.
        Some(promised) if minors.first() > promised.max(OLDEST) => {
            SymbolFit::BeyondStable { appeared: minors.first(), promised }
        }
        _ => SymbolFit::Good,
    }
}

/// The minor version of `cp37-abi3`.
fn stable_abi(wheel: &AuditedWheel<'_>) -> Option<u32> {
    let tags = wheel.open.filename().tags.iter().filter(|tag| tag.abi == "abi3");
    tags.filter_map(|tag| tag.python.strip_prefix("cp3")?.parse().ok()).min()
}

/// The interpreter that runs has its functions already; a second copy of them is another Python, or not there at all.
fn library(wheel: &AuditedWheel<'_>, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let (major, minor) = subject.floor.python;
    let own = format!("libpython{major}.{minor}");
    let mut needed: BTreeMap<&str, Vec<&ElfFile>> = BTreeMap::new();
    for file in of_target(wheel, subject) {
        for library in file.facts.needed.iter().filter(|library| library.starts_with("libpython")) {
            needed.entry(library).or_default().push(file);
        }
    }
    for (library, files) in needed {
        let name = files[0].path.rsplit('/').next().unwrap_or_default();
        let names = and_more(name, files.len());
        let verb = if files.len() == 1 { "needs" } else { "need" };
        let is_own = library
            .strip_prefix(&own)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()));
        let finding = if is_own {
            let what = format!("{names} {verb} {library}, which many Pythons do not have as a library");
            Finding::warning(Rule::ElfLibpython, wheel, what)
        } else {
            let what = format!("{names} {verb} {library}; the target is Python {major}.{minor}");
            Finding::error(Rule::ElfLibpython, wheel, what).hint("build it with the target's Python")
        };
        findings.push(finding.file(&files[0].path));
    }
}
