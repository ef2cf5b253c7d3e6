//! A text without escapes. Programs write a value with many escapes, separate and nested: `\u00f6` beside
//! `\/`, base64 in a URL, JSON in JSON. They are removed here, one layer at a time.

use std::ops::Range;

/// Another form of a text, and from where in the text its bytes come.
pub(super) struct View {
    pub(super) bytes: Vec<u8>,
    anchors: Vec<Anchor>,
}

/// From `at` on, bytes of the view are those of the text from `from` on, up to the next anchor.
struct Anchor {
    at: usize,
    from: usize,
    /// Where in the text the byte before ends.
    before: usize,
}

impl View {
    /// `unit` says what the rest of a text begins with: how many bytes of it, and what they stand for. None for a byte that stands for
    /// itself.
    fn of(text: &[u8], unit: impl Fn(&[u8]) -> Option<(usize, Bytes)>) -> Self {
        let mut view = Self { bytes: Vec::with_capacity(text.len()), anchors: Vec::new() };
        let (mut at, mut end) = (0, 0);
        while at < text.len() {
            let (length, stands_for) = unit(&text[at..]).unwrap_or((1, Bytes::one(text[at])));
            if !stands_for.is_empty() {
                view.note(at, end);
                view.bytes.extend_from_slice(stands_for.as_slice());
                end = at + length;
                if stands_for.len() != length {
                    // The next byte is not where it would be by counting.
                    view.anchors.push(Anchor { at: view.bytes.len(), from: end, before: end });
                }
            }
            at += length;
        }
        view
    }

    /// That the next byte comes from `from`, where counting says otherwise.
    fn note(&mut self, from: usize, before: usize) {
        let at = self.bytes.len();
        match self.anchors.last_mut() {
            Some(last) if last.at == at => last.from = from,
            Some(last) if last.from + at - last.at == from => {}
            None if at == from => {}
            _ => self.anchors.push(Anchor { at, from, before }),
        }
    }

    /// With this, if anything, in place of line breaks and colours.
    pub(super) fn joined(text: &[u8], gap: fn(&[u8]) -> usize, by: Option<u8>) -> Self {
        let by = by.map_or(Bytes::default(), Bytes::one);
        Self::of(text, |rest| Some(gap(rest)).filter(|gap| *gap > 0).map(|gap| (gap, by)))
    }

    /// Without one layer of escapes; none if there are no escapes.
    pub(super) fn undone(text: &[u8]) -> Option<Self> {
        let may_have = text.iter().any(|byte| b"\\%&".contains(byte));
        let view = may_have.then(|| Self::of(text, escape))?;
        (view.bytes.len() < text.len()).then_some(view)
    }

    /// Where in the text a part of the view comes from.
    pub(super) fn place(&self, part: &Range<usize>) -> Range<usize> {
        let last = |at: usize| self.anchors[..self.anchors.partition_point(|anchor| anchor.at <= at)].last();
        let start = last(part.start).map_or(part.start, |anchor| anchor.from + part.start - anchor.at);
        let end = match last(part.end) {
            Some(anchor) if anchor.at == part.end => anchor.before,
            Some(anchor) => anchor.from + part.end - anchor.at,
            None => part.end,
        };
        start..end.max(start)
    }
}

/// At most one character.
#[derive(Clone, Copy, Default)]
struct Bytes {
    bytes: [u8; 4],
    length: usize,
}

impl Bytes {
    fn one(byte: u8) -> Self {
        Self { bytes: [byte, 0, 0, 0], length: 1 }
    }

