//! Where secrets stand in a text.

use std::collections::HashMap;
use std::ops::Range;

/// Shorter values are not looked for: `1` and `on` are no secrets, and stand everywhere.
pub(super) const SHORTEST: usize = 4;

/// When a text counts as found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anywhere.
    Text,
    /// Only between other characters than letters and digits.
    Word,
    /// Anywhere, as a piece of base64 or of hexadecimal digits: the characters around it belong to it.
    Encoded,
}

struct Form {
    text: String,
    kind: Kind,
}

/// All that is looked for, in one pass over a text.
#[derive(Default)]
pub(super) struct Finder {
    /// By their first bytes, the longest first.
    forms: HashMap<[u8; SHORTEST], Vec<Form>>,
    /// Bytes.
    pub(super) longest: usize,
}

impl Finder {
    pub(super) fn add(&mut self, text: String, kind: Kind) {
        let Some(start) = text.as_bytes().first_chunk().copied() else { return };
        self.longest = self.longest.max(text.len());
        self.forms.entry(start).or_default().push(Form { text, kind });
    }

    /// Once all are added.
    pub(super) fn sort(&mut self) {
        for forms in self.forms.values_mut() {
            forms.sort_by_key(|form| std::cmp::Reverse(form.text.len()));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// In order; those that overlap are one.
    pub(super) fn spans(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        if self.is_empty() {
            return spans;
        }
        // Most places are passed over without a look into the map.
        let mut begins = vec![false; 1 << 16];
        self.forms.keys().for_each(|start| begins[pair(start)] = true);
        for (at, start) in bytes.windows(SHORTEST).enumerate() {
            let forms = if begins[pair(start)] { self.forms.get(start) } else { None };
            let Some(form) = forms.and_then(|forms| forms.iter().find(|form| form.stands_at(bytes, at)))
            else {
                continue;
            };
            let end = at + form.text.len();
            if spans.last().is_some_and(|last| end <= last.end) {
                continue;
            }
            let mut span = if form.kind == Kind::Encoded { run(bytes, at..end) } else { at..end };
            while let Some(last) = spans.pop_if(|last| last.end > span.start) {
                span = last.start.min(span.start)..last.end.max(span.end);
            }
            spans.push(span);
        }
        spans
    }
}

impl Form {
    fn stands_at(&self, bytes: &[u8], at: usize) -> bool {
        if !bytes[at..].starts_with(self.text.as_bytes()) {
            return false;
        }
        let end = at + self.text.len();
        let before = &bytes[at.saturating_sub(4)..at];
        let after = &bytes[end..bytes.len().min(end + 4)];
        let is_part = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
        self.kind != Kind::Word
            || !(is_part(String::from_utf8_lossy(before).chars().next_back())
                || is_part(String::from_utf8_lossy(after).chars().next()))
    }
}

fn pair(start: &[u8]) -> usize {
    usize::from(start[0]) << 8 | usize::from(start[1])
}

/// All of the base64 around a piece of it.
fn run(bytes: &[u8], piece: Range<usize>) -> Range<usize> {
    let is_of_it = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(*byte);
    let before = bytes[..piece.start].iter().rev().take_while(is_of_it).count();
    let after = bytes[piece.end..].iter().take_while(|byte| is_of_it(byte) || **byte == b'=').count();
    piece.start - before..piece.end + after
}
