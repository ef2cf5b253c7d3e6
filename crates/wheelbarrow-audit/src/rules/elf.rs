//! Rules for the needs of ELF files from the system.

use std::collections::BTreeMap;

use wheelbarrow_base::SITE;
use wheelbarrow_platform::{Libc, is_of_glibc, is_of_libc, is_of_musl};

use super::and_more;
use crate::elf::{ElfFile, Kind, Stack};
use crate::finding::{Finding, Rule};
use crate::needs::{ProvidedLibraries, of_target, text};
use crate::read::AuditedWheel;
use crate::subject::Subject;

/// The first glibc that refuses to make the stack executable for a library.
const NO_EXECUTABLE_STACK: Libc = Libc::Glibc(2, 41);

/// Machines where a file that says nothing of the stack gets an executable one.
const EXECUTABLE_BY_DEFAULT: [&str; 2] = ["x86_64", "i686"];

pub(crate) fn judge(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let carried = ProvidedLibraries::of(subject);
    for wheel in &subject.wheels {
        machines(wheel, subject, findings);
        libc(wheel, subject, findings);
        compilers(wheel, subject, &carried, findings);
        libraries(wheel, subject, &carried, findings);
        search(wheel, subject, findings);
        stack(wheel, subject, findings);
        for (path, why) in &wheel.facts.broken_elf {
            let what = format!("it begins as ELF does, and cannot be read: {why}");
            findings.push(Finding::warning(Rule::ElfBroken, wheel, what).file(path));
        }
    }
}

/// Some wheels carry programs for several machines and choose when they run; a module that Python imports has to be for
/// this one.
fn machines(wheel: &AuditedWheel<'_>, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let Some(platform) = &subject.floor.platform else { return };
    let wanted = platform.machine();
    let foreign: Vec<_> = wheel.facts.elf.iter().filter(|file| file.facts.machine != wanted).collect();
    let own = |kind| of_target(wheel, subject).any(|file| file.facts.kind == kind);
    let mut by_machine: BTreeMap<(&str, bool), Vec<&ElfFile>> = BTreeMap::new();
    for file in foreign {
        let extension = file.facts.kind == Kind::Extension;
        by_machine.entry((&file.facts.machine, extension)).or_default().push(file);
    }
    let pure = wheel.open.filename().tags.iter().any(|tag| tag.platform == "any");
    for ((machine, extension), files) in by_machine {
        let what = format!("{} for {machine}; the target is {wanted}", are(&files));
        let alone = if extension {
            !own(Kind::Extension)
        } else {
            !pure && of_target(wheel, subject).next().is_none()
        };
        findings.push(if alone {
            Finding::error(Rule::ElfMachine, wheel, what)
                .file(&files[0].path)
                .hint("use the wheel for the target's CPU, or build it there: its file name is wrong")
        } else {
            Finding::warning(Rule::ElfMachine, wheel, what).file(&files[0].path)
        });
    }
}