    fn of(character: char) -> Self {
        let mut bytes = [0; 4];
        let length = character.encode_utf8(&mut bytes).len();
        Self { bytes, length }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn len(self) -> usize {
        self.length
    }

    fn is_empty(self) -> bool {
        self.length == 0
    }
}

/// The escape that a text begins with: how long it is, and what it stands for.
fn escape(text: &[u8]) -> Option<(usize, Bytes)> {
    let character = |length: usize, code: u32| Some((length, Bytes::of(char::from_u32(code)?)));
    match text {
        [b'\\', b'u', b'{', rest @ ..] => {
            let digits = rest.iter().take(7).position(|byte| *byte == b'}')?;
            character(digits + 4, number(rest, 16, digits)?)
        }
        [b'\\', b'u', rest @ ..] => pair(rest).or_else(|| character(6, number(rest, 16, 4)?)),
        [b'\\', b'U', rest @ ..] => character(10, number(rest, 16, 8)?),
        [b'\\', b'x', ..] => in_bytes(text, b"\\x", 16, 2),
        [b'\\', b'0'..=b'3', ..] => in_bytes(text, b"\\", 8, 3),
        [b'\\', one, ..] => match one {
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'b' => Some(8),
            b'f' => Some(12),
            one => Some(*one).filter(|one| one.is_ascii_punctuation() || *one == b' '),
        }
        .map(|byte| (2, Bytes::one(byte))),
        // `escape()` of JavaScript.
        [b'%', b'u', rest @ ..] => character(6, number(rest, 16, 4)?),
        [b'%', ..] => in_bytes(text, b"%", 16, 2),
        [b'&', rest @ ..] => reference(rest),
        _ => None,
    }
}

/// Behind `\u`: two halves of a character beyond the first 65,536.
fn pair(rest: &[u8]) -> Option<(usize, Bytes)> {
    let unit = |at: usize| u16::try_from(number(rest.get(at..)?, 16, 4)?).ok();
    let units = [unit(0)?, unit(6).filter(|_| rest[4..].starts_with(b"\\u"))?];
    let one = char::decode_utf16(units).next()?.ok().filter(|one| one.len_utf16() == 2)?;
    Some((12, Bytes::of(one)))
}

/// A character of UTF-8, an escape for each of its bytes; else a single escape for a character below 256, as of Python's `ascii()`.
fn in_bytes(text: &[u8], prefix: &[u8], radix: u32, digits: usize) -> Option<(usize, Bytes)> {
    let size = prefix.len() + digits;
    let byte = |place: usize| {
        let rest = text.get(place * size..)?.strip_prefix(prefix)?;
        u8::try_from(number(rest, radix, digits)?).ok()
    };
    let mut bytes = [byte(0)?, 0, 0, 0];
    for length in 1..=4 {
        if let Ok(one) = std::str::from_utf8(&bytes[..length]) {
            return Some((length * size, Bytes::of(one.chars().next()?)));
        }
        match (bytes.get_mut(length), byte(length)) {
            (Some(next), Some(byte)) => *next = byte,
            _ => break,
        }
    }
    Some((size, Bytes::of(char::from(bytes[0]))))
}

/// Of HTML, behind `&`.
fn reference(rest: &[u8]) -> Option<(usize, Bytes)> {
    let name = &rest[..rest.iter().take(9).position(|byte| *byte == b';')?];
    let one = match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16, digits.len())?)?,
        [b'#', digits @ ..] => char::from_u32(number(digits, 10, digits.len())?)?,
        _ => return None,
    };
    Some((name.len() + 2, Bytes::of(one)))
}

/// So many digits.
fn number(text: &[u8], radix: u32, digits: usize) -> Option<u32> {
    let digits = text.get(..digits).filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0_u32, |number, digit| {
        number.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(text: &str) -> String {
        View::undone(text.as_bytes()).map_or(text.to_owned(), |view| String::from_utf8(view.bytes).unwrap())
    }

    #[test]
    fn one_layer_of_escapes_is_undone() {
        for (text, plain) in [
            (r"\u00f6\/\u00F6\u{f6}", "ö/öö"),
            (r"\ud83d\udd11 \U0001f511 \u{1f511}", "🔑 🔑 🔑"),
            (r"\xf6 \xc3\xb6 \303\266", "ö ö ö"),
            ("%C3%b6%F6%u00f6%2520", "ööö%20"),
            ("&amp;&lt;&gt;&quot;&apos;&#39;&#x27;&#246;&amp;lt;", "&<>\"'''ö&lt;"),
            (r#"\'\"\\n\n\t"#, "'\"\\n\n\t"),
            // No escapes.
            (r"100% & more; \q \", r"100% & more; \q \"),
            (r"\ud83d\u0041 %zz &#x110000; \u{} \u{110000}", r"\ud83dA %zz &#x110000; \u{} \u{110000}"),
        ] {
            assert_eq!(undone(text), plain, "{text}");
        }
    }

    #[test]
    fn the_place_of_each_part_is_known() {
        let text = r"<a\u00f6%41b\\c>";
        let view = View::undone(text.as_bytes()).unwrap();
        let shown = String::from_utf8(view.bytes.clone()).unwrap();
        assert_eq!(shown, r"<aöAb\c>");
        for (part, escaped) in [
            ("aö", r"a\u00f6"),
            ("ö", r"\u00f6"),
            ("öA", r"\u00f6%41"),
            ("A", "%41"),
            ("b", "b"),
            (r"b\", r"b\\"),
            ("c>", "c>"),
            (r"<aöAb\c>", text),
        ] {
            let begin = shown.find(part).unwrap();
            assert_eq!(&text[view.place(&(begin..begin + part.len()))], escaped, "{part}");
        }
        let gap = |rest: &[u8]| usize::from(rest[0] == b'\n');
        let joined = View::joined(b"\na\n\nbc\n", gap, None);
        assert_eq!(joined.bytes, b"abc");
        assert_eq!([0..1, 0..2, 1..3].map(|part| joined.place(&part)), [1..2, 1..5, 4..6]);
    }
}
