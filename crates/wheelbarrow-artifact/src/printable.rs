//! Names, versions and errors from outside, made safe for a terminal: control characters are escaped.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with control characters as escapes, `\x1b`. Line ends and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, |character| character != '\n' && character != '\t' && is_control(character), "\\x", 2)
}

/// The same of what is one line: line ends and tabs are escaped too.
pub fn printable_line(text: &str) -> Cow<'_, str> {
    escape(text, is_control, "\\x", 2)
}

/// The same for text of JSON, in whose strings such characters may only be: as `\u001b`.
pub fn printable_json(text: &str) -> Cow<'_, str> {
    escape(text, |character| character != '\n' && is_control(character), "\\u", 4)
}

fn escape<'t>(text: &'t str, is_wrong: impl Fn(char) -> bool, escape: &str, digits: usize) -> Cow<'t, str> {
    if !text.chars().any(&is_wrong) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match u32::from(character) {
            code if is_wrong(character) && code > 0xff => _ = write!(escaped, "\\u{code:04x}"),
            code if is_wrong(character) => _ = write!(escaped, "{escape}{code:0digits$x}"),
            _ => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// C0, DEL and C1, and what ends a line or changes its direction (Unicode, UAX #9, section 2).
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_text_is_not() {
        let text = "a\x1b]52;c;eA==\x07b\r\u{9b}2J\x7f\u{202e}ü\u{200f}\t\n";
        assert_eq!(printable(text), "a\\x1b]52;c;eA==\\x07b\\x0d\\x9b2J\\x7f\\u202eü\\u200f\t\n");
        assert_eq!(printable_line("a\n  hint: \x1b\t\u{2028}b"), "a\\x0a  hint: \\x1b\\x09\\u2028b");
        assert!(matches!(printable("plain ü\n\ttext"), Cow::Borrowed(_)));
        let json = serde_json::to_string(text).unwrap();
        let escaped = printable_json(&json);
        assert!(!escaped.chars().any(is_control), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
    }
}
