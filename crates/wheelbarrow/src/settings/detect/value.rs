//! Values of a settings module, as far as they are paths: what is not understood with certainty has no value.

use std::collections::BTreeMap;

use super::source::{Token, in_brackets, split_at};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// `None`, or an empty text.
    Nothing,
    /// A path as the settings write it: absolute, or relative to the path before it.
    Text(String),
    /// Relative to the project, with `..` at its beginning only.
    Path(Vec<String>),
}

/// Values that each name of a module can have; none for a value that is not understood.
pub(super) type Names = BTreeMap<String, Vec<Option<Value>>>;

/// What an expression can name.
pub(super) struct Scope<'s> {
    /// Of the module, below the project: `__file__`.
    pub(super) file: &'s str,
    pub(super) names: &'s Names,
}

impl Scope<'_> {
    /// `BASE_DIR / "a"`, `os.path.join(BASE_DIR, "a")`, `str(Path(__file__).parents[1])`.
    pub(super) fn value(&self, tokens: &[Token]) -> Option<Value> {
        let (mut value, mut rest) = self.operand(tokens)?;
        while let [sign, behind @ ..] = rest {
            let (right, behind) = self.operand(behind)?;
            value = match (sign, right) {
                (Token::Sign('/'), right) => join(value, right)?,
                (Token::Sign('+'), Value::Text(text)) if text.starts_with('/') => {
                    join(value, Value::Text(text[1..].to_owned()))?
                }
                _ => return None,
            };
            rest = behind;
        }
        Some(match value {
            Value::Text(text) if text.is_empty() => Value::Nothing,
            value => value,
        })
    }

    /// The first operand, and what is behind it.
    fn operand<'t>(&self, tokens: &'t [Token]) -> Option<(Value, &'t [Token])> {
        let (mut value, mut rest) = match tokens.first()? {
            Token::Text(text) => (Value::Text(text.clone()), &tokens[1..]),
            Token::Sign('(') => {
                let (inside, rest) = in_brackets(tokens)?;
                (self.value(inside)?, rest)
            }
            Token::Name(name) if name == "None" => (Value::Nothing, &tokens[1..]),
            Token::Name(name) if name == "__file__" => {
                (Value::Path(self.file.split('/').map(str::to_owned).collect()), &tokens[1..])
            }
            Token::Name(name) => match self.named(name) {
                Some(value) => (value, &tokens[1..]),
                None => self.call(tokens)?,
            },
            _ => return None,
        };
        while let [Token::Sign('.'), Token::Name(name), behind @ ..] = rest {
            (value, rest) = self.attribute(value, name, behind)?;
        }
        Some((value, rest))
    }

    /// The value of a name that can have only one.
    fn named(&self, name: &str) -> Option<Value> {
        let values = self.names.get(name)?;
        let (first, others) = values.split_first()?;
        if others.iter().all(|other| other == first) { first.clone() } else { None }
    }

    fn attribute<'t>(&self, value: Value, name: &str, rest: &'t [Token]) -> Option<(Value, &'t [Token])> {
        match (name, rest) {
            ("parent", rest) => Some((parent(value)?, rest)),
            ("parents", [Token::Sign('['), Token::Name(number), Token::Sign(']'), rest @ ..]) => {
                let mut value = value;
                for _ in 0..=number.parse::<u8>().ok()? {
                    value = parent(value)?;
                }
                Some((value, rest))
            }
            ("resolve" | "absolute" | "as_posix", [Token::Sign('('), ..]) => {
                Some((value, in_brackets(rest)?.1))
            }
            ("joinpath", [Token::Sign('('), ..]) => {
                let (inside, rest) = in_brackets(rest)?;
                let parts = split_at(inside, ',');
                let value =
                    parts.into_iter().try_fold(value, |above, part| join(above, self.value(part)?))?;
                Some((value, rest))
            }
            _ => None,
        }
    }

    /// A call of a function that makes a path of another, or that has a default.
    fn call<'t>(&self, tokens: &'t [Token]) -> Option<(Value, &'t [Token])> {
        let open = tokens.iter().position(|token| *token == Token::Sign('('))?;
        let function = tokens[..open].iter().rev().map_while(|token| match token {
            Token::Name(name) => Some(name.as_str()),
            Token::Sign('.') => Some("."),
            _ => None,
        });
        let function: Vec<_> = function.collect();
        if function.len() != open {
            return None;
        }
        let (inside, rest) = in_brackets(&tokens[open..])?;
        let arguments = split_at(inside, ',');
        let value = match (&function[..], &arguments[..]) {
            (
                ["Path" | "PurePath" | "PosixPath", ..] | ["join"] | ["join", ".", "path", ..],
                [first, others @ ..],
            ) => others.iter().try_fold(self.value(first)?, |above, part| join(above, self.value(part)?))?,
            (["str"] | ["fspath" | "abspath" | "realpath" | "normpath", ..], [path]) => self.value(path)?,
            (["dirname", ..], [path]) => parent(self.value(path)?)?,
            // What the settings have unless the variable is set.
            (["getenv"] | ["getenv", ".", "os"] | ["get", ".", "environ", ..], [_, default])
            | (["str" | "path", ".", "env"], [_, default]) => self.value(without_keyword(default))?,
            (["env" | "config"] | ["str" | "path", ".", "env"], [_, others @ ..]) => {
                let default =
                    others.iter().find(|argument| without_keyword(argument).len() < argument.len())?;
                self.value(without_keyword(default))?
            }
            _ => return None,
        };
        Some((value, rest))
    }
}

/// The value of `default=VALUE`.
fn without_keyword(argument: &[Token]) -> &[Token] {
    match argument {
        [Token::Name(name), Token::Sign('='), value @ ..] if name == "default" => value,
        _ => argument,
    }
}

