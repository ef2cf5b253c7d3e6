//! `ROOT/shared/wheelbarrow.toml`, read as if it were JSON.
//!
//! The manifest has the same settings in JSON. Their reader is large and in every artifact, so there is only
//! one: a file becomes JSON, with each value on a line of its own whose line in the file is known.

use std::fmt::Write;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use wheelbarrow_base::json;

/// An error is `line 3: ` and the reason.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let document = DeTable::parse(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        at(line(text, start), &error.message().lines().collect::<Vec<_>>().join("; "))
    })?;
    let mut json = Json { of: text, text: String::new(), lines: vec![1] };
    json.table(document.get_ref(), document.span().start)?;
    json::from_slice(json.text.as_bytes()).map_err(|error| {
        let line = json.lines.get(error.line().saturating_sub(1)).copied().unwrap_or(1);
        let said = error.to_string();
        let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(message, _)| message);
        let why = match said.starts_with("missing field") {
            true => "; a table here replaces the whole table of the project",
            false => "",
        };
        at(line, &format!("{said}{why}"))
    })
}

fn at(line: usize, message: &str) -> String {
    format!("line {line}: {message}")
}

fn line(text: &str, place: usize) -> usize {
    text.get(..place).unwrap_or_default().matches('\n').count() + 1
}

struct Json<'a> {
    of: &'a str,
    text: String,
    /// For each line of the JSON, that of the file.
    lines: Vec<usize>,
}

impl Json<'_> {
    /// What is written next stands at `place` of the file.
    fn stands_at(&mut self, place: usize) {
        self.text.push('\n');
        self.lines.push(line(self.of, place));
    }

    fn string(&mut self, text: &str) {
        let _ = write!(self.text, "{}", serde_json::Value::from(text));
    }

    fn table(&mut self, table: &DeTable<'_>, start: usize) -> Result<(), String> {
        self.text.push('{');
        for (number, (key, value)) in table.iter().enumerate() {
            if number > 0 {
                self.text.push(',');
            }
            self.stands_at(key.span().start);
            self.string(key.get_ref());
            self.text.push(':');
            self.value(value)?;
        }
        // What is missing in a table is missing where it begins.
        self.stands_at(start);
        self.text.push('}');
        Ok(())
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
        let start = value.span().start;
        let refused =
            |what| Err(at(line(self.of, start), &format!("{what} cannot be the value of a setting")));
        match value.get_ref() {
            DeValue::Float(_) => return refused("a number with a fraction"),
            DeValue::Datetime(_) => return refused("a date without quotes"),
            DeValue::Integer(number) => {
                let Ok(number) = i64::from_str_radix(number.as_str(), number.radix()) else {
                    return refused("a number of more than 64 bits");
                };
                self.stands_at(start);
                let _ = write!(self.text, "{number}");
            }
            DeValue::Boolean(is_so) => {
                self.stands_at(start);
                let _ = write!(self.text, "{is_so}");
            }
            DeValue::String(text) => {
                self.stands_at(start);
                self.string(text);
            }
            DeValue::Table(table) => self.table(table, start)?,
            DeValue::Array(values) => {
                self.text.push('[');
                for (number, value) in values.iter().enumerate() {
                    if number > 0 {
                        self.text.push(',');
                    }
                    self.value(value)?;
                }
                self.stands_at(start);
                self.text.push(']');
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wheelbarrow_artifact::release::ReleaseSettings;

    use super::*;

    #[test]
    fn it_says_what_the_file_says() {
        let text = "a.b = 'x\"\\y'\nn = [0x1F, -3, true, { c = '''\n\u{1f600}\n''' }]\n[[t]]\n[t.'u v']\n[[t]]\nk = []\n";
        let expected = json!({
            "a": { "b": "x\"\\y" },
            "n": [31, -3, true, { "c": "\u{1f600}\n" }],
            "t": [{ "u v": {} }, { "k": [] }],
        });
        assert_eq!(read::<Value>(text).unwrap(), expected);
        assert_eq!(read::<Value>("").unwrap(), json!({}));
    }

    #[test]
    fn an_error_names_the_line_of_the_file() {
        let refusal = |text: &str| read::<ReleaseSettings>(text).unwrap_err();
        for (text, start) in [
            ("keep = 1\n\nkeeps = 2\n", "line 3: unknown field `keeps`, expected one of"),
            ("shared = [\n 'a',\n 7,\n]\n", "line 3: invalid type: integer `7`, expected a string"),
            ("keep_static = 1\nkeep = -1\n", "line 2: invalid value: integer `-1`, expected usize"),
            ("owner = 'a'\n[check]\nallow = ['data-in-release']\n", "line 3: `data-in-release` lets a site"),
            ("\n[[service]]\nname = 'a'\n", "line 2: "),
            ("\n[probe]\nhost = 'a'\n", "line 2: missing field `url`; a table here replaces the whole table"),
            ("owner = 'a'\nowner = 'b'\n", "line 2: duplicate key"),
            ("owner = \n", "line 1: string values must be quoted"),
            ("\nkeep = 1.5\n", "line 2: a number with a fraction cannot be the value of a setting"),
            ("owner = 2026-01-02\n", "line 1: a date without quotes cannot be the value"),
            ("keep = 99999999999999999999\n", "line 1: a number of more than 64 bits"),
        ] {
            let said = refusal(text);
            assert!(said.starts_with(start), "{text}: {said}");
        }
    }
}
