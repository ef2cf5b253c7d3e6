//! Divides a requirements file into logical lines, as pip does.
//! <https://pip.pypa.io/en/stable/reference/requirements-file-format/>

/// A logical line, and the number of its first physical line.
pub(super) type Line = (usize, String);

/// The text of a file in UTF-8 or, with a byte order mark, UTF-16. An error names the line.
pub(super) fn decode(bytes: &[u8]) -> Result<String, (usize, String)> {
    let units = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        let whole = rest.len().is_multiple_of(2);
        String::from_utf16(&units).ok().filter(|_| whole).ok_or_else(|| (1, "invalid UTF-16".to_owned()))
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest)?,
        rest => utf8(rest)?,
    };
    match text.find('\0') {
        None => Ok(text),
        Some(at) => {
            Err((line_of(&text[..at]), "unexpected NUL character; save the file as UTF-8".to_owned()))
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<String, (usize, String)> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
        (line_of(&before), "invalid UTF-8; save the file as UTF-8".to_owned())
    })
}

fn line_of(before: &str) -> usize {
    physical(before).len().max(1) + usize::from(before.ends_with(is_break))
}

/// Whether Python's `str.splitlines`, and so pip, ends a line here.
fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn physical(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(is_break).unwrap_or(rest.len());
        lines.push(&rest[..end]);
        rest = &rest[end..];
        let width = if rest.starts_with("\r\n") { 2 } else { rest.chars().next().map_or(0, char::len_utf8) };
        rest = &rest[width..];
    }
    lines
}

/// Lines with continuations joined and comments removed. Empty ones are left out.
pub(super) fn logical(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut open: Option<Line> = None;
    for (index, line) in physical(text).into_iter().enumerate() {
        let is_comment = line.trim_start().starts_with('#');
        let (start, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        if is_comment {
            // Also behind a continuation it is a comment.
            joined.push(' ');
        }
        match line.strip_suffix('\\') {
            Some(part) if !is_comment => {
                joined.push_str(part);
                open = Some((start, joined));
            }
            _ => {
                joined.push_str(line);
                lines.push((start, joined));
            }
        }
    }
    lines.extend(open);
    lines
        .into_iter()
        .map(|(number, line)| (number, without_comment(&line).trim().to_owned()))
        .filter(|(_, line)| !line.is_empty())
        .collect()
}

/// A `#` begins a comment at the line's start or after a blank; else it is part of a URL.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        if character == '#' && before.is_whitespace() {
            return &line[..at];
        }
        before = character;
    }
    line
}

/// `${NAME}` replaced by the variable's value; a variable that is not set stays as it is.
pub(super) fn expand(text: &str) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        expanded.push_str(before);
        let Some((variable, tail)) = after.split_once('}') else {
            return expanded + "${" + after;
        };
        expanded.push_str(&std::env::var(variable).unwrap_or_else(|_| format!("${{{variable}}}")));
        rest = tail;
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_pip_ends_them() {
        let lines = |text: &str| logical(text).into_iter().map(|(_, line)| line).collect::<Vec<_>>();
        assert_eq!(lines("a\rb\r\nc\x0cd\u{2028}e"), ["a", "b", "c", "d", "e"]);
        assert_eq!(lines("a \\\r\n  --hash=x\\\n# end\nb#c # d"), ["a   --hash=x", "b#c"]);
        assert_eq!(logical("\r\r# x\r\ra\\\rb").first(), Some(&(5, "ab".to_owned())));
    }

    #[test]
    fn encodings_are_detected_by_byte_order_marks() {
        let utf16 = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(unit).collect()
        };
        for bytes in [utf16("ä==1", u16::to_le_bytes), utf16("ä==1", u16::to_be_bytes), "\u{feff}ä==1".into()]
        {
            assert_eq!(decode(&bytes).unwrap(), "ä==1");
        }
        assert_eq!(decode(b"a\nb\r\n\xff").unwrap_err().0, 3);
        assert_eq!(decode(b"a\nb\0").unwrap_err().0, 2);
        assert!(decode(b"\xff\xfea").is_err());
    }
}
