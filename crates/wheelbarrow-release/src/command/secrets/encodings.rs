//! The forms in which programs print a value.

use std::collections::BTreeSet;
use std::fmt::Write;

use base16ct::{lower, upper};
use base64ct::{Base64Unpadded, Encoding};
use wheelbarrow_wheel::order::Inserted;

use super::undone::View;

/// Bytes.
const PIECE: usize = 16;
/// Bytes of a value that is looked for in base64 of its escaped forms: there are many.
const LONGEST_TWICE: usize = 512;

/// The value, and what quoting, escaping and their reverse make of it; some of that twice, as in the text of an exception
/// that is shown in another.
pub(super) fn of(value: &str) -> BTreeSet<String> {
    let mut plain: BTreeSet<String> = [value, value.trim()].into_iter().map(str::to_owned).inserted();
    plain.extend(percent_decoded(value));
    plain.extend(percent_decoded(&value.replace('+', " ")));
    // What is looked for in a text without escapes must have none either.
    plain.extend(undone(value));
    let mut forms = plain.clone();
    for text in &plain {
        forms.insert(text.replace(' ', "+"));
        forms.extend(in_urls(text));
        for once in escaped(text).into_iter().inserted::<BTreeSet<String>>() {
            forms.extend(escaped(&once));
            forms.insert(once);
        }
    }
    forms
}

/// Without one layer of what would be read as escapes in it, without two, and so on.
fn undone(value: &str) -> impl Iterator<Item = String> {
    let next = |text: &String| String::from_utf8(View::undone(text.as_bytes())?.bytes).ok();
    std::iter::successors(next(&value.to_owned()), next)
}

/// Pieces of what base64 and hexadecimal digits make of a value. In base64 that depends on how many bytes stand before it, as
/// in `user:password`, and its ends on what is next to them: only what does not is here.
pub(super) fn encoded(value: &str) -> BTreeSet<String> {
    let wholes = [lower::encode_string(value.as_bytes()), upper::encode_string(value.as_bytes())];
    let wholes = wholes.into_iter().chain(in_base64(value));
    let mut all: BTreeSet<String> = wholes.flat_map(|whole| pieces(&whole).collect::<Vec<_>>()).inserted();
    if value.len() <= LONGEST_TWICE {
        // Base64 is often that of JSON or of a URL.
        let texts: BTreeSet<String> = escaped(value).into_iter().chain(in_urls(value)).inserted();
        let wholes = texts.iter().filter(|text| *text != value).flat_map(|text| in_base64(text));
        let twice = wholes.flat_map(|whole| pieces(&whole).collect::<Vec<_>>());
        all.extend(twice.filter(|piece| piece.len() >= PIECE / 2));
    }
    all
}

fn in_base64(text: &str) -> impl Iterator<Item = String> {
    (0..3).flat_map(|before| {
        let bytes = [&[0; 2][..before], text.as_bytes()].concat();
        let base64 = Base64Unpadded::encode_string(&bytes);
        let whole = base64[(8 * before).div_ceil(6)..8 * bytes.len() / 6].to_owned();
        [whole.replace('+', "-").replace('/', "_"), whole]
    })
}

/// Long texts are broken into lines, of which each has a whole piece.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    let size = if text.len() <= 2 * PIECE { text.len().max(1) } else { PIECE };
    text.as_bytes().chunks(size).map(|piece| String::from_utf8_lossy(piece).into_owned())
}

/// By quote() and quote_plus() of Python, and as browsers and others do it.
fn in_urls(text: &str) -> Vec<String> {
    let upper = |safe: &str| quoted(text, safe);
    let quoted = ["", "/", "/!*'()", "!*'()", "/:@!$&'()*+,;="].map(upper);
    let mut forms: Vec<String> = quoted.to_vec();
    forms.extend(quoted.iter().map(|form| form.replace("%20", "+")));
    forms.extend(quoted.iter().map(|form| lower_escapes(form)));
    // A URL within another.
    forms.extend(quoted.iter().map(|form| form.replace('%', "%25")));
    forms
}

/// RFC 3986, section 2.1.
fn quoted(text: &str, safe: &str) -> String {
    let mut quoted = String::new();
    for byte in text.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric()
            || "-._~".contains(character)
            || safe.contains(character) && byte < 128
        {
            quoted.push(character);
        } else {
            let _ = write!(quoted, "%{byte:02X}");
        }
    }
    quoted
}

fn lower_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(2));
        let _ = write!(lower, "%{}{rest}", digits.to_ascii_lowercase());
    }
    lower
}

