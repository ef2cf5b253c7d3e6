//! The files of a project that are Python, as statements of tokens. Comments and texts are never taken for code. The
//! meaning of a statement is found elsewhere, from its tokens.

use fs_err as fs;
use wheelbarrow_build::project::ProjectFile;

/// Files larger than this are no settings.
const LARGEST: u64 = 1 << 20;

/// Words that begin a block that does not always run, or not at once.
const BLOCKS: [&str; 13] = [
    "if", "elif", "else", "try", "except", "finally", "for", "while", "with", "class", "match", "case",
    "async",
];

/// How a module calls what it has for servers, the surest first.
pub(super) const USUAL: [&str; 2] = ["application", "app"];

/// Functions that make an application.
pub(super) const FACTORIES: [&str; 2] = ["create_app", "make_app"];

/// A file of Python.
pub(super) struct PythonModule<'f> {
    /// Below the project.
    pub(super) path: &'f str,
    pub(super) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, a keyword or a number.
    Name(String),
    /// A literal whose value is known.
    Text(String),
    /// A literal with escapes or of bytes, or the text of an f-string; its expressions follow, in parentheses.
    Opaque,
    Sign(char),
    /// A sign of two characters, such as `==` and `+=`.
    Operator,
}

/// When a statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Runs {
    /// Whenever the module is imported.
    Always,
    /// In a block of an `if`, a `try`, a class and their like, or as its first line.
    Sometimes,
    /// In a function.
    Later,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) tokens: Vec<Token>,
    pub(super) runs: Runs,
}

impl<'f> PythonModule<'f> {
    /// None for a file that is not of the site's code.
    pub(super) fn read(file: &'f ProjectFile) -> Option<Self> {
        let is_small = || fs::metadata(&file.source).is_ok_and(|metadata| metadata.len() <= LARGEST);
        if !file.path.ends_with(".py") || is_of_tests_or_migrations(&file.path) || !is_small() {
            return None;
        }
        Some(Self { path: &file.path, text: fs::read_to_string(&file.source).ok()? })
    }

    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| !line.trim_start().starts_with('#'))
    }

    pub(super) fn statements(&self) -> Vec<Statement> {
        let mut reader = Reader::default();
        reader.read(self.text.trim_start_matches('\u{feff}'));
        reader.statements
    }
}

/// What a line at the margin gives a name.
pub(super) fn assigned<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let rest = line.strip_prefix(name)?.trim_start();
    let (annotation, value) = rest.split_once('=')?;
    ((annotation.is_empty() || annotation.starts_with(':')) && !value.starts_with('=')).then(|| value.trim())
}

/// Whether the module defines the function, and it needs no arguments.
pub(super) fn is_factory(text: &str, name: &str) -> bool {
    let opening = format!("\ndef {name}(");
    let text = format!("\n{text}");
    let Some((_, rest)) = text.split_once(&opening) else { return false };
    let parameters = rest.split("):").next().and_then(|rest| rest.split(") ->").next()).unwrap_or_default();
    let mut parameters = parameters.split(',').map(str::trim);
    parameters.all(|one| one.is_empty() || one.starts_with('*') || one.contains('='))
}

/// The name of a module below the import path.
pub(super) fn dotted(path: &str, import_path: &str) -> Option<String> {
    let below = match import_path {
        "" => path,
        import_path => path.strip_prefix(import_path)?.strip_prefix('/')?,
    };
    let stem = below.strip_suffix(".py")?;
    Some(stem.strip_suffix("/__init__").unwrap_or(stem).replace('/', "."))
}

/// Whether a path below the project is of tests or migrations, by the names that pytest and Django give them.
fn is_of_tests_or_migrations(path: &str) -> bool {
    path.split('/').any(|part| {
        let name = part.strip_suffix(".py").unwrap_or(part);
        matches!(name, "test" | "tests" | "testing" | "conftest" | "migrations")
            || part != name && (name.starts_with("test_") || name.ends_with("_test"))
    })
}

/// The parts between signs that are in no bracket; an empty last one is left out.
pub(super) fn split_at(tokens: &[Token], sign: char) -> Vec<&[Token]> {
    let mut depth = 0;
    let mut parts: Vec<_> = tokens
        .split(|token| {
            depth += depth_of(token);
            depth == 0 && *token == Token::Sign(sign)
        })
        .collect();
    parts.pop_if(|last| last.is_empty());
    parts
}

