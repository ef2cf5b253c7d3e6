//! A guide as something that can be done: its commands, the files that it shows, and what the test looks at in between.
//!
//! In a block of `console`, `$ ` is before a command of the machine that builds, `# ` before one of root's on the server,
//! and what follows is what it says. Any other block is a file: the sentence before it ends with the path in backquotes, an
//! absolute one on the server. `<!-- test: WORDS -->` is for the test alone.

use anyhow::{Result, bail};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    Builder,
    Server,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action<'p> {
    Command { on: Machine, text: &'p str, said: Vec<&'p str> },
    File { on: Machine, path: &'p str, text: String },
    Test { words: Vec<&'p str> },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step<'p> {
    /// Where in the page, from 1.
    pub(super) line: usize,
    pub(super) action: Action<'p>,
}

const FENCE: &str = "```";
const TEST: &str = "<!-- test: ";

pub(super) fn read(page: &str) -> Result<Vec<Step<'_>>> {
    let lines: Vec<&str> = page.lines().collect();
    let mut steps = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = at + 1;
        if let Some(words) = lines[at].strip_prefix(TEST).and_then(|rest| rest.strip_suffix(" -->")) {
            steps.push(Step { line, action: Action::Test { words: words.split_whitespace().collect() } });
        } else if let Some(language) = lines[at].strip_prefix(FENCE) {
            let length = lines[line..].iter().position(|line| *line == FENCE);
            let Some(length) = length else { bail!("line {line}: a block without an end") };
            let block = &lines[line..line + length];
            if language == "console" {
                steps.extend(commands(block, line + 1)?);
            } else {
                let Some(path) = path_before(&lines[..at]) else {
                    bail!("line {line}: a file without a path")
                };
                let on = if path.starts_with('/') { Machine::Server } else { Machine::Builder };
                let text = block.iter().flat_map(|line| [line, "\n"]).collect();
                steps.push(Step { line, action: Action::File { on, path, text } });
            }
            at += length + 1;
        }
        at += 1;
    }
    Ok(steps)
}

fn commands<'p>(block: &[&'p str], first: usize) -> Result<Vec<Step<'p>>> {
    let mut steps: Vec<Step<'p>> = Vec::new();
    for (line, text) in (first..).zip(block) {
        let prompts = [("$ ", Machine::Builder), ("# ", Machine::Server)];
        let found = prompts.iter().find_map(|(prompt, on)| Some((*on, text.strip_prefix(prompt)?)));
        if let Some((on, text)) = found {
            steps.push(Step { line, action: Action::Command { on, text, said: Vec::new() } });
        } else if let Some(Step { action: Action::Command { said, .. }, .. }) = steps.last_mut() {
            said.push(text);
        } else {
            bail!("line {line}: nothing was asked");
        }
    }
    Ok(steps)
}

/// What the last words before a block have in backquotes.
fn path_before<'p>(lines: &[&'p str]) -> Option<&'p str> {
    let sentence = lines.iter().rev().find(|line| !line.is_empty())?;
    let (before, _) = sentence.rsplit_once('`')?;
    before.rsplit_once('`').map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_a_reader_would_do() {
        let page = "Put into `a.toml`:\n\n```toml\nx = 1\n```\n\n```console\n$ build\ndone\n# deploy a\n```\n<!-- test: serves 2 -->\n";
        let on = Machine::Builder;
        let expected = [
            (3, Action::File { on, path: "a.toml", text: "x = 1\n".to_owned() }),
            (8, Action::Command { on, text: "build", said: vec!["done"] }),
            (10, Action::Command { on: Machine::Server, text: "deploy a", said: vec![] }),
            (12, Action::Test { words: vec!["serves", "2"] }),
        ];
        let expected: Vec<_> = expected.into_iter().map(|(line, action)| Step { line, action }).collect();
        assert_eq!(read(page).unwrap(), expected);
        assert!(read("```toml\nx = 1\n```\n").is_err());
        assert!(read("```console\n$ never ended\n").is_err());
    }
}
