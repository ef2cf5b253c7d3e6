//! Errors in settings, with their place.

use std::path::{Path, PathBuf};
use wheelbarrow_base::{Exit, Explain};

#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read the settings")]
    Read(#[from] std::io::Error),
    #[error("{}, line {line}: {reason}", path.display())]
    Syntax { path: PathBuf, line: usize, reason: String },
    #[error("{}, line {line}: `{key}` must be {expected}", path.display())]
    Kind { path: PathBuf, line: usize, key: String, expected: String, example: &'static str },
    #[error("{}, line {line}: unknown setting `{key}`", path.display())]
    Unknown {
        path: PathBuf,
        line: usize,
        key: String,
        suggestion: Option<String>,
        known: &'static [&'static str],
    },
    #[error("both {} and [tool.wheelbarrow] in {} have settings", own.display(), pyproject.display())]
    Both { own: PathBuf, pyproject: PathBuf },
}

impl Explain for SettingsError {
    fn exit(&self) -> Exit {
        match self {
            Self::Read(_) => Exit::Failed,
            _ => Exit::Project,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { suggestion: Some(suggestion), .. } => {
                Some(format!("did you mean `{suggestion}`?"))
            }
            Self::Unknown { known, .. } => Some(format!("the settings are: {}", known.join(", "))),
            Self::Kind { example, .. } => Some(format!("for example: {example}")),
            Self::Both { .. } => Some("keep one of them".to_owned()),
            _ => None,
        }
    }
}

/// What the parser of TOML said.
pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let line = error.span().map_or(1, |span| line(text, span.start));
    let reason = error.message().lines().collect::<Vec<_>>().join("; ");
    // The parser quotes values.
    SettingsError::Syntax { path: path.to_path_buf(), line, reason: wheelbarrow_http::redact(&reason) }
}

/// Counted from 1.
pub(super) fn line(text: &str, position: usize) -> usize {
    text.as_bytes()[..position.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}