/// The `NAME` of each database of a `DATABASES`, but those of tests.
pub(super) fn database_names<'t>(tokens: &'t [Token], names: &mut Vec<&'t [Token]>) {
    let [Token::Sign('{'), ..] = tokens else { return };
    let Some((inside, [])) = in_brackets(tokens) else { return };
    for item in split_at(inside, ',') {
        match item {
            [Token::Text(key), Token::Sign(':'), value @ ..] if key == "NAME" => names.push(value),
            [Token::Text(key), Token::Sign(':'), value @ ..] if key != "TEST" => database_names(value, names),
            _ => {}
        }
    }
}

fn join(above: Value, below: Value) -> Option<Value> {
    let below = match below {
        Value::Text(text) => text,
        // A second path is absolute.
        Value::Path(parts) => return Some(Value::Path(parts)),
        Value::Nothing => return None,
    };
    match above {
        _ if below.starts_with('/') => Some(Value::Text(below)),
        Value::Path(mut parts) => {
            for part in below.split('/').filter(|part| !part.is_empty() && *part != ".") {
                match part {
                    ".." => up(&mut parts),
                    part => parts.push(part.to_owned()),
                }
            }
            Some(Value::Path(parts))
        }
        Value::Text(text) if text.is_empty() => Some(Value::Text(below)),
        Value::Text(text) => Some(Value::Text(format!("{}/{below}", text.trim_end_matches('/')))),
        Value::Nothing => None,
    }
}

fn parent(value: Value) -> Option<Value> {
    match value {
        Value::Path(mut parts) => {
            up(&mut parts);
            Some(Value::Path(parts))
        }
        _ => None,
    }
}

fn up(parts: &mut Vec<String>) {
    if parts.last().is_none_or(|last| last == "..") {
        parts.push("..".to_owned());
    } else {
        parts.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::PythonModule;
    use super::*;

    /// With `BASE_DIR` being the directory `src`.
    fn value(text: &str) -> Option<String> {
        let statements = PythonModule { path: "", text: text.to_owned() }.statements();
        let base = vec![Some(Value::Path(vec!["src".to_owned()]))];
        let either = vec![Some(Value::Text("a".to_owned())), None];
        let names = [("BASE_DIR", base), ("EITHER", either), ("env", vec![None])];
        let names = names.into_iter().map(|(name, values)| (name.to_owned(), values)).collect();
        let scope = Scope { file: "src/site/settings/base.py", names: &names };
        scope.value(&statements[0].tokens).map(|value| match value {
            Value::Nothing => "nothing".to_owned(),
            Value::Text(text) => format!("text {text}"),
            Value::Path(parts) => parts.join("/"),
        })
    }

    #[test]
    fn paths_are_read_from_their_spellings() {
        for (text, path) in [
            ("Path(__file__).resolve().parent.parent", "src/site"),
            ("Path(__file__).resolve(strict=True).parents[2]", "src"),
            ("os.path.dirname(os.path.dirname(os.path.abspath(__file__)))", "src/site"),
            ("pathlib.Path(__file__).parent.parent.parent.parent.parent / 'media'", "../media"),
            ("os.path.join(os.path.dirname(__file__), '..', 'media/')", "src/site/media"),
            ("BASE_DIR / \"a\" / 'b'", "src/a/b"),
            ("str(BASE_DIR / 'a/b')", "src/a/b"),
            ("os.path.join(BASE_DIR, 'a', \"b\",)", "src/a/b"),
            ("(BASE_DIR / 'a').joinpath('b', 'c')", "src/a/b/c"),
            ("BASE_DIR.parent / 'media'", "media"),
            ("BASE_DIR.parent.parent / 'media'", "../media"),
            ("os.path.join(BASE_DIR, '../../media')", "../media"),
            ("BASE_DIR + '/media'", "src/media"),
            ("os.environ.get('MEDIA', BASE_DIR / 'media')", "src/media"),
            ("env.str('MEDIA', default=str(BASE_DIR / 'media'))", "src/media"),
            ("os.environ.get('MEDIA', default=BASE_DIR / 'media')", "src/media"),
            ("env.str('MEDIA', '/var/media')", "text /var/media"),
            ("BASE_DIR / '/var/media'", "text /var/media"),
            ("''", "nothing"),
            ("None", "nothing"),
        ] {
            assert_eq!(value(text).as_deref(), Some(path), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_has_no_value() {
        for text in [
            "BASE_DIR / 'a' if DEBUG else '/b'",
            "BASE_DIR / name",
            "BASE_DIR / f'a{b}'",
            "BASE_DIR / 'a' 'b'",
            "BASE_DIR.parent.name",
            "BASE_DIR + 'media'",
            "EITHER",
            "env('MEDIA')",
            "env.str('MEDIA')",
            "env('MEDIA', str)",
            "os.getenv('MEDIA')",
            "other(BASE_DIR, 'a')",
            "BASE_DIR / 'a' or None",
        ] {
            assert_eq!(value(text), None, "{text}");
        }
    }

    #[test]
    fn databases_have_names_at_any_depth() {
        let text = "{'default': {'NAME': 'a' / b, 'TEST': {'NAME': 'c'}}, 'other': {'OPTIONS': {'x': [1, 2]}, 'NAME': d},}";
        let statements = PythonModule { path: "", text: text.to_owned() }.statements();
        let mut names = Vec::new();
        database_names(&statements[0].tokens, &mut names);
        let name = |name: &str| Token::Name(name.to_owned());
        assert_eq!(
            names,
            [&[Token::Text("a".to_owned()), Token::Sign('/'), name("b")][..], &[name("d")][..]]
        );
    }
}
