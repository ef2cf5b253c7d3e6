//! Commands in settings, split into words.

use std::fmt;
use std::str::FromStr;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use wheelbarrow_base::{Exit, Explain, shell_word};

/// A command: the program and its arguments. In settings a list of strings, or one string that is split as a POSIX shell splits
/// it into words, with quotes, backslashes and comments; no shell runs, and nothing is expanded. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Words(Vec<String>);

#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWords {
    #[error("a command has no words")]
    Empty,
    #[error("`{0}` ends within quotes or after a backslash")]
    Open(String),
    #[error("`{0}` has `{1}`, and no shell runs it: use `[\"sh\", \"-c\", \"...\"]`")]
    Shell(String, String),
    #[error("`{0}` has a NUL character")]
    Nul(String),
}

wheelbarrow_base::debug_error!(NotWords);

impl Explain for NotWords {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Words {
    pub fn new(words: Vec<String>) -> Result<Self, NotWords> {
        if words.first().is_none_or(String::is_empty) {
            return Err(NotWords::Empty);
        }
        match words.iter().find(|word| word.contains('\0')) {
            Some(word) => Err(NotWords::Nul(word.clone())),
            None => Ok(Self(words)),
        }
    }

    pub fn program(&self) -> &str {
        &self.0[0]
    }

    pub fn arguments(&self) -> &[String] {
        &self.0[1..]
    }

    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// The first word that cannot stand in a unit: systemd and the shell would each read its characters in their own way.
    pub fn not_for_unit(&self) -> Option<&str> {
        let is_read_once =
            |letter: char| letter.is_ascii_alphanumeric() || "-_./:@=,+%~^{}[]()<>|&;#*?! ".contains(letter);
        self.0.iter().find(|word| !word.chars().all(is_read_once)).map(String::as_str)
    }

    /// Whether the command collects static files, as `django-admin collectstatic --noinput` does.
    pub fn collects_static(&self) -> bool {
        self.0.iter().any(|word| word == "collectstatic")
    }
}

/// Words by which a shell combines commands, and which any other program would take for arguments.
const OF_SHELL: [&str; 8] = ["&&", "||", "|", "&", ";", ">", ">>", "<"];

/// Whether the word is in quotes wherever it stands in the text.
fn is_quoted(text: &str, word: &str) -> bool {
    !text.split_whitespace().any(|part| part == word)
}

impl FromStr for Words {
    type Err = NotWords;

    fn from_str(text: &str) -> Result<Self, NotWords> {
        let words = shlex::split(text).ok_or_else(|| NotWords::Open(text.to_owned()))?;
        let is_of_shell = |word: &&String| OF_SHELL.contains(&word.as_str()) && !is_quoted(text, word);
        match words.iter().find(is_of_shell) {
            Some(word) => Err(NotWords::Shell(text.to_owned(), word.clone())),
            None => Self::new(words),
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, word) in self.0.iter().enumerate() {
            let space = if number == 0 { "" } else { " " };
            write!(formatter, "{space}{}", shell_word(word))?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordsVisitor;

        impl<'de> Visitor<'de> for WordsVisitor {
            type Value = Words;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a command: a string, or a list of strings")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Words, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Words::new(words).map_err(serde::de::Error::custom)
            }
        }

        deserializer.deserialize_any(WordsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_are_refused() {
        let parse = |text: &str| text.parse::<Words>();
        for text in ["a && b", "a || b", "a > b", "a >> b", "a < b", "a | b", "a & b", "a &", "a ; b"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("no shell runs it"), "{text}: {error}");
        }
        for text in ["sh -c 'a && b'", "a '&&' b", "a \\; b", "a 'b;c' x&y"] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_string_is_split_as_a_shell_splits_it() {
        for text in [" a  'b c' d\"e 'f\" ''", r#"a\ b "c\"d" 'e\f' "\g" # h"#, "a#b", "a\\\nb"] {
            let script = format!("printf '%s\\0' {text}\n");
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            let expected = String::from_utf8(output.stdout).unwrap();
            let expected: Vec<&str> = expected.strip_suffix('\0').unwrap().split('\0').collect();
            assert_eq!(text.parse::<Words>().unwrap().0, expected, "{text}");
        }
        // Where a shell would end the command.
        assert_eq!("a\tb\nc".parse::<Words>().unwrap().0, ["a", "b", "c"]);
    }

    #[test]
    fn nothing_is_expanded() {
        let words: Words = "echo $HOME ~ *.py `id` $(id) a;b c|d".parse().unwrap();
        assert_eq!(words.0, ["echo", "$HOME", "~", "*.py", "`id`", "$(id)", "a;b", "c|d"]);
    }

    #[test]
    fn what_is_printed_has_the_same_words() {
        let words = Words::new(
            ["a b", "it's", "\"", "", "\\", "#", "$x", "a\nb", "é", "--a=b"].map(String::from).to_vec(),
        );
        let words = words.unwrap();
        assert_eq!(words.to_string().parse(), Ok(words));
    }

    #[test]
    fn a_command_is_complete_and_not_empty() {
        let words = |text: &str| text.parse::<Words>().unwrap_err();
        assert_eq!([" ", "'' x", "# x"].map(words), [NotWords::Empty, NotWords::Empty, NotWords::Empty]);
        assert!(matches!([words("a 'b"), words("a \\")], [NotWords::Open(_), NotWords::Open(_)]));
    }
}