/// What is in the brackets that the tokens begin with, and what is behind them.
pub(super) fn in_brackets(tokens: &[Token]) -> Option<(&[Token], &[Token])> {
    let mut depth = 0;
    let end = tokens.iter().position(|token| {
        depth += depth_of(token);
        depth == 0
    })?;
    (end > 0).then(|| (&tokens[1..end], &tokens[end + 1..]))
}

/// By how many brackets what follows is deeper.
pub(super) fn depth_of(token: &Token) -> i32 {
    match token {
        Token::Sign('(' | '[' | '{') => 1,
        Token::Sign(')' | ']' | '}') => -1,
        _ => 0,
    }
}

#[derive(Default)]
struct Reader {
    statements: Vec<Statement>,
    tokens: Vec<Token>,
    /// Open brackets.
    depth: i32,
    /// The blocks that the statement is in: how far the line that begins each is indented, and when its lines run.
    blocks: Vec<(usize, Runs)>,
    /// Whether what follows is on the line of a statement before it.
    is_behind: bool,
    indentation: usize,
}

impl Reader {
    fn read(&mut self, text: &str) {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '#' => rest.find('\n').unwrap_or(rest.len()),
                '\\' if rest.starts_with("\\\r\n") => 3,
                '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                '\n' => {
                    if self.depth <= 0 {
                        self.end();
                        (self.is_behind, self.indentation, self.depth) = (false, 0, 0);
                    }
                    1
                }
                _ if first.is_whitespace() => {
                    if self.tokens.is_empty() && !self.is_behind {
                        self.indentation += 1;
                    }
                    first.len_utf8()
                }
                '"' | '\'' => self.text(rest, ""),
                _ if first == '_' || first.is_alphanumeric() => self.name(rest),
                ';' if self.depth == 0 => {
                    self.end();
                    self.is_behind = true;
                    1
                }
                _ => self.sign(rest, first),
            };
            rest = &rest[length..];
        }
        self.end();
    }

    /// A name, or a text with a prefix; gives the length.
    fn name(&mut self, rest: &str) -> usize {
        let end = rest.find(|one: char| one != '_' && !one.is_alphanumeric()).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let prefix = name.to_ascii_lowercase();
        if behind.starts_with(['"', '\''])
            && prefix.len() <= 2
            && prefix.chars().all(|one| "rbuft".contains(one))
        {
            return end + self.text(behind, &prefix);
        }
        self.tokens.push(Token::Name(name.to_owned()));
        end
    }

    fn sign(&mut self, rest: &str, first: char) -> usize {
        let second = rest[first.len_utf8()..].chars().next();
        let is_operator = match second {
            Some('=') => "=!<>+-*/%&|^@:".contains(first),
            Some(second) => {
                matches!((first, second), ('/', '/') | ('*', '*') | ('<', '<') | ('-' | '>', '>'))
            }
            None => false,
        };
        if is_operator {
            self.tokens.push(Token::Operator);
            return 2;
        }
        let token = Token::Sign(first);
        self.depth += depth_of(&token);
        // `if DEBUG: X = 1`
        if first == ':' && self.depth == 0 && self.block().is_some() {
            self.end();
            self.is_behind = true;
            return 1;
        }
        self.tokens.push(token);
        first.len_utf8()
    }

    /// A text from its quote on; gives the length.
    fn text(&mut self, rest: &str, prefix: &str) -> usize {
        let one = &rest[..1];
        let three = one.repeat(3);
        let quote = if rest.starts_with(&three) { three.as_str() } else { one };
        let is_formatted = prefix.contains(['f', 't']);
        let (mut at, mut braces, mut is_known) = (quote.len(), 0, !is_formatted && !prefix.contains('b'));
        let mut expressions = Vec::new();
        let mut begins = 0;
        while let Some(next) = rest[at..].chars().next() {
            let length = next.len_utf8();
            match next {
                _ if braces == 0 && rest[at..].starts_with(quote) => break,
                '\n' if quote.len() == 1 => break,
                '\\' => {
                    is_known &= prefix.contains('r');
                    at += length + rest[at + length..].chars().next().map_or(0, char::len_utf8);
                    continue;
                }
                '{' if is_formatted && braces == 0 && rest[at..].starts_with("{{") => {
                    at += 2;
                    continue;
                }
                '{' if is_formatted => {
                    if braces == 0 {
                        begins = at + 1;
                    }
                    braces += 1;
                }
                '}' if braces > 0 => {
                    braces -= 1;
                    if braces == 0 {
                        expressions.push(&rest[begins..at]);
                    }
                }
                _ => {}
            }
            at += length;
        }
        let value = &rest[quote.len()..at];
        self.tokens.push(if is_known { Token::Text(value.to_owned()) } else { Token::Opaque });
        for expression in expressions {
            let mut inner = Reader::default();
            inner.read(&format!("({expression})"));
            self.tokens.extend(inner.statements.into_iter().flat_map(|statement| statement.tokens));
        }
        at + if rest[at..].starts_with(quote) { quote.len() } else { 0 }
    }

    /// When the lines of the block run that the statement begins, if it begins one.
    fn block(&self) -> Option<Runs> {
        match self.tokens.first() {
            Some(Token::Name(word)) if word == "def" => Some(Runs::Later),
            Some(Token::Name(word)) if word == "async" => Some(Runs::Later),
            // `match = 1` and `case(x)` are no blocks, but nothing that is looked for is in them.
            Some(Token::Name(word)) if BLOCKS.contains(&word.as_str()) => Some(Runs::Sometimes),
            _ => None,
        }
    }

    /// Ends a statement.
    fn end(&mut self) {
        if self.tokens.is_empty() {
            return;
        }
        if !self.is_behind {
            while self.blocks.pop_if(|(indentation, _)| *indentation >= self.indentation).is_some() {}
        }
        if let Some(runs) = self.block() {
            self.blocks.push((self.indentation, runs));
        }
        let runs = self.blocks.iter().map(|(_, runs)| *runs).max().unwrap_or(Runs::Always);
        self.statements.push(Statement { tokens: std::mem::take(&mut self.tokens), runs });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let module = PythonModule { path: "a.py", text: text.to_owned() };
        let shown = |token: &Token| match token {
            Token::Name(name) => name.clone(),
            Token::Text(text) => format!("<{text}>"),
            Token::Opaque => "<?>".to_owned(),
            Token::Sign(sign) => sign.to_string(),
            Token::Operator => "op".to_owned(),
        };
        let statements = module.statements();
        let lines = statements.iter().map(|statement| {
            let tokens: Vec<_> = statement.tokens.iter().map(shown).collect();
            format!("{:?} {}", statement.runs, tokens.join(" "))
        });
        lines.collect()
    }

    #[test]
    fn tests_are_whole_names() {
        for path in [
            "a/tests/urls.py",
            "tests.py",
            "testing/settings.py",
            "conftest.py",
            "a/test_urls.py",
            "urls_test.py",
            "a/migrations/0001_initial.py",
        ] {
            assert!(is_of_tests_or_migrations(path), "{path}");
        }
        for path in ["contest/wsgi.py", "latest/settings.py", "protest_site/app.py", "test_site/wsgi.py"] {
            assert!(!is_of_tests_or_migrations(path), "{path}");
        }
    }

    #[test]
    fn comments_and_texts_are_no_code() {
        let text = "\"\"\"A = 'b' # c\n\"\"\"\nA = 'don\"t'  # isn't \"b\"\nB = [\n    r'c\\d',  # )\n    'e\\'f',\n]; C = 1\nD = 1 \\\n + 2\n";
        assert_eq!(
            read(text),
            [
                "Always <A = 'b' # c\n>",
                "Always A = <don\"t>",
                "Always B = [ <c\\d> , <?> , ]",
                "Always C = 1",
                "Always D = 1 + 2",
            ]
        );
        assert_eq!(
            read("A = f\"{{x}} {b['c']!r}/{d}\" == b''"),
            ["Always A = <?> ( b [ <c> ] ! r ) ( d ) op <?>"]
        );
        assert_eq!(read("A = 'é\nB = 1"), ["Always A = <é>", "Always B = 1"], "a text that does not end");
    }

    #[test]
    fn blocks_do_not_always_run() {
        let text = "if A:\n    B = 1\n\n    # c\n    def f(x: int):\n        C = 1\nelse: D = 1; E = 2\nF = {'a': 1}\n@x\ndef g(): G = 1\nH = 1\n";
        assert_eq!(
            read(text),
            [
                "Sometimes if A",
                "Sometimes B = 1",
                "Later def f ( x : int )",
                "Later C = 1",
                "Sometimes else",
                "Sometimes D = 1",
                "Sometimes E = 2",
                "Always F = { <a> : 1 }",
                "Always @ x",
                "Later def g ( )",
                "Later G = 1",
                "Always H = 1",
            ]
        );
    }
}
