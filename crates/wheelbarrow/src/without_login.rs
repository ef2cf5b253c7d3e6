//! Errors of a command with a login among its words. Where a path belongs, pip takes a URL too; a log of CI shows the error, and
//! hides the command.

use std::error::Error;

use serde_json::{Map, Value};
use wheelbarrow_base::{Exit, Explain};
use wheelbarrow_commands::failure::CommandError;
use wheelbarrow_http::{Credentials, has_secret, redact};

/// An error with its texts as they are shown.
#[derive(thiserror::Error)]
#[error("{text}")]
struct Shown {
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    hint: Option<String>,
    exit: Exit,
    code: u8,
    facts: Map<String, Value>,
}

wheelbarrow_base::debug_error!(Shown);

impl Explain for Shown {
    fn exit(&self) -> Exit {
        self.exit
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    fn exit_code(&self) -> u8 {
        self.code
    }

    fn facts(&self) -> Map<String, Value> {
        self.facts.clone()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Cause {
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The same error; without logins if a word of the command has one.
pub(crate) fn shown(error: CommandError) -> CommandError {
    let words: Vec<_> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let CommandError::Explained { error: explained, .. } = &error else { return error };
    if !words.iter().any(|word| has_secret(word)) {
        return error;
    }
    // A path has one slash where a URL has two.
    let mut credentials = Credentials::default();
    words.iter().filter(|word| has_secret(word)).for_each(|word| credentials.add(word));
    credentials.hide();
    let source = error.causes().into_iter().rev().fold(None, |source, cause| {
        Some(Box::new(Cause { text: redact(&cause), source }) as Box<dyn Error + Send + Sync>)
    });
    Shown {
        text: redact(&error.to_string()),
        source,
        hint: error.hint().map(|hint| redact(&hint)),
        exit: explained.exit(),
        code: error.exit_code(),
        facts: explained.facts(),
    }
    .into()
}