fn are(files: &[&ElfFile]) -> String {
    let names = and_more(name(&files[0].path), files.len());
    format!("{names} {}", if files.len() == 1 { "is" } else { "are" })
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Which C library, and whether it is new enough.
fn libc(wheel: &AuditedWheel<'_>, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let Some(libc) = subject.floor.libc() else { return };
    let other = |file: &&ElfFile| match libc {
        Libc::Glibc(..) => file.facts.needed.iter().any(|library| is_of_musl(library)),
        Libc::Musl(..) => {
            file.facts.needed.iter().any(|library| is_of_glibc(library))
                || !file.facts.versions_of("GLIBC").is_empty()
        }
    };
    let others: Vec<_> = of_target(wheel, subject).filter(other).collect();
    if let Some(first) = others.first() {
        let (is, has) = match libc {
            Libc::Glibc(..) => ("musl", "glibc"),
            Libc::Musl(..) => ("glibc", "musl"),
        };
        let what = format!("{} made for {is}; the target has {has}", are(&others));
        let hint = format!(
            "take the wheel for {has} ({}), or build it in a container of the target's system",
            match libc {
                Libc::Glibc(..) => "manylinux",
                Libc::Musl(..) => "musllinux",
            }
        );
        findings.push(Finding::error(Rule::ElfLibc, wheel, what).file(&first.path).hint(hint));
    }
    let Libc::Glibc(major, minor) = libc else { return };
    let newest = |file: &ElfFile| file.facts.versions_of("GLIBC").pop().filter(|it| *it > vec![major, minor]);
    let newer: Vec<_> = of_target(wheel, subject).filter_map(|file| Some((newest(file)?, file))).collect();
    let Some((version, first)) =
        newer.iter().max_by_key(|(version, file)| (version, std::cmp::Reverse(&file.path)))
    else {
        return;
    };
    let files = and_more(name(&first.path), newer.len());
    let verb = if newer.len() == 1 { "needs" } else { "need" };
    let what = format!("{files} {verb} glibc {}; the target has {major}.{minor}", text(version));
    let hint =
        "use another version, build the wheel in a container of the target's system, or name a newer target";
    findings.push(Finding::error(Rule::ElfGlibc, wheel, what).file(&first.path).hint(hint));
}

/// The libraries of the compiler, where they are the system's.
fn compilers(
    wheel: &AuditedWheel<'_>,
    subject: &Subject<'_>,
    carried: &ProvidedLibraries<'_>,
    findings: &mut Vec<Finding>,
) {
    let Some(highest) = subject.floor.compilers else { return };
    for (family, highest) in [("GLIBCXX", highest.glibcxx), ("CXXABI", highest.cxxabi), ("GCC", highest.gcc)]
    {
        let mut newer: Vec<(Vec<u32>, &ElfFile)> = Vec::new();
        for file in of_target(wheel, subject) {
            let of_system = file.facts.versions.iter().filter(|(library, _)| !carried.has(library));
            let versions = of_system.filter_map(|(_, version)| crate::elf::numbered(version, family));
            newer.extend(versions.max().filter(|version| version.as_slice() > highest).map(|it| (it, file)));
        }
        let Some((version, first)) = newer.iter().max_by_key(|(version, _)| version) else { continue };
        let files = and_more(name(&first.path), newer.len());
        let what = format!(
            "{files}: {family}_{} is needed; the target promises {family}_{} at most",
            text(version),
            text(highest)
        );
        let hint = "use another version, or build the wheel with the compiler of the target's system";
        findings.push(Finding::error(Rule::ElfSymbol, wheel, what).file(&first.path).hint(hint));
    }
}

/// Libraries that are neither carried nor promised.
fn libraries(
    wheel: &AuditedWheel<'_>,
    subject: &Subject<'_>,
    carried: &ProvidedLibraries<'_>,
    findings: &mut Vec<Finding>,
) {
    if subject.floor.platform.is_none() {
        return;
    }
    let mut missing: BTreeMap<&str, Vec<&ElfFile>> = BTreeMap::new();
    for file in of_target(wheel, subject) {
        for library in &file.facts.needed {
            let known = is_of_libc(library)
                || carried.has(library)
                || subject.floor.libraries.contains(library)
                || library.starts_with("libpython");
            if !known {
                missing.entry(library).or_default().push(file);
            }
        }
    }
    for (library, files) in missing {
        let names = and_more(name(&files[0].path), files.len());
        let verb = if files.len() == 1 { "needs" } else { "need" };
        let finding = if subject.floor.here.contains(library) {
            let what = format!(
                "{names} {verb} {library}, which this machine has beside its base system; each server is checked for it"
            );
            Finding::warning(Rule::ElfLibrary, wheel, what)
        } else {
            let what =
                format!("{names} {verb} {library}, which no wheel contains and the target does not promise");
            let hint = format!(
                "use a wheel that contains it; if the servers have it, add it to `libraries` of the [[target]] \
                 ({SITE}reference/targets/); else `--allow elf-library:{library}=REASON`"
            );
            Finding::error(Rule::ElfLibrary, wheel, what).hint(hint)
        };
        findings.push(finding.file(&files[0].path).library(library));
    }
}

/// Directories of the machine that the wheel was built on mean nothing elsewhere, or something else.
fn search(wheel: &AuditedWheel<'_>, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let mut odd: BTreeMap<&str, Vec<&ElfFile>> = BTreeMap::new();
    for file in of_target(wheel, subject) {
        for directory in &file.facts.search {
            if !directory.starts_with("$ORIGIN") && !directory.starts_with("${ORIGIN}") {
                odd.entry(directory).or_default().push(file);
            }
        }
    }
    for (directory, files) in odd {
        let names = and_more(name(&files[0].path), files.len());
        let verb = if files.len() == 1 { "looks" } else { "look" };
        let where_ = match directory {
            "" => "in the working directory of the process".to_owned(),
            absolute if absolute.starts_with('/') => {
                format!("in {absolute}, a directory of the build machine")
            }
            relative => format!("in {relative}, below the working directory of the process"),
        };
        let what = format!("{names} {verb} for libraries {where_}");
        findings.push(Finding::warning(Rule::ElfRpath, wheel, what).file(&files[0].path));
    }
}

fn stack(wheel: &AuditedWheel<'_>, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let executable = |file: &&ElfFile| match file.facts.stack {
        Stack::Executable => true,
        Stack::Plain => false,
        Stack::Unsaid => EXECUTABLE_BY_DEFAULT.contains(&file.facts.machine.as_str()),
    };
    let files: Vec<_> = of_target(wheel, subject).filter(executable).collect();
    let Some(first) = files.first() else { return };
    let names = and_more(name(&first.path), files.len());
    let verb = if files.len() == 1 { "wants" } else { "want" };
    let what = format!("{names} {verb} an executable stack");
    let refused = matches!(subject.floor.libc(), Some(libc @ Libc::Glibc(..)) if libc >= NO_EXECUTABLE_STACK);
    findings.push(if refused {
        let what = format!("{what}, which glibc refuses from 2.41 on");
        let hint = "use another version; `patchelf --clear-execstack` repairs a wheel of your own";
        Finding::error(Rule::ElfExecstack, wheel, what).file(&first.path).hint(hint)
    } else {
        let what = format!("{what}, which SELinux and glibc from 2.41 on refuse");
        Finding::warning(Rule::ElfExecstack, wheel, what).file(&first.path)
    });
}
