//! Whether what was said is what a page shows: all of it but what is another at each time.
//!
//! In a page `...` stands for anything in a line, and for any lines where it is alone in one.

/// Units after a number that nobody can foretell.
const UNITS: [&str; 7] = ["s", "ms", "min", "kB", "MB", "GB", "s)"];
/// Of a line or of lines.
const ANY: &str = "...";

pub(super) fn is_same(shown: &[&str], said: &[String]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((&ANY, rest)) => (0..=said.len()).any(|skipped| is_same(rest, &said[skipped..])),
        Some((line, rest)) => {
            said.first().is_some_and(|first| is_same_line(line, first)) && is_same(rest, &said[1..])
        }
    }
}

fn is_same_line(shown: &str, said: &str) -> bool {
    let (shown, said) = (plain(shown), plain(said));
    let mut parts = shown.split(ANY);
    let Some(mut rest) = parts.next().and_then(|first| said.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        last = Some(part);
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.is_empty() || last.is_some_and(|last| said.ends_with(last))
}

/// Without the digits of hashes, times and sizes, and with one space between words.
fn plain(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let next = |at: usize| words.get(at + 1).map_or("", |next| next.trim_end_matches([',', ';', ':', '.']));
    let plain = |(at, word): (usize, &&str)| {
        let is_number = word.trim_start_matches('(').starts_with(|first: char| first.is_ascii_digit());
        if is_number && (UNITS.contains(&next(at)) || is_time(word)) {
            "#".to_owned()
        } else {
            without_hash(word)
        }
    };
    words.iter().enumerate().map(plain).collect::<Vec<_>>().join(" ")
}

/// `2026-01-31`, `12:59`, `12:59:01`.
fn is_time(word: &str) -> bool {
    let of = |mark| {
        word.trim_end_matches([',', ';', ':', '.', 'Z'])
            .split(mark)
            .filter(|part| part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_digit()))
            .count()
    };
    of('-') == 3 || of(':') >= 2
}

/// `3-#` for `3-1a2b3c4d`, wherever in a word.
fn without_hash(word: &str) -> String {
    let mut pieces = word.split('-');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push('-');
        let digits = piece.bytes().take_while(u8::is_ascii_hexdigit).count();
        let follows_number = text.trim_end_matches('-').ends_with(|last: char| last.is_ascii_digit());
        if digits == 8 && follows_number {
            text.push('#');
            text.push_str(&piece[8..]);
        } else {
            text.push_str(piece);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(shown: &str, said: &str) -> bool {
        is_same(&shown.lines().collect::<Vec<_>>(), &said.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_changes_each_time_is_not_compared() {
        assert!(same("1-0a1b2c3d live in 1.2 s", "1-ffffffff live in 14.0 s"));
        assert!(same("at 2026-01-02 10:11:12 by root", "at 2027-03-04 09:08:07 by root"));
        assert!(same("releases/1-0a1b2c3d/venv", "releases/1-ffffffff/venv"));
        assert!(!same("1-0a1b2c3d is live", "2-0a1b2c3d is live"));
        assert!(!same("exit code 11", "exit code 12"));
        assert!(
            same("a\n...\nd", "a\nb\nc\nd")
                && same("a\n...", "a")
                && same("Python ... here", "Python 3.9 here")
        );
        assert!(
            !same("a\n...\nd", "a\nb")
                && !same("a ... d", "a b")
                && !same("a", "a\nb")
                && !same("a ...", "b c")
        );
    }
}
