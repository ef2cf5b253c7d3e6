//! The text of scripts in `bin`; `docs/format.md`, "What an install leaves", 3 and 4.

use crate::entry_points::{EntryPoint, EntryPoints};

/// What every Linux kernel reads of a first line, in bytes.
const LONGEST_SHEBANG: usize = 127;

/// The line, or lines, with which the kernel finds `python` (an absolute path), with a line end. Where one line cannot
/// hold it, `/bin/sh` does: to Python the two lines after it are one string.
pub fn shebang(python: &str, arguments: &str) -> String {
    let before = if arguments.is_empty() { "" } else { " " };
    let line = format!("#!{python}{before}{arguments}");
    if line.len() <= LONGEST_SHEBANG && !python.contains([' ', '\t']) {
        return line + "\n";
    }
    let quoted = python.replace('\'', "'\"'\"'");
    format!("#!/bin/sh\n'''exec' '{quoted}'{before}{arguments} \"$0\" \"$@\"\n' '''\n")
}

/// The script of an entry point.
pub fn entry_point_script(python: &str, entry: &EntryPoint) -> String {
    let EntryPoint { module, object, .. } = entry;
    let first = object.split('.').next().unwrap_or(object);
    let shebang = shebang(python, "");
    format!(
        "{shebang}import sys\nfrom {module} import {first}\nif __name__ == \"__main__\":\n    sys.exit({object}())\n"
    )
}

/// A file of `scripts` that begins with `#!python`, with the interpreter's line instead; `None` for any other file.
pub fn rewrite_shebang(content: &[u8], python: &str) -> Option<Vec<u8>> {
    let after = content.strip_prefix(b"#!python")?;
    let end = after.iter().position(|byte| *byte == b'\n');
    let (line, rest) = end.map_or((after, &b""[..]), |end| (&after[..end], &after[end + 1..]));
    // `w`, or the `3` of a `#!python3`, belongs to the name that is replaced.
    let name = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let arguments = String::from_utf8_lossy(line[name..].trim_ascii());
    let mut script = shebang(python, &arguments).into_bytes();
    script.extend_from_slice(rest);
    Some(script)
}

/// Whether a file of `scripts` is one that an old setuptools wrote for an entry point, which gets its own: `NAME`,
/// `NAME.exe`, `NAME-script.py` or `NAME.pya`, as pip has it.
pub fn is_wrapper(file_name: &str, entry_points: &EntryPoints) -> bool {
    let stem = ["-script.py", ".exe", ".pya"].iter().find_map(|end| strip_suffix_of_any_case(file_name, end));
    let stem = stem.unwrap_or(file_name);
    entry_points.iter().any(|entry| entry.name == stem)
}

fn strip_suffix_of_any_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (stem, end) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(stem)
}

/// The scripts of pip in the virtualenv of Python 3.`minor`, whatever the entry points of its wheel are.
pub fn console_names_for_pip(minor: u32) -> [String; 3] {
    ["pip".to_owned(), "pip3".to_owned(), format!("pip3.{minor}")]
}
