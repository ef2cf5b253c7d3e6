//! Which functions and data each Python exports, 3.6 to 3.13.
//!
//! `data/python-symbols.txt` was made from the interpreters themselves: a line `[6 7 8]` with minor versions of Python 3,
//! then the names that just these have. A test compares it with the interpreters of the machine that it runs on.

use std::collections::HashMap;
use std::sync::OnceLock;

const TABLE: &str = include_str!("../data/python-symbols.txt");

/// The minor versions that the table knows. What 3.6 has, older ones may have too; later ones are not known.
pub(crate) const OLDEST: u32 = 6;
pub(crate) const NEWEST: u32 = 13;

/// Minor versions as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Minors(u32);

impl Minors {
    pub(crate) fn has(self, minor: u32) -> bool {
        self.0 & 1 << minor.clamp(OLDEST, NEWEST) != 0
    }

    pub(crate) fn first(self) -> u32 {
        self.0.trailing_zeros()
    }
}

/// Where the symbol is to be found; nothing where no Python of the table has it.
pub(crate) fn minors(symbol: &str) -> Option<Minors> {
    static BY_NAME: OnceLock<HashMap<&str, Minors>> = OnceLock::new();
    BY_NAME.get_or_init(parse).get(symbol).copied()
}

fn parse() -> HashMap<&'static str, Minors> {
    let mut by_name = HashMap::new();
    let mut minors = Minors(0);
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(list) => {
                let bits = list.split(' ').filter_map(|minor| minor.parse::<u32>().ok());
                minors = Minors(bits.fold(0, |bits, minor| bits | 1 << minor));
            }
            None => by_name.extend(line.split(' ').map(|name| (name, minors))),
        }
    }
    by_name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_have_the_versions_that_python_documents() {
        let range = |symbol| minors(symbol).map(|minors| (minors.first(), minors.0.ilog2()));
        assert_eq!(range("PyObject_CallNoArgs"), Some((9, 13)));
        assert_eq!(range("PyType_GetModuleByDef"), Some((11, 13)));
        assert_eq!(range("PyUnicode_AsUTF8AndSize"), Some((6, 13)));
        assert_eq!(range("PyDict_GetItemRef"), Some((13, 13)));
        assert_eq!(range("PyUnicode_FromUnicode"), Some((6, 11)));
        assert_eq!(range("PyNothing_OfTheKind"), None);
        assert!(!minors("PyCFunction_New").unwrap().has(9), "a macro there, and a function before and after");
    }

    /// Compared with the interpreters of this machine; `WHEELBARROW_BLESS` writes the table anew.
    #[test]
    fn the_table_is_that_of_the_interpreters() {
        let mut found: HashMap<String, u32> = HashMap::new();
        let mut seen = 0;
        for (minor, path) in interpreters() {
            let Ok(bytes) = fs_err::read(&path) else { continue };
            let facts = crate::elf::ElfFacts::read(&bytes).unwrap();
            for symbol in facts.python_defined.into_iter().filter(|name| !name.starts_with("PyInit_")) {
                *found.entry(symbol).or_default() |= 1 << minor;
            }
            seen |= 1 << minor;
        }
        if std::env::var_os("WHEELBARROW_BLESS").is_some() {
            return bless(&found);
        }
        if seen == 0 {
            println!("skipped: no interpreter below ~/.pyenv/versions");
            return;
        }
        // A later bug fix release may have a private symbol more or less.
        let public = |name: &&str| name.starts_with("Py");
        let wrong: Vec<_> = parse()
            .iter()
            .filter(|(name, minors)| {
                public(name) && found.get(**name).copied().unwrap_or(0) != minors.0 & seen
            })
            .map(|(name, _)| (*name).to_owned())
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let unknown: Vec<_> =
            found.keys().filter(|name| public(&name.as_str()) && minors(name).is_none()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    fn interpreters() -> Vec<(u32, std::path::PathBuf)> {
        let versions = std::env::home_dir().unwrap_or_default().join(".pyenv/versions");
        let names = fs_err::read_dir(versions).into_iter().flatten().flatten();
        let mut found = Vec::new();
        for entry in names {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(minor) = name.strip_prefix("3.").and_then(|rest| rest.split('.').next()) else {
                continue;
            };
            let Some(minor) = minor.parse().ok().filter(|minor| (OLDEST..=NEWEST).contains(minor)) else {
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

    fn bless(found: &HashMap<String, u32>) {
        let mut groups: std::collections::BTreeMap<u32, Vec<&str>> = std::collections::BTreeMap::new();
        for (name, bits) in found {
            groups.entry(*bits).or_default().push(name);
        }
        let comment = TABLE.lines().take_while(|line| line.starts_with('#'));
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
        fs_err::write(concat!(env!("CARGO_MANIFEST_DIR"), "/data/python-symbols.txt"), text).unwrap();
    }
}
