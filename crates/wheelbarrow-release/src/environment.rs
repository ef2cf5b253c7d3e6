//! Checks an environment.json as `loadenv.py` does at every start of an interpreter, with the same messages,
//! but without Python. A test gives both the same documents.
//!
//! No message contains a value: the file has passwords.

pub(crate) mod shared_environment;

use std::ffi::OsStr;

use wheelbarrow_artifact::manifest::EnvironmentRules;
use wheelbarrow_base::{Exit, Explain, LARGEST_ENVIRONMENT};

/// What the file is called.
pub(crate) const ENVIRONMENT: &str = "environment.json";
/// Of an environment.json whose owner has not said otherwise.
pub(crate) const PRIVATE: u32 = 0o640;

/// What is wrong: a reason, and the line (from 1) and the key where there are such.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{} {reason}", line.map(|line| format!(", line {line}")).unwrap_or_default(), key.as_deref().map(show_key).unwrap_or_default())]
pub struct EnvironmentError {
    pub reason: String,
    pub line: Option<usize>,
    pub key: Option<String>,
}

wheelbarrow_base::debug_error!(EnvironmentError);

impl Explain for EnvironmentError {
    fn exit(&self) -> Exit {
        Exit::Environment
    }
}

/// Names what the bytes of the file set, in their order. `mode` is the file's; `inherited` has what the process would
/// have already.
pub fn check(
    data: &[u8],
    mode: u32,
    rules: &EnvironmentRules,
    inherited: impl Fn(&OsStr) -> bool,
) -> Result<Vec<String>, EnvironmentError> {
    let wrong = |reason: &str, key: Option<&String>| EnvironmentError {
        reason: reason.to_owned(),
        line: None,
        key: key.cloned(),
    };
    if rules.private && mode & 0o004 != 0 {
        return Err(wrong("every user may read it; use `chmod o-r`", None));
    }
    let keys = parse(data)?;
    let is_missing = |key: &&String| !keys.contains(key) && !inherited(OsStr::new(key.as_str()));
    let mut missing = rules.required.iter().filter(is_missing);
    let Some(first) = missing.next() else { return Ok(keys) };
    let others: String = missing.map(|key| format!(", so is \"{key}\"")).collect();
    let them = if others.is_empty() { "it" } else { "them" };
    Err(wrong(
        &format!("is required{others}; not in the file, and the process has not inherited {them}"),
        Some(first),
    ))
}

/// The text without the byte order mark that it may begin with.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn parse(data: &[u8]) -> Result<Vec<String>, EnvironmentError> {
    if data.len() as u64 > LARGEST_ENVIRONMENT {
        return Err(EnvironmentError { reason: "larger than 1 MB".to_owned(), line: None, key: None });
    }
    let data = without_mark(data);
    let text = std::str::from_utf8(data).map_err(|error| {
        let line = data[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        EnvironmentError { reason: "not UTF-8".to_owned(), line: Some(line), key: None }
    })?;
    let mut reader = Reader { text: text.chars().collect(), position: 0, keys: Vec::new() };
    reader.object()?;
    Ok(reader.keys)
}

struct Reader {
    text: Vec<char>,
    position: usize,
    keys: Vec<String>,
}

impl Reader {
    fn object(&mut self) -> Result<(), EnvironmentError> {
        self.skip();
        match self.peek() {
            Some('{') => {}
            Some(_) => return Err(self.broken(self.position, "not a JSON object", None)),
            None => return Err(self.broken(self.position, "empty, not a JSON object", None)),
        }
        self.position += 1;
        self.skip();
        if self.peek() == Some('}') {
            self.position += 1;
        } else {
            while self.pair()? {}
        }
        self.skip();
        match self.peek() {
            Some(_) => Err(self.broken(self.position, "something follows the object", None)),
            None => Ok(()),
        }
    }

    /// Reads `"KEY": "VALUE"` and what ends it; whether there is another.
    fn pair(&mut self) -> Result<bool, EnvironmentError> {
        let start = self.position;
        if self.peek() != Some('"') {
            return Err(self.broken(
                start,
                "expected a key in double quotes, as in {\"KEY\": \"VALUE\"}",
                None,
            ));
        }
        let key = self.string(None)?;
        self.skip();
        if self.peek() != Some(':') {
            return Err(self.broken(self.position, "expected a colon after the key", Some(&key)));
        }
        self.position += 1;
        self.skip();
        let begin = self.position;
        if self.peek() != Some('"') {
            return Err(self.broken(begin, &self.not_a_string(), Some(&key)));
        }
        let value = self.string(Some(&key))?;
        if key.is_empty() {
            return Err(self.broken(start, "is empty", Some(&key)));
        }
        if key.contains(['=', '\0']) {
            return Err(self.broken(start, "has a character that no variable can have", Some(&key)));
        }
        if self.keys.contains(&key) {
            return Err(self.broken(start, "is in the file twice", Some(&key)));
        }
        if value.contains('\0') {
            let reason = "the value has a NUL character, which no variable can have";
            return Err(self.broken(begin, reason, Some(&key)));
        }
        self.skip();
        let more = match self.peek() {
            Some(',') => true,
            Some('}') => false,
            _ => return Err(self.broken(self.position, "expected a comma or } after the value", Some(&key))),
        };
        self.position += 1;
        if more {
            self.skip();
        }
        self.keys.push(key);
        Ok(more)
    }

