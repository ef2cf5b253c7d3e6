//! The language of pages, help and messages: ten patterns that readers had to read twice are refused, and every error has
//! a row in `docs/troubleshooting.md`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, bail};
use fs_err as fs;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use walkdir::WalkDir;

use crate::children::workspace;

/// Each with what to write instead.
const WORST: [(&[&str], &str); 10] = [
    (&["taken back", "take back", "takes back", "taking it back"], "roll back; of a migration: reverse"),
    (&["is none", "are none"], "name what is wrong: `invalid ...`"),
    (&["travel", "travels", "travelled"], "is bundled"),
    (&["whoever"], "name the user: the site's user, the deploying user"),
    (&["native program", "native programs", "native installer"], "standalone binary"),
    (&["python alone", "second way"], "fallback installer"),
    (&["is there already", "are there already", "where it is there", "where it is not there"], "exists"),
    (&["is told", "are told", "was told", "were told"], "is reloaded, is printed"),
    (&["says otherwise", "nobody says"], "by default; differs"),
    (&["what was live", "what is lacking", "is lacking"], "the previous release; missing"),
];

/// Pages for users and developers of Wheelbarrow, except the glossary, which lists the words to avoid.
const PAGES: [&str; 16] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "ansible/README.md",
    "crates",
    "docs/concepts/index.md",
    "docs/decisions",
    "docs/index.md",
    "docs/install.md",
    "docs/get-started",
    "docs/guides",
    "docs/measurements",
    "docs/reference",
    "docs/operations.md",
    TROUBLESHOOTING,
];

/// Python files with messages or documentation, but for their tests; and the texts of roles and playbooks.
const PYTHON: [&str; 2] = ["crates/wheelbarrow-artifact/python", "ansible/plugins"];
const YAML: [&str; 2] = ["ansible/roles", "ansible/playbooks"];

const TROUBLESHOOTING: &str = "docs/troubleshooting.md";

/// An error text that is mostly made of what it is about, such as `{path}: {reason}`, is explained by its cause.
const LEAST_LETTERS: usize = 8;

/// Fails with each place that has one of the patterns, and each error without a row.
pub(crate) fn check() -> Result<()> {
    let problems = problems()?;
    if !problems.is_empty() {
        bail!("words:\n  {}", problems.join("\n  "));
    }
    Ok(())
}

fn problems() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for page in PAGES.iter().flat_map(|page| files(page, "md")) {
        for (number, line) in (1..).zip(fs::read_to_string(workspace().join(&page))?.lines()) {
            look(&format!("{}:{number}", page.display()), line, &mut problems);
        }
    }
    for file in YAML.iter().flat_map(|place| files(place, "yml")) {
        let text = fs::read_to_string(workspace().join(&file))?;
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with('#'))
        {
            look(&format!("{}:{number}", file.display()), line, &mut problems);
        }
    }
    for file in PYTHON.iter().flat_map(|place| files(place, "py")) {
        if !file.iter().any(|part| part == "tests") {
            for (number, text) in python_texts(&fs::read_to_string(workspace().join(&file))?) {
                look(&format!("{}:{number}", file.display()), text, &mut problems);
            }
        }
    }
    let rows = bare(&fs::read_to_string(workspace().join(TROUBLESHOOTING))?);
    for file in sources() {
        let mut texts = Texts { is_help: file.iter().any(|part| part == "commands"), ..Texts::default() };
        let source = fs::read_to_string(workspace().join(&file))?;
        texts.collect(&TokenStream::from_str(&source).map_err(|error| anyhow::anyhow!("{error}"))?);
        for text in &texts.shown {
            look(&file.display().to_string(), text, &mut problems);
        }
        for text in texts.errors.iter().map(|text| bare(&generic(text))) {
            let letters = text.chars().filter(char::is_ascii_alphabetic).count();
            if letters >= LEAST_LETTERS && !rows.contains(&text) {
                problems.push(format!("{}: {TROUBLESHOOTING} has no row for: {text}", file.display()));
            }
        }
    }
    Ok(problems)
}

/// The sources of the programs.
pub(crate) fn sources() -> impl Iterator<Item = PathBuf> {
    files("crates", "rs").into_iter().filter(|file| is_shown(file))
}

/// Sources whose texts are shown to people: not tests, nor what only tests use.
fn is_shown(file: &Path) -> bool {
    let is = |name: &str| file.iter().any(|part| part == name);
    is("src") && !is("tests") && !is("tests.rs") && !is("wheelbarrow-testing")
}

fn look(place: &str, text: &str, problems: &mut Vec<String>) {
    let words =
        text.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_', " ");
    let words = format!(" {} ", words.split_whitespace().collect::<Vec<_>>().join(" "));
    for (patterns, better) in WORST {
        if let Some(found) = patterns.iter().find(|pattern| words.contains(&format!(" {pattern} "))) {
            problems.push(format!("{place}: \"{found}\"; better: {better}"));
        }
    }
}

