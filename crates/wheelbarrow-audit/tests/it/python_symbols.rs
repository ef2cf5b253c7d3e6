//! The table of what each Python exports, against the interpreters themselves.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use wheelbarrow_audit::elf::ElfFacts;
use wheelbarrow_platform::python_symbols::{OLDEST, TEXT, minors, names, newest};

/// Compared with the interpreters of this machine; `WHEELBARROW_BLESS` writes their symbols into the table.
#[test]
fn the_table_is_that_of_the_interpreters() {
    let mut found: HashMap<String, u32> = HashMap::new();
    let mut seen = 0;
    for (minor, path) in interpreters() {
        let Ok(bytes) = fs_err::read(&path) else { continue };
        let facts = ElfFacts::read(&bytes).unwrap();
        for symbol in facts.python_defined.into_iter().filter(|name| !name.starts_with("PyInit_")) {
            *found.entry(symbol).or_default() |= 1 << minor;
        }
        seen |= 1 << minor;
    }
    if is_blessing() {
        return bless(found, seen);
    }
    if seen == 0 {
        println!("skipped: no interpreter below ~/.pyenv/versions");
        return;
    }
    // A later bug fix release may have a private symbol more or less.
    let public = |name: &&str| name.starts_with("Py");
    let wrong: Vec<_> = names()
        .filter(public)
        .filter(|name| found.get(*name).copied().unwrap_or(0) != minors(name).unwrap().bits() & seen)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let unknown: Vec<_> =
        found.keys().filter(|name| public(&name.as_str()) && minors(name).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

fn is_blessing() -> bool {
    std::env::var_os("WHEELBARROW_BLESS").is_some()
}

fn interpreters() -> Vec<(u32, PathBuf)> {
    let versions = std::env::home_dir().unwrap_or_default().join(".pyenv/versions");
    let last = if is_blessing() { 31 } else { newest() };
    let names = fs_err::read_dir(versions).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in names {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(minor) = name.strip_prefix("3.").and_then(|rest| rest.split('.').next()) else {
            continue;
        };
        let Some(minor) = minor.parse().ok().filter(|minor| (OLDEST..=last).contains(minor)) else {
            continue;
        };
        let libraries = fs_err::read_dir(entry.path().join("lib")).into_iter().flatten().flatten();
        let libraries = libraries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("libpython3.") && name.ends_with(".so.1.0")
        });
        let program = entry.path().join(format!("bin/python3.{minor}"));
        found.extend(libraries.chain([program]).map(|path| (minor, path)));
    }
    found
}

/// A Python that this machine lacks keeps the symbols that it has in the table.
fn bless(mut found: HashMap<String, u32>, seen: u32) {
    for name in names() {
        let kept = minors(name).unwrap().bits() & !seen;
        if kept != 0 {
            *found.entry(name.to_owned()).or_default() |= kept;
        }
    }
    let mut groups: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for (name, bits) in &found {
        groups.entry(*bits).or_default().push(name);
    }
    let comment = TEXT.lines().take_while(|line| line.starts_with('#'));
    let mut text: String = comment.map(|line| format!("{line}\n")).collect();
    for (bits, mut names) in groups {
        let minors: Vec<_> =
            (0..32).filter(|minor| bits & 1 << minor != 0).map(|minor| minor.to_string()).collect();
        text.push_str(&format!("[{}]\n", minors.join(" ")));
        names.sort_unstable();
        for names in names.chunks(4) {
            text.push_str(&format!("{}\n", names.join(" ")));
        }
    }
    fs_err::write(
        concat!(env!("CARGO_MANIFEST_DIR"), "/../wheelbarrow-platform/data/python-symbols.txt"),
        text,
    )
    .unwrap();
}
