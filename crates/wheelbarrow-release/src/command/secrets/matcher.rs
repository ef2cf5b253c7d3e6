//! Finds secrets in a text.

use std::collections::HashMap;
use std::ops::Range;

use wheelbarrow_wheel::order;

use super::ordinary_values::is_ordinary;
use super::undone::View;

/// How many layers of escapes are looked through: a query of a URL, in JSON, in JSON, in HTML.
const LAYERS: usize = 4;

/// Shorter values are not looked for: `1` and `on` are no secrets, and stand everywhere.
pub(super) const SHORTEST: usize = 4;

/// Bytes of the begin or the end of a secret that are looked for: `reprlib` of Python leaves as many.
const LEAST: usize = 12;

/// When a text counts as found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MatchKind {
    /// Anywhere.
    Text,
    /// Only between other characters than letters and digits.
    Word,
    /// Anywhere, as a piece of base64 or of hexadecimal digits: the characters around it belong to it.
    Encoded,
    /// Anywhere, with as much of what comes next in the secret as stands there: programs cut a long text at its end.
    Begin,
    /// The same of what comes before.
    End,
}

struct SecretForm {
    text: String,
    kind: MatchKind,
    /// The secret behind its begin, or before its end.
    rest: String,
}

/// All that is looked for, in one pass over a text.
#[derive(Default)]
pub(super) struct SecretFinder {
    /// By their first bytes, the longest first.
    forms: HashMap<[u8; SHORTEST], Vec<SecretForm>>,
    /// Bytes.
    longest: usize,
    /// Whether a line break may stand for a space of one.
    has_spaces: bool,
}

impl SecretFinder {
    pub(super) fn add(&mut self, text: String, kind: MatchKind) {
        self.add_with(text, kind, String::new());
    }

    /// What a program leaves of a long secret if it cuts it. The begin of a sentence, a URL or the name of a module
    /// is no secret.
    pub(super) fn add_ends(&mut self, secret: &str) {
        let is_one = |byte: &u8| byte.is_ascii_graphic() && !b"\"'`,;{}|\\".contains(byte);
        let is_named = secret.contains('.') && !secret.contains(|one: char| one.is_ascii_digit());
        if secret.len() < 2 * LEAST
            || !secret.as_bytes().iter().all(is_one)
            || secret.contains("://")
            || is_named
        {
            return;
        }
        let (begin, behind) = secret.split_at(LEAST);
        let (before, end) = secret.split_at(secret.len() - LEAST);
        for (text, kind, rest) in [(begin, MatchKind::Begin, behind), (end, MatchKind::End, before)] {
            if !is_ordinary(text) {
                self.add_with(text.to_owned(), kind, rest.to_owned());
            }
        }
    }

    fn add_with(&mut self, text: String, kind: MatchKind, rest: String) {
        let Some(start) = text.as_bytes().first_chunk().copied() else { return };
        self.has_spaces |= text.contains(' ');
        self.longest = self.longest.max(text.len());
        self.forms.entry(start).or_default().push(SecretForm { text, kind, rest });
    }

    /// Once all are added.
    pub(super) fn sort(&mut self) {
        for forms in self.forms.values_mut() {
            order::sort_by_key(forms, |form| std::cmp::Reverse(form.text.len()));
        }
    }

    fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Bytes that must be known on both sides of a place to tell whether it is within a secret: one may be broken into lines, and
    /// an escape has six bytes and more.
    pub(super) fn margin(&self) -> usize {
        if self.is_empty() { 0 } else { 6 * self.longest + 128 }
    }

    /// In order; those that overlap are one. A secret that is broken into lines has the line breaks within its span.
    pub(super) fn spans(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut spans = self.spans_in(bytes);
        let mut layers: Vec<View> = Vec::new();
        while layers.len() < LAYERS
            && let Some(view) = View::undone(layers.last().map_or(bytes, |last| &last.bytes))
        {
            let found = self.spans_in(&view.bytes);
            layers.push(view);
            let place = |span| layers.iter().rev().fold(span, |span, view| view.place(&span));
            spans.extend(found.into_iter().map(place));
        }
        order::sort_by_key(&mut spans, |span| span.start);
        let mut merged = Vec::new();
        spans.into_iter().for_each(|span| add(&mut merged, span));
        merged
    }

