//! The functions and data that each Python exports, from 3.6 on.
//!
//! `data/python-symbols.txt` was made from the interpreters themselves: a line `[6 7 8]` with minor versions
//! of Python 3, then the names that exactly these versions export. A test of wheelbarrow-audit compares it
//! with the interpreters of the machine.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The table.
pub const TEXT: &str = include_str!("../data/python-symbols.txt");

/// The oldest minor version in the table. Older versions may have its symbols too.
pub const OLDEST: u32 = 6;

static TABLE: LazyLock<Table> = LazyLock::new(parse);

struct Table {
    by_name: HashMap<&'static str, Minors>,
    newest: u32,
}

/// Minor versions as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minors(u32);

impl Minors {
    pub fn has(self, minor: u32) -> bool {
        self.0 & 1 << minor.clamp(OLDEST, newest()) != 0
    }

    pub fn first(self) -> u32 {
        self.0.trailing_zeros()
    }

    /// One bit for each minor version: `1 << minor`.
    pub fn bits(self) -> u32 {
        self.0
    }
}

/// The versions that export the symbol; `None` if no Python in the table does.
pub fn minors(symbol: &str) -> Option<Minors> {
    TABLE.by_name.get(symbol).copied()
}

/// The newest minor version in the table.
pub fn newest() -> u32 {
    TABLE.newest
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.by_name.keys().copied()
}

fn parse() -> Table {
    let mut by_name = HashMap::new();
    let (mut minors, mut all) = (Minors(0), 0);
    for line in TEXT.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(list) => {
                let bits = list.split(' ').filter_map(|minor| minor.parse::<u32>().ok());
                minors = Minors(bits.fold(0, |bits, minor| bits | 1 << minor));
                all |= minors.0;
            }
            None => by_name.extend(line.split(' ').map(|name| (name, minors))),
        }
    }
    Table { by_name, newest: all.ilog2() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_have_the_versions_that_python_documents() {
        let range = |symbol| minors(symbol).map(|minors| (minors.first(), minors.0.ilog2()));
        assert_eq!(range("PyObject_CallNoArgs"), Some((9, newest())));
        assert_eq!(range("PyType_GetModuleByDef"), Some((11, newest())));
        assert_eq!(range("PyUnicode_AsUTF8AndSize"), Some((6, newest())));
        assert_eq!(range("PyDict_GetItemRef"), Some((13, newest())));
        assert_eq!(range("PyUnicode_FromUnicode"), Some((6, 11)));
        assert_eq!(range("PyNothing_OfTheKind"), None);
        assert!(!minors("PyCFunction_New").unwrap().has(9), "a macro there, and a function before and after");
    }
}