/// What stands between double quotes in a line, and the lines of texts of several lines that get a name; with line numbers.
fn python_texts(source: &str) -> Vec<(usize, &str)> {
    let mut texts = Vec::new();
    let mut is_inside = false;
    for (number, line) in (1..).zip(source.lines()) {
        if is_inside {
            is_inside = !line.contains("\"\"\"");
            texts.push((number, line));
        } else if line.contains("= \"\"\"") || line.contains("= r\"\"\"") {
            is_inside = true;
        } else if !["#", "\"\"\"", "r\"\"\""].iter().any(|begin| line.trim_start().starts_with(begin)) {
            let quoted = line.split('"').skip(1).step_by(2);
            texts.extend(quoted.filter(|text| text.trim().contains(' ')).map(|text| (number, text)));
        }
    }
    texts
}

/// `{path}` and the like become three dots, as the page has them.
fn generic(text: &str) -> String {
    let mut parts = text.replace('\n', " ");
    while let (Some(begin), Some(end)) = (parts.find('{'), parts.find('}')) {
        parts.replace_range(begin..=end, "...");
    }
    parts
}

/// Without the backticks that Markdown takes.
fn bare(text: &str) -> String {
    text.replace('`', "")
}

/// The texts of a source, but for its tests.
#[derive(Default)]
struct Texts {
    /// Whether comments are help texts.
    is_help: bool,
    shown: Vec<String>,
    errors: Vec<String>,
}

impl Texts {
    fn collect(&mut self, tokens: &TokenStream) {
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let mut is_test = false;
        for (index, token) in tokens.iter().enumerate() {
            let before = |back: usize| index.checked_sub(back).map(|index| tokens[index].to_string());
            match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                    if let (Some("#"), [TokenTree::Ident(name), TokenTree::Group(inner)]) =
                        (before(1).as_deref(), &*inside)
                    {
                        is_test |= name == "cfg" && inner.stream().to_string() == "test";
                        let text = inner.stream().into_iter().next().as_ref().and_then(string);
                        self.errors.extend(text.filter(|_| name == "error"));
                    }
                    self.collect(&group.stream());
                }
                TokenTree::Group(group) if is_test && group.delimiter() == Delimiter::Brace => {
                    is_test = false
                }
                TokenTree::Group(group) => self.collect(&group.stream()),
                TokenTree::Punct(punct) if punct.as_char() == ';' => is_test = false,
                TokenTree::Literal(_) => {
                    let is_comment = before(2).as_deref() == Some("doc");
                    if !is_comment || self.is_help {
                        self.shown.extend(string(token).filter(|text| text.trim().contains(' ')));
                    }
                }
                _ => {}
            }
        }
    }
}

pub(crate) fn string(token: &TokenTree) -> Option<String> {
    syn::parse_str::<syn::LitStr>(&token.to_string()).ok().map(|literal| literal.value())
}

/// The files below a directory of the workspace, or the file itself.
fn files(place: &str, extension: &str) -> Vec<PathBuf> {
    let entries = WalkDir::new(workspace().join(place)).sort_by_file_name().into_iter().flatten();
    let paths = entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter_map(|path| path.strip_prefix(workspace()).ok().map(Path::to_path_buf))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_found_as_words() {
        let found = |text: &str| {
            let mut problems = Vec::new();
            look("here", text, &mut problems);
            problems.len()
        };
        assert_eq!(found("the release was taken back"), 1);
        assert_eq!(found("Whoever serves, is told"), 2);
        assert_eq!(found("travellers and the native programming language"), 0);
    }

    #[test]
    fn texts_of_python_are_found() {
        let source = "# \"a comment\"\nHELP = \"\"\"\\\nfirst line\n\"\"\"\nsay(\"one word\", \"word\")\n    \"its own line\"\n";
        assert_eq!(
            python_texts(source),
            [(3, "first line"), (4, "\"\"\""), (5, "one word"), (6, "its own line")]
        );
    }

    #[test]
    fn texts_are_those_that_people_see() {
        let source = r#"
            /// A comment of a developer.
            #[error("cannot read {path}")]
            fn shown() { print("a message to people"); }
            #[cfg(test)]
            mod tests { fn hidden() { print("a text of a test"); } }
            fn later() { format!("one {thing} more"); }
        "#;
        let mut texts = Texts::default();
        texts.collect(&source.parse().unwrap());
        assert_eq!(texts.shown, ["cannot read {path}", "a message to people", "one {thing} more"]);
        assert_eq!(texts.errors, ["cannot read {path}"]);
        assert_eq!(generic("{a} is {b}: {}"), "... is ...: ...");
    }

    #[test]
    fn pages_and_messages_have_none_of_the_patterns() {
        assert_eq!(problems().unwrap(), Vec::<String>::new());
    }
}