    /// In a text as it stands.
    fn spans_in(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found = self.find(bytes);
        let joined = View::joined(bytes, gap, None);
        let wrapped = self.has_spaces.then(|| View::joined(bytes, line_break, Some(b' ')));
        for view in [Some(joined), wrapped].into_iter().flatten() {
            for (kind, place) in self.find(&view.bytes) {
                // Words that are next to each other on two lines are two words.
                if kind != MatchKind::Word {
                    found.push((kind, view.place(&place)));
                }
            }
        }
        order::sort_by_key(&mut found, |(_, span)| span.start);
        let mut spans: Vec<Range<usize>> = Vec::new();
        for (kind, span) in found {
            // A text that is base64 from end to end may have a secret in it again and again: it is looked through once.
            if spans.last().is_none_or(|last| span.end > last.end) {
                add(&mut spans, if kind == MatchKind::Encoded { run(bytes, span) } else { span });
            }
        }
        spans
    }

    /// The longest form at each place that has one.
    fn find(&self, bytes: &[u8]) -> Vec<(MatchKind, Range<usize>)> {
        let mut found = Vec::new();
        // Most places are passed over without a look into the map.
        let mut begins = vec![false; 1 << 16];
        self.forms.keys().for_each(|start| begins[pair(start)] = true);
        for (at, start) in bytes.windows(SHORTEST).enumerate() {
            let forms = if begins[pair(start)] { self.forms.get(start) } else { None };
            let form = forms.and_then(|forms| forms.iter().find(|form| form.stands_at(bytes, at)));
            found.extend(form.map(|form| (form.kind, form.span(bytes, at))));
        }
        found
    }
}

/// Adds a span to ordered spans, and joins it with those that it overlaps.
fn add(spans: &mut Vec<Range<usize>>, mut span: Range<usize>) {
    while let Some(last) = spans.pop_if(|last| last.end > span.start) {
        span = last.start.min(span.start)..last.end.max(span.end);
    }
    spans.push(span);
}

/// How many bytes the text begins with that a program may put within a word that it shows, 0 for none: colours and line breaks.
fn gap(text: &[u8]) -> usize {
    let colour = match text {
        [b'\x1b', b'[', rest @ ..] => {
            let is_of_it = |byte: &&u8| matches!(**byte, b' '..=b'?');
            let length = rest.iter().take_while(is_of_it).count();
            if matches!(rest.get(length), Some(b'@'..=b'~')) { 2 + length + 1 } else { 0 }
        }
        _ => 0,
    };
    if colour > 0 { colour } else { line_break(text) }
}

/// How many bytes of line breaks the text begins with, 0 for none. Programs that wrap a long text indent the next line, or make
/// several literals; a text that is shown in another has escaped line breaks.
fn line_break(text: &[u8]) -> usize {
    let quotes = usize::from(matches!(text, [b'\'' | b'"', b'\n' | b'\r', ..]));
    let mut length = quotes;
    loop {
        length += match &text[length..] {
            [b'\n' | b'\r', ..] => 1,
            [b'\\', b'n' | b'r' | b'\n', ..] | [b'=', b'\n', ..] => 2,
            [b'=', b'\r', b'\n', ..] => 3,
            [b'\\', b'\\', b'n' | b'r', ..] => 3,
            _ => break,
        };
    }
    if length == quotes {
        return 0;
    }
    length += text[length..].iter().take_while(|byte| b" \t".contains(byte)).count();
    length
        + match &text[length..] {
            [b'b', b'\'' | b'"', ..] => 2,
            [b'\'' | b'"', ..] => 1,
            _ => 0,
        }
}

impl SecretForm {
    /// Where it stands, if it does at `at`.
    fn span(&self, bytes: &[u8], at: usize) -> Range<usize> {
        let (end, rest) = (at + self.text.len(), self.rest.as_bytes());
        let is_same = |(one, other): &(&u8, &u8)| one == other;
        match self.kind {
            MatchKind::End => {
                at - bytes[..at].iter().rev().zip(rest.iter().rev()).take_while(is_same).count()..end
            }
            _ => at..end + bytes[end..].iter().zip(rest).take_while(is_same).count(),
        }
    }

    fn stands_at(&self, bytes: &[u8], at: usize) -> bool {
        let end = at + self.text.len();
        // Many forms of a secret with backslashes begin with a long run of them, as a site may print it: the last byte differs.
        let last = bytes.get(end - 1);
        if last != self.text.as_bytes().last() || !bytes[at..].starts_with(self.text.as_bytes()) {
            return false;
        }
        let before = &bytes[at.saturating_sub(4)..at];
        let after = &bytes[end..bytes.len().min(end + 4)];
        let is_part = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
        self.kind != MatchKind::Word
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
