//! Pages of the reference that are compared with the sources: environment variables, and files.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, bail};
use fs_err as fs;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::children::workspace;
use crate::words;

const VARIABLES: &str = "docs/reference/variables.md";
const FILES: &str = "docs/reference/files.md";

/// Of uv, pip and Wheelbarrow: each that a source names is on the page.
const PREFIXES: [&str; 3] = ["UV_", "PIP_", "WHEELBARROW_"];
/// A test that makes a page reads it.
const OF_TESTS: &str = "WHEELBARROW_UPDATE";
/// Of logins, made with the name of an index.
const MADE: [&str; 2] = ["UV_INDEX_NAME_USERNAME", "UV_INDEX_NAME_PASSWORD"];

/// Fails with each variable that the page lacks, and each variable or file of a page that no source names.
pub(crate) fn check() -> Result<()> {
    let problems = problems()?;
    if !problems.is_empty() {
        bail!("reference:\n  {}", problems.join("\n  "));
    }
    Ok(())
}

fn problems() -> Result<Vec<String>> {
    let mut literals = BTreeSet::new();
    for file in words::sources() {
        let source = fs::read_to_string(workspace().join(&file))?;
        collect(&TokenStream::from_str(&source).map_err(|error| anyhow::anyhow!("{error}"))?, &mut literals);
    }
    let page = |path: &str| fs::read_to_string(workspace().join(Path::new(path)));
    let (variables, files) = (page(VARIABLES)?, page(FILES)?);
    let shown: BTreeSet<&str> = code(&variables).filter(|text| is_variable(text)).collect();
    let mut problems = Vec::new();
    for literal in literals.iter().filter(|literal| is_variable(literal)) {
        let is_ours = PREFIXES.iter().any(|prefix| literal.starts_with(prefix));
        if is_ours && !literal.ends_with('_') && *literal != OF_TESTS && !shown.contains(literal.as_str()) {
            problems.push(format!("{VARIABLES} lacks {literal}"));
        }
    }
    for variable in shown.iter().filter(|name| !MADE.contains(name)) {
        if !literals.contains(*variable) {
            problems.push(format!("{VARIABLES} has {variable}, which no source names"));
        }
    }
    for name in code(&files).filter_map(own_file) {
        if !literals.iter().any(|literal| literal.split('/').any(|part| part == name)) {
            problems.push(format!("{FILES} has {name}, which no source names"));
        }
    }
    Ok(problems)
}

/// What stands between backquotes.
fn code(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

fn is_variable(text: &str) -> bool {
    let is_of_name = |letter: char| letter.is_ascii_uppercase() || letter == '_';
    let is_lower = text.ends_with("_proxy");
    !text.is_empty() && (is_lower || text.chars().all(is_of_name)) && text != "NAME"
}

/// The name of a file or directory that Wheelbarrow chooses: below `.wheelbarrow`, or in `ROOT/shared`.
fn own_file(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once(".wheelbarrow/").or_else(|| path.split_once("shared/"))?;
    Some(rest.trim_end_matches('/').split('/').next().unwrap_or(rest))
}

/// The string literals of a source, but for its tests.
fn collect(tokens: &TokenStream, literals: &mut BTreeSet<String>) {
    let mut is_test = false;
    for token in tokens.clone() {
        match token {
            TokenTree::Group(group) => {
                let text = group.stream().to_string();
                if text == "cfg (test)" {
                    is_test = true;
                } else if !is_test {
                    collect(&group.stream(), literals);
                } else if group.delimiter() == Delimiter::Brace {
                    is_test = false;
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => is_test = false,
            TokenTree::Literal(_) => literals.extend(words::string(&token)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_files_are_those_of_the_sources() {
        assert_eq!(problems().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn names_are_found() {
        assert!(
            is_variable("UV_INDEX")
                && is_variable("https_proxy")
                && !is_variable("uv")
                && !is_variable("NAME")
        );
        assert_eq!(own_file("ROOT/.wheelbarrow/trash/"), Some("trash"));
        assert_eq!(own_file("shared/.files/"), Some(".files"));
        assert_eq!(own_file("store/"), None);
        let mut literals = BTreeSet::new();
        let source =
            "fn a() { b(\"UV_X\"); }\n#[cfg(test)] mod tests { fn c() { \"UV_Y\"; } } fn d() { \"z\"; }";
        collect(&source.parse().unwrap(), &mut literals);
        assert_eq!(literals.into_iter().collect::<Vec<_>>(), ["UV_X", "z"]);
    }
}
