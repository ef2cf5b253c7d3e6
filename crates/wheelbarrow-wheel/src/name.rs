//! Distribution names: <https://packaging.python.org/en/latest/specifications/name-normalization/>.

/// Lower case, with each run of `-`, `_` and `.` as one `-` (PEP 503).
pub fn normalise(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    let mut separated = false;
    for character in name.chars() {
        let separator = matches!(character, '-' | '_' | '.');
        if !separator {
            normal.push(character.to_ascii_lowercase());
        } else if !separated {
            normal.push('-');
        }
        separated = separator;
    }
    normal
}

/// ASCII letters, digits, `.`, `_` and `-`, with a letter or digit at both ends.
pub fn is_valid(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// Whether the name and the extras of a requirement (PEP 508) are of the characters of names and end with a letter or a digit, as names
/// must, and its marker is plain. The parser of requirements panics at some that are not.
pub fn has_whole_names(requirement: &str) -> bool {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let is_whole = |name: &str| name.chars().all(is_part) && !name.ends_with(['-', '_', '.']);
    let text = requirement.trim_start();
    let rest = text.trim_start_matches(is_part);
    let name = &text[..text.len() - rest.len()];
    let extras = rest.trim_start().strip_prefix('[').map_or("", |rest| rest.split(']').next().unwrap_or(""));
    let marker = text.split_once(';').map_or("", |(_, marker)| marker);
    is_whole(name) && extras.split(',').all(|extra| is_whole(extra.trim())) && is_plain_marker(marker)
}

/// Whether a marker is of ASCII, as all values are that it can be compared with, and nests few parentheses. The parser of markers panics
/// at other characters, also at some within quotes (it counts characters where it needs bytes), and takes a stack frame for each parenthesis.
pub fn is_plain_marker(marker: &str) -> bool {
    const DEEPEST: usize = 100;
    let mut depth = 0usize;
    marker.is_ascii()
        && marker.bytes().all(|byte| {
            match byte {
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth <= DEEPEST
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_requirements_are_whole() {
        for (text, expected) in [
            ("a", true),
            (" a-b [x, y.z] >= 1.", true),
            ("ng.[txt]", false),
            ("a_ ; x", false),
            ("a[b-]", false),
            ("a[b, c. ]", false),
            ("a[b. ; python_version", false),
            ("a[b c]", false),
            ("a[]", true),
            ("a[\u{e9}]", false),
            ("a; python_version == \"3\" \u{feff}", false),
            ("a; os_name == '\u{e9}'", false),
            (&format!("a; {}os_name == '1'{}", "(".repeat(100), ")".repeat(100)), true),
            (&format!("a; {}os_name == '1'{}", "(".repeat(101), ")".repeat(101)), false),
            (&format!("a; {}os_name == '1'", "(os_name == '1') or ".repeat(200)), true),
            ("a; os_name == 'x' \"\u{feff}", false),
            ("a; os_name == 'x' and'\u{e9}' == os_name", false),
            ("a; os_name == 'x' and 'y' == os_name", true),
            ("", true),
        ] {
            assert_eq!(has_whole_names(text), expected, "{text}");
        }
    }

    #[test]
    fn runs_of_separators_become_one_dash() {
        assert_eq!(normalise("Friendly-._.-Bard"), "friendly-bard");
        assert_eq!(normalise("zope.interface"), "zope-interface");
    }

    #[test]
    fn names_begin_and_end_with_a_letter_or_digit() {
        for good in ["a", "A1", "zope.interface", "a__b"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "-", "a-", ".a", "a b", "é", "a/b"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