    fn not_a_string(&self) -> String {
        let kind = match self.peek() {
            Some('{') => "an object",
            Some('[') => "an array",
            Some('t') => "true",
            Some('f') => "false",
            Some('n') => "null",
            Some('-' | '0'..='9') => "a number",
            _ => return "expected a value in double quotes".to_owned(),
        };
        format!("the value is {kind}; it must be a string in double quotes")
    }

    /// The JSON string here.
    fn string(&mut self, key: Option<&str>) -> Result<String, EnvironmentError> {
        let start = self.position;
        let rest = &self.text[start + 1..];
        let plain = rest.iter().position(|&character| character == '"').map(|end| &rest[..end]);
        let Some(plain) = plain.filter(|plain| !plain.contains(&'\\')) else {
            return self.escaped_string(key);
        };
        if plain.iter().any(|&character| character < ' ') {
            let reason = "the string has a control character (a line break is written \\n)";
            return Err(self.broken(start, reason, key));
        }
        let value = plain.iter().collect();
        self.position = start + 1 + plain.len() + 1;
        Ok(value)
    }

    /// As UTF-16, since escapes may give halves of surrogate pairs.
    fn escaped_string(&mut self, key: Option<&str>) -> Result<String, EnvironmentError> {
        let start = self.position;
        let Some((units, end)) = unescape(&self.text, start + 1) else {
            let reason = "the string does not end, or has a wrong escape or a control character";
            return Err(self.broken(start, reason, key));
        };
        self.position = end;
        String::from_utf16(&units)
            .map_err(|_| self.broken(start, "half of a surrogate pair is no character", key))
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.position).copied()
    }

    fn skip(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.position += 1;
        }
    }

    fn broken(&self, position: usize, reason: &str, key: Option<&str>) -> EnvironmentError {
        let line = self.text[..position].iter().filter(|&&character| character == '\n').count() + 1;
        EnvironmentError { reason: reason.to_owned(), line: Some(line), key: key.map(str::to_owned) }
    }
}

/// The string from `begin`, after its quote, and where what follows it begins (RFC 8259, section 7).
fn unescape(text: &[char], begin: usize) -> Option<(Vec<u16>, usize)> {
    let (mut units, mut position) = (Vec::new(), begin);
    loop {
        let character = *text.get(position)?;
        position += 1;
        let escape = match character {
            '"' => return Some((units, position)),
            '\\' => *text.get(position)?,
            control if control < ' ' => return None,
            other => {
                units.extend_from_slice(other.encode_utf16(&mut [0; 2]));
                continue;
            }
        };
        position += 1;
        units.push(match escape {
            '"' | '\\' | '/' => escape as u16,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'u' => {
                let digits = text.get(position..position + 4)?;
                position += 4;
                let digit = |unit: u32, digit: &char| Some(unit * 16 + digit.to_digit(16)?);
                u16::try_from(digits.iter().try_fold(0, digit)?).ok()?
            }
            _ => return None,
        });
    }
}

/// ` key "KEY":`, on one line and not too long. What stands behind a `=` may be a value.
fn show_key(key: &str) -> String {
    const LONGEST: usize = 80;
    let key = key.split_once('=').map_or_else(|| key.to_owned(), |(name, _)| format!("{name}=..."));
    let shown: Vec<char> =
        key.chars().map(|character| if is_printable(character) { character } else { '?' }).collect();
    let cut: String = shown.iter().take(LONGEST).collect();
    format!(" key \"{cut}{}\":", if shown.len() > LONGEST { "..." } else { "" })
}

/// Python's `str.isprintable`: debug output escapes the same characters, and quotes and backslashes besides. After a
/// letter it does not escape combining characters.
fn is_printable(character: char) -> bool {
    let shown = ['x', character].iter().collect::<String>().escape_debug().count();
    shown == 2 || matches!(character, '"' | '\'' | '\\')
}

#[cfg(test)]
mod tests;
