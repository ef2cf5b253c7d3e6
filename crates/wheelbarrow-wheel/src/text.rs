//! The texts of `.dist-info` as both installers read them: `docs/reference/format.md`, "Wheels".
//!
//! White space, lines and letters of Unicode differ between languages and versions. So these rules use ASCII,
//! and `rules.py` has the same rules.

/// Lines end with `\n`, in front of which `\r` is white space. A byte order mark in front of the first is none of it.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.trim_start_matches('\u{feff}').split('\n')
}

/// Without spaces, tabs and `\r` at both ends.
pub fn strip(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r'])
}

/// C0, DEL and C1, and what ends or turns a line (Unicode, UAX #9, section 2): no name of a member or a script has them.
pub fn is_control(character: char) -> bool {
    matches!(character, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `[A-Za-z_][A-Za-z0-9_]*`, with dots between.
pub fn is_dotted(text: &str) -> bool {
    text.split('.').all(|part| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// One to `most` digits, as a number.
pub fn number(text: &str, most: usize) -> Option<u64> {
    let are_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (are_digits && text.len() <= most).then(|| text.parse().ok()).flatten()
}