/// None where nothing is quoted.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    let decoded = String::from_utf8(decoded).ok()?;
    (decoded != text).then_some(decoded)
}

/// As strings of JSON, of Python and of SQL, as bytes of Python, in HTML and mail, and as words of a shell.
fn escaped(text: &str) -> Vec<String> {
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let ascii = only_ascii(&json);
    let mut forms = vec![json.replace('/', "\\/"), in_scripts(&json, "&<>", true)];
    forms.extend(["&<>", "&<>'"].map(|escaped| in_scripts(&json, escaped, false)));
    forms.extend([json, ascii, python_ascii(text), in_mail(text)]);
    forms.extend(['\'', '"'].map(|quote| text.replace(quote, &format!("{quote}{quote}"))));
    forms.extend(in_shells(text));
    for quote in ['\'', '"', '\0'] {
        let string = repr(text, quote);
        forms.push(only_ascii(&string));
        forms.push(python_ascii(&string));
        forms.push(string);
        forms.push(bytes(text, quote));
    }
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // By Python, by others, and by markupsafe and Go.
    for (double, single) in [("&quot;", "&#x27;"), ("&quot;", "&#39;"), ("&quot;", "'"), ("&#34;", "&#39;")] {
        forms.push(html.replace('"', double).replace('\'', single));
    }
    forms.push(html);
    forms
}

/// JSON within HTML: by json_script of Django, with upper digits, by Go, and by tojson of Jinja.
fn in_scripts(json: &str, escaped: &str, is_upper: bool) -> String {
    let mut shown = String::new();
    for one in json.chars() {
        let _ = match (escaped.contains(one), is_upper) {
            (true, true) => write!(shown, "\\u{:04X}", u32::from(one)),
            (true, false) => write!(shown, "\\u{:04x}", u32::from(one)),
            (false, _) => write!(shown, "{one}"),
        };
    }
    shown
}

/// Within single quotes by Python and by shells themselves, within double quotes, and without quotes by Bash (`printf %q`) and by Ruby.
fn in_shells(text: &str) -> [String; 5] {
    let backslashed = |is_special: &dyn Fn(char) -> bool| {
        text.chars().flat_map(|one| is_special(one).then_some('\\').into_iter().chain([one])).collect()
    };
    [
        text.replace('\'', "'\"'\"'"),
        text.replace('\'', "'\\''"),
        backslashed(&|one| "\\\"$`".contains(one)),
        backslashed(&|one| " \t'\"\\|&;()<>!{}*[]?^$`,".contains(one)),
        backslashed(&|one| !(one.is_ascii_alphanumeric() || "_-.,:+/@".contains(one))),
    ]
}

/// The inside of `repr(str)` (`unicode_repr` of CPython).
fn repr(text: &str, quote: char) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        match character {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            one if one == quote => {
                shown.push('\\');
                shown.push(one);
            }
            one if one.is_control() => _ = write!(shown, "\\x{:02x}", u32::from(one)),
            one => shown.push(one),
        }
    }
    shown
}

/// The inside of `repr(bytes)`, of UTF-8.
fn bytes(text: &str, quote: char) -> String {
    let mut shown = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' | b'\n' | b'\r' | b'\t' => {
                shown.push_str(&repr(&char::from(byte).to_string(), quote))
            }
            byte => _ = write!(shown, "\\x{byte:02x}"),
        }
    }
    shown
}

/// By ascii() of Python, and by `backslashreplace`, which writes to its standard error in a locale without UTF-8.
fn python_ascii(text: &str) -> String {
    let mut shown = String::new();
    for one in text.chars() {
        let _ = match u32::from(one) {
            0..0x80 => write!(shown, "{one}"),
            code @ 0x80..0x100 => write!(shown, "\\x{code:02x}"),
            code @ 0x100..0x10000 => write!(shown, "\\u{code:04x}"),
            code => write!(shown, "\\U{code:08x}"),
        };
    }
    shown
}

/// Quoted-printable (RFC 2045, section 6.7).
fn in_mail(text: &str) -> String {
    let mut shown = String::new();
    for byte in text.bytes() {
        let _ = match byte {
            b'=' => write!(shown, "=3D"),
            b' '..=b'~' | b'\t' | b'\n' | b'\r' => write!(shown, "{}", char::from(byte)),
            _ => write!(shown, "={byte:02X}"),
        };
    }
    shown
}

/// With `\uXXXX` for other characters, in pairs beyond the first 65,536 (RFC 8259, section 7).
fn only_ascii(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if character.is_ascii() {
            shown.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}
