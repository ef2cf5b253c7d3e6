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
    Unknown { path: PathBuf, line: usize, key: String, suggestion: Option<String>, known: Vec<String> },
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
            Self::Unknown { path, key, .. } if key == "tool" && path.ends_with("wheelbarrow.toml") => Some(
                "names in wheelbarrow.toml are without `tool.wheelbarrow.`: [release], not [tool.wheelbarrow.release]"
                    .to_owned(),
            ),
            Self::Unknown { suggestion: Some(suggestion), .. } => {
                Some(format!("did you mean `{suggestion}`?"))
            }
            Self::Unknown { key, known, .. } => Some(match key.rsplit_once('.') {
                Some((table, _)) => format!("the keys of [{table}] are: {}", known.join(", ")),
                None => format!("the settings are: {}", known.join(", ")),
            }),
            Self::Kind { example, .. } => Some(format!("for example: {example}")),
            Self::Read(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                Some("PROJECT is a directory; a requirements file: `wheelbarrow build -r FILE`".to_owned())
            }
            Self::Both { .. } => Some("keep one of them".to_owned()),
            _ => None,
        }
    }
}

/// What the parser of TOML said.
pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let line = error.span().map_or(1, |span| line(text, span.start));
    if let Some((key, known)) = unknown_field(error.message()) {
        let suggestion = suggestion(&key, &known).map(str::to_owned);
        return SettingsError::Unknown { path: path.to_path_buf(), line, key, suggestion, known };
    }
    let reason = error.message().lines().collect::<Vec<_>>().join("; ");
    // The parser quotes values.
    SettingsError::Syntax { path: path.to_path_buf(), line, reason: wheelbarrow_http::redact(&reason) }
}

/// The key and the known ones, each in one spelling, of serde's "unknown field `a`, expected one of `b`, `c`".
fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    let (key, expected) = message.strip_prefix("unknown field `")?.split_once("`, expected ")?;
    let mut known: Vec<String> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let all = known.clone();
    known.retain(|name| !name.contains('-') || !all.contains(&name.replace('-', "_")));
    Some((key.to_owned(), known))
}

/// How alike a suggestion must be (0 to 1, Jaro-Winkler).
const ALIKE: f64 = 0.8;

pub(super) fn suggestion<'a>(key: &str, known: &'a [impl AsRef<str>]) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('_', "-");
    let key = plain(key);
    let mut known = known.iter().map(AsRef::as_ref);
    // `extra-static` is a flag's other name.
    if let Some(name) = known.clone().find(|name| key.ends_with(&format!("-{name}"))) {
        return Some(name);
    }
    let score = |name: &str| strsim::jaro_winkler(&key, &plain(name));
    let best = known.by_ref().max_by(|left, right| score(left).total_cmp(&score(right)))?;
    (score(best) >= ALIKE).then_some(best)
}

/// Counted from 1.
pub(super) fn line(text: &str, position: usize) -> usize {
    text.as_bytes()[..position.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}
