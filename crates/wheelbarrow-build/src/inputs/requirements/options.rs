//! Options of requirements files, in the spellings that pip accepts.

/// Options with a value, each with its other spellings.
const VALUED: [(&str, &[&str]); 10] = [
    ("--requirement", &["-r"]),
    ("--constraint", &["-c"]),
    ("--index-url", &["-i", "--pypi-url"]),
    ("--extra-index-url", &[]),
    ("--find-links", &["-f"]),
    ("--no-binary", &[]),
    ("--only-binary", &[]),
    ("--trusted-host", &[]),
    ("--use-feature", &[]),
    ("--hash", &[]),
];
const FLAGS: [&str; 4] = ["--no-index", "--pre", "--prefer-binary", "--require-hashes"];

pub(super) fn is_option(line: &str) -> bool {
    line.starts_with('-')
}

/// A requirement, and the options behind it.
pub(super) fn split_options(line: &str) -> (&str, &str) {
    let mut before = 'x';
    for (at, character) in line.char_indices() {
        if character == '-' && before.is_whitespace() {
            return (line[..at].trim(), &line[at..]);
        }
        before = character;
    }
    (line, "")
}

/// The target of `-e TARGET` and its other spellings, which is the rest of the line.
pub(super) fn editable(line: &str) -> Option<&str> {
    let rest = match line.strip_prefix("--editable") {
        Some(rest) => rest.starts_with(['=', ' ', '\t']).then_some(rest),
        None => line.strip_prefix("-e"),
    };
    Some(rest?.trim_start_matches(['=', ' ', '\t']).trim_matches(['"', '\'']))
}

/// Whether a URL's fragment gives no hash.
pub(super) fn has_no_hash(fragment: &str) -> bool {
    matches!(super::entry::digests(fragment), Ok(digests) if digests.is_empty())
}

/// The words of a line, quotes removed.
pub(super) struct Words(std::vec::IntoIter<String>);

impl Words {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for character in text.chars() {
            match quote {
                Some(open) if open == character => quote = None,
                Some(_) => word.get_or_insert_default().push(character),
                None if matches!(character, '"' | '\'') => {
                    quote = Some(character);
                    word.get_or_insert_default();
                }
                None if character.is_whitespace() => words.extend(word.take()),
                None => word.get_or_insert_default().push(character),
            }
        }
        words.extend(word);
        if quote.is_some() {
            Err("an option has an open quote".to_owned())
        } else {
            Ok(Self(words.into_iter()))
        }
    }

    /// The next option under its long name, with its value; a flag has an empty one.
    pub(super) fn next_option(&mut self) -> Result<Option<(&'static str, String)>, String> {
        let Some(word) = self.0.next() else { return Ok(None) };
        if let Some(flag) = FLAGS.iter().find(|flag| **flag == word) {
            return Ok(Some((flag, String::new())));
        }
        let unknown = || match word.starts_with('-') {
            true => format!("unknown option `{word}`"),
            // It may be the rest of a password.
            false if word.contains('@') => "unexpected word: a value with a blank needs quotes".to_owned(),
            false => format!("unexpected `{word}`"),
        };
        let (name, inline) = find(&word).ok_or_else(unknown)?;
        let value = match inline {
            Some(value) => value,
            None => self.0.next().ok_or_else(|| format!("{word} needs a value"))?,
        };
        Ok(Some((name, value)))
    }
}

/// The option that `word` begins, and the value in the same word.
fn find(word: &str) -> Option<(&'static str, Option<String>)> {
    VALUED.iter().find_map(|(name, others)| {
        [*name].iter().chain(*others).find_map(|spelling| {
            let rest = word.strip_prefix(spelling)?;
            let is_long = spelling.starts_with("--");
            match rest.strip_prefix('=') {
                _ if rest.is_empty() => Some((*name, None)),
                Some(value) => Some((*name, Some(value.to_owned()))),
                None => (!is_long).then(|| (*name, Some(rest.to_owned()))),
            }
        })
    })
}
