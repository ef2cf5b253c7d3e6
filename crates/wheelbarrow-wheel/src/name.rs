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

#[cfg(test)]
mod tests {
    use super::*;

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
