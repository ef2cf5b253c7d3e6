//! Commands as settings have them.

use std::fmt;
use std::str::FromStr;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A command: the program and its arguments. In settings a list of strings, or one string whose words are parted by
/// spaces and held together by quotes; no shell is asked. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Words(Vec<String>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWords {
    #[error("a command has no words")]
    Empty,
    #[error("a quote in `{0}` is not closed")]
    Quote(String),
    #[error("`{0}` has a NUL character")]
    Nul(String),
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
}

impl FromStr for Words {
    type Err = NotWords;

    fn from_str(text: &str) -> Result<Self, NotWords> {
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
        if quote.is_some() {
            return Err(NotWords::Quote(text.to_owned()));
        }
        words.extend(word);
        Self::new(words)
    }
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, word) in self.0.iter().enumerate() {
            let space = if number == 0 { "" } else { " " };
            let quote = match word {
                word if word.contains('\'') => "\"",
                word if word.is_empty() || word.contains([' ', '"', '\n', '\t']) => "'",
                _ => "",
            };
            write!(formatter, "{space}{quote}{word}{quote}")?;
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
    fn words_are_parted_by_spaces_and_held_by_quotes() {
        let words = |text: &str| text.parse::<Words>().map(|words| words.0);
        assert_eq!(words(" a  'b c' d\"e 'f\" '' ").unwrap(), ["a", "b c", "de 'f", ""]);
        assert_eq!(words("django-admin migrate").unwrap(), ["django-admin", "migrate"]);
        assert_eq!(words(" "), Err(NotWords::Empty));
        assert_eq!(words("'' x"), Err(NotWords::Empty));
        assert!(matches!(words("a 'b"), Err(NotWords::Quote(_))));
    }
}
