//! The script in front of an artifact with a bundled Python, as far as readers check it:
//! `docs/reference/format.md`, "The shebang member".
//!
//! The script copies bytes of the file from an offset and runs them. The manifest covers its text, but neither the order of members
//! nor how they are deflated. So the reader requires that the standalone binaries are at these offsets, stored as they are.

use crate::manifest::NATIVE;
use crate::zip::{Entry, Method};

/// What stands in the script before the cases and behind them.
const BEFORE: &str = "\ncase $machine in\n";
const BEHIND: &str = "*) ";

/// The part of the script that finds the programs, given by machine, offset in the file and bytes.
pub fn cases<'p>(programs: impl Iterator<Item = (&'p str, usize, u64)>) -> String {
    let cases = programs.map(|(machine, offset, size)| {
        // `tail` counts from one. The width is always the same, so that the offsets do not depend on themselves.
        format!("{machine}) at={:<9} size={size} ;;\n", offset + 1)
    });
    [BEFORE, &cases.collect::<String>(), BEHIND].concat()
}

/// The Python that a shebang names, a path or a name on PATH: that of `#!/usr/bin/python3.11`, or of
/// `#!/usr/bin/env python3.11`.
pub fn python_of(shebang: &str) -> Option<&str> {
    let mut words = shebang.lines().next()?.strip_prefix("#!")?.split_ascii_whitespace();
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let first = words.next()?;
    let python = if name(first) == "env" { words.next()? } else { first };
    name(python).starts_with("python").then_some(python)
}

/// Whether these first lines run the standalone binaries: they are the first of all members, in order, stored, and where the script
/// has them.
pub(crate) fn runs_programs(head: &str, entries: &[Entry]) -> bool {
    let machine = |entry: &Entry| entry.name.strip_prefix(NATIVE)?.strip_prefix("linux-").map(str::to_owned);
    let programs: Vec<_> =
        entries.iter().map_while(|entry| Some((machine(entry)?, entry.data.start, entry.size))).collect();
    let (first, others) = entries.split_at(programs.len());
    let expected = cases(programs.iter().map(|(machine, offset, size)| (machine.as_str(), *offset, *size)));
    !programs.is_empty()
        && first.iter().all(|entry| entry.method == Method::Stored)
        && first.is_sorted_by(|one, other| one.name < other.name)
        && !others.iter().any(|entry| machine(entry).is_some())
        && head.contains(&expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_python_of_a_shebang() {
        for (shebang, python) in [
            ("#!/usr/bin/env python3\n", Some("python3")),
            ("#! /usr/bin/python3.11 -I\n", Some("/usr/bin/python3.11")),
            ("#!/usr/bin/env -S python3.11 -I\n", None),
            ("#!/bin/sh\ncase $machine in\n", None),
            ("", None),
        ] {
            assert_eq!(python_of(shebang), python, "{shebang}");
        }
    }
}
