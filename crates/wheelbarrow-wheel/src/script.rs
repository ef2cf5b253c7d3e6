//! The text of scripts in `bin`; `docs/reference/format.md`, "What an install leaves", 3 and 4.

use std::collections::HashSet;

use crate::entry_points::{EntryPoint, EntryPoints};

/// What every Linux kernel reads of a first line, in bytes.
const LONGEST_SHEBANG: usize = 127;

/// The line, or lines, with which the kernel finds `python` (an absolute path), with a line end. Where one line cannot
/// hold it, `/bin/sh` does: to Python the two lines after it are one string. `rest` is what follows in the line: nothing,
/// or a space and arguments, or the `3` of a `#!python3`.
fn shebang(python: &str, rest: &[u8]) -> Vec<u8> {
    if 2 + python.len() + rest.len() <= LONGEST_SHEBANG && !python.contains([' ', '\t']) {
        return [b"#!", python.as_bytes(), rest, b"\n"].concat();
    }
    // A backslash is doubled between double quotes: that is one to the shell, and no escape sequence to Python.
    let quoted = python.replace('\'', "'\"'\"'").replace('\\', r#"'"\\"'"#);
    let exec = format!("#!/bin/sh\n'''exec' '{quoted}'");
    [exec.as_bytes(), rest, b" \"$0\" \"$@\"\n' '''\n"].concat()
}

/// The script of an entry point.
pub fn entry_point_script(python: &str, entry: &EntryPoint) -> Vec<u8> {
    let EntryPoint { module, object, .. } = entry;
    let first = object.split('.').next().unwrap_or(object);
    let code = format!(
        "import sys\nfrom {module} import {first}\nif __name__ == \"__main__\":\n    sys.exit({object}())\n"
    );
    [shebang(python, b""), code.into_bytes()].concat()
}

/// A file of `scripts` that begins with `#!python`, with the interpreter's line instead; `None` for any other file.
pub fn rewrite_shebang(content: &[u8], python: &str) -> Option<Vec<u8>> {
    let after = content.strip_prefix(b"#!python")?;
    let end = after.iter().position(|byte| *byte == b'\n');
    let (line, rest) = end.map_or((after, &b""[..]), |end| (&after[..end], &after[end + 1..]));
    let rest_of_line = line.strip_prefix(b"w").unwrap_or(line).trim_ascii_end();
    let mut script = shebang(python, rest_of_line);
    script.extend_from_slice(rest);
    Some(script)
}

/// Whether a file of `scripts` is one that an old setuptools wrote for an entry point, which gets its own: `NAME`,
/// `NAME.exe`, `NAME-script.py` or `NAME.pya`, as pip has it.
pub fn is_wrapper(file_name: &str, entry_points: &HashSet<&str>) -> bool {
    let stem = ["-script.py", ".exe", ".pya"].iter().find_map(|end| strip_suffix_of_any_case(file_name, end));
    let stem = stem.unwrap_or(file_name);
    entry_points.contains(stem)
}

fn strip_suffix_of_any_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (stem, end) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(stem)
}

/// The scripts of pip in the virtualenv of Python 3.`minor`, whatever else the entry points of its wheel are.
pub fn of_pip(entry_points: &EntryPoints, minor: u32) -> [EntryPoint; 3] {
    let names = ["pip".to_owned(), "pip3".to_owned(), format!("pip3.{minor}")];
    let found = entry_points.iter().find(|entry| entry.name == "pip");
    let (module, object) =
        found.map_or(("pip._internal.cli.main", "main"), |entry| (&entry.module, &entry.object));
    names.map(|name| EntryPoint { name, module: module.to_owned(), object: object.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTHON: &str = "/srv/site/venv/bin/python";

    fn text(script: Vec<u8>) -> String {
        String::from_utf8(script).unwrap()
    }

    fn entry(name: &str, object: &str) -> EntryPoint {
        EntryPoint { name: name.to_owned(), module: "pack.module".to_owned(), object: object.to_owned() }
    }

    #[test]
    fn entry_points_import_the_first_part_and_call_the_whole() {
        insta::assert_snapshot!(text(entry_point_script(PYTHON, &entry("git-gud", "git.gud"))), @r#"
        #!/srv/site/venv/bin/python
        import sys
        from pack.module import git
        if __name__ == "__main__":
            sys.exit(git.gud())
        "#);
    }

    #[test]
    fn long_shebangs_use_the_shell() {
        let shebang = |python: &str, rest: &str| text(super::shebang(python, rest.as_bytes()));
        assert_eq!(shebang(PYTHON, ""), "#!/srv/site/venv/bin/python\n");
        assert_eq!(shebang(PYTHON, " -u"), "#!/srv/site/venv/bin/python -u\n");
        insta::assert_snapshot!(shebang("/srv/my site/bin/python", " -u"), @r#"
        #!/bin/sh
        '''exec' '/srv/my site/bin/python' -u "$0" "$@"
        ' '''
        "#);
        insta::assert_snapshot!(shebang(r"/srv/my \N\site's/python", ""), @r#"
        #!/bin/sh
        '''exec' '/srv/my '"\\"'N'"\\"'site'"'"'s/python' "$0" "$@"
        ' '''
        "#);
        let long = |length: usize| format!("/{}", "x".repeat(length - 1));
        assert!(shebang(&long(125), "").starts_with("#!/x"));
        assert!(shebang(&long(126), "").starts_with("#!/bin/sh\n"));
    }

    #[test]
    fn only_scripts_for_python_get_another_first_line() {
        let rewritten = |content: &[u8]| {
            rewrite_shebang(content, PYTHON).map(|script| String::from_utf8(script).unwrap())
        };
        let expected = |rest: &str| Some(format!("#!{PYTHON}{rest}"));
        assert_eq!(rewritten(b"#!python\nx\n"), expected("\nx\n"));
        assert_eq!(rewritten(b"#!pythonw -u \r\nx\r\n"), expected(" -u\nx\r\n"));
        assert_eq!(rewritten(b"#!python3 -E"), expected("3 -E\n"));
        for other in [&b"#!/usr/bin/env python\n"[..], b"#script\n", b"", b"#! python\n"] {
            assert_eq!(rewritten(other), None);
        }
        assert!(rewrite_shebang(b"#!python\n\xff\xfe", PYTHON).unwrap().ends_with(b"\n\xff\xfe"));
    }

    #[test]
    fn undecodable_bytes_are_kept_in_the_first_line() {
        assert!(rewrite_shebang(b"#!python -\xff\x0b\n", PYTHON).unwrap().ends_with(b"python -\xff\x0b\n"));
    }

    #[test]
    fn scripts_written_by_setuptools_are_recognised() {
        let points = HashSet::from(["t1", "win"]);
        for wrapper in ["t1", "t1.exe", "t1.EXE", "t1-script.py", "win.pya"] {
            assert!(is_wrapper(wrapper, &points), "{wrapper}");
        }
        for own in ["t1.bat", "t1-script.pyw", "other", "é.exe"] {
            assert!(!is_wrapper(own, &points), "{own}");
        }
    }

    #[test]
    fn pip_has_three_names() {
        let points = EntryPoints { console: vec![entry("other", "x"), entry("pip", "run")], gui: Vec::new() };
        let scripts = of_pip(&points, 12).map(|entry| format!("{} {}", entry.name, entry.object));
        assert_eq!(scripts, ["pip run", "pip3 run", "pip3.12 run"]);
        assert_eq!(of_pip(&EntryPoints::default(), 12)[0].module, "pip._internal.cli.main");
    }
}
