//! Errors of commands for users and scripts: causes, hint, exit code.

use std::error::Error;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Map, Value};
use wheelbarrow_base::{Exit, Explain, absolute, explained_at, is_out_of_memory, shell_word};

/// What every command returns.
pub type CommandResult<T> = Result<T, CommandError>;

/// Why a command failed, or ends with another exit code than 0. Every error that explains itself becomes one by `?`; so this is none
/// itself.
#[derive(Debug)]
pub enum CommandError {
    Explained {
        /// What the command was doing, if the error does not say it.
        context: Option<String>,
        error: Box<dyn Explain + Send + Sync>,
    },
    /// The result is printed, and has this exit code.
    Reported(u8),
}

impl<E: Explain + Send + Sync + 'static> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self::Explained { context: None, error: Box::new(error) }
    }
}

impl Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Explained { context: Some(context), .. } => formatter.write_str(context),
            Self::Explained { error, .. } => error.fmt(formatter),
            Self::Reported(code) => write!(formatter, "the exit code is {code}"),
        }
    }
}

impl CommandError {
    /// As docs/reference/exit-codes.md says.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Explained { error, .. } => error.exit_code(),
            Self::Reported(code) => *code,
        }
    }

    pub fn hint(&self) -> Option<String> {
        let Self::Explained { error, .. } = self else { return None };
        let memory = || {
            is_out_of_memory(&**error).then(|| {
                "this process may not have as much memory as it needs: raise the limit (`ulimit -v`, or that of the \
                 container or service)"
                    .to_owned()
            })
        };
        error.hint().or_else(memory).map(|hint| with_root(&hint))
    }

    /// What stands behind the error, from the nearest cause to the first; not what says the same again.
    pub fn causes(&self) -> Vec<String> {
        let Self::Explained { context, error } = self else { return Vec::new() };
        let mut messages: Vec<String> = context.iter().cloned().collect();
        let error: &(dyn Explain + 'static) = &**error;
        let chain = std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source());
        for cause in chain.map(ToString::to_string) {
            if !messages.iter().any(|before| before.contains(&cause)) {
                messages.push(cause);
            }
        }
        messages.extend(error.aftermath());
        messages.split_off(1)
    }
}

/// Says what a command was doing when an error came that does not say it.
pub trait WithContext<T> {
    fn context(self, doing: impl FnOnce() -> String) -> CommandResult<T>;
}

impl<T, E: Explain + Send + Sync + 'static> WithContext<T> for Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> CommandResult<T> {
        self.map_err(|error| CommandError::Explained { context: Some(doing()), error: Box::new(error) })
    }
}

/// An error of the command line's own.
#[derive(thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub message: String,
    pub hint: Option<String>,
    pub exit: Exit,
}

wheelbarrow_base::debug_error!(Refusal);

impl Explain for Refusal {
    fn exit(&self) -> Exit {
        self.exit
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl Refusal {
    /// The project cannot be built as it stands.
    pub fn project(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), exit: Exit::Project }
    }

    /// Asked for in a way that means nothing.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), exit: Exit::Usage }
    }
}

/// What a failure is to a program, where `--json` is among the words of the command.
#[derive(Debug, serde::Serialize)]
pub struct Failure {
    error: String,
    causes: Vec<String>,
    hint: Option<String>,
    exit_code: u8,
    /// The address of a page that explains it.
    docs: Option<String>,
    /// The release that was being made live.
    id: Value,
    phase: Value,
    outcome: Value,
    /// What the server wrote since the switch.
    server_log: Value,
}

impl Failure {
    pub fn new(error: &CommandError) -> Self {
        let mut facts = match error {
            CommandError::Explained { error, .. } => error.facts(),
            CommandError::Reported(_) => Map::new(),
        };
        let mut fact = |name| facts.remove(name).unwrap_or_default();
        Self {
            error: error.to_string(),
            causes: error.causes(),
            hint: error.hint(),
            exit_code: error.exit_code(),
            docs: explained_at(error.exit_code()),
            id: fact("id"),
            phase: fact("phase"),
            outcome: fact("outcome"),
            server_log: fact("server_log"),
        }
    }
}

/// The artifact that runs, as a shell reads it, and which commands it has.
static ARTIFACT: OnceLock<(String, HasCommand)> = OnceLock::new();

type HasCommand = fn(&str) -> bool;

/// From now on hints have this artifact in place of `wheelbarrow`.
pub fn runs_from(artifact: &Path, has_command: HasCommand) {
    _ = ARTIFACT.set((shell_word(&artifact.to_string_lossy()), has_command));
}

/// The text with the root of this command for each word `ROOT`, as a shell reads it, and the artifact that runs for
/// `wheelbarrow`.
pub(crate) fn with_root(text: &str) -> String {
    let text = match ARTIFACT.get() {
        Some((artifact, has_command)) => by_artifact(text, artifact, *has_command),
        None => text.to_owned(),
    };
    let Some(root) = named_root().and_then(|root| absolute(&root).ok()) else { return text };
    named(&text, &shell_word(&root.to_string_lossy()))
}

fn by_artifact(text: &str, artifact: &str, has_command: HasCommand) -> String {
    let mut parts = text.split("`wheelbarrow ");
    let mut named = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (words, rest) = part.split_once('`').unwrap_or((part, ""));
        named += &match has_command(words.split(' ').next().unwrap_or_default()) {
            true => format!("`{artifact} {}`{rest}", words.replace(" ARTIFACT", "")),
            false => format!("`wheelbarrow {part}"),
        };
    }
    named
}

fn named(text: &str, root: &str) -> String {
    let mut named = String::new();
    for (number, part) in text.split("ROOT").enumerate() {
        if number > 0 {
            // Not of STATIC_ROOT, nor of a path.
            let is_word =
                !named.ends_with(|before: char| before.is_alphanumeric() || "_/.-".contains(before));
            named.push_str(if is_word { root } else { "ROOT" });
        }
        named.push_str(part);
    }
    named
}

/// What `--root` or the environment names.
fn named_root() -> Option<PathBuf> {
    let mut words = std::env::args_os().take_while(|word| word != "--");
    let named = words.find_map(|word| match word.to_str()?.strip_prefix("--root")? {
        "" => Some(None),
        rest => Some(Some(rest.strip_prefix('=')?.into())),
    });
    match named {
        Some(Some(root)) => Some(root),
        Some(None) => words.next().map(PathBuf::from),
        None => std::env::var_os("WHEELBARROW_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from),
    }
}

/// Whether this process was asked for JSON. What stands behind `--` is somebody else's.
pub fn wants_json() -> bool {
    std::env::args_os().take_while(|word| word != "--").any(|word| word == "--json")
}

#[cfg(test)]
mod tests {
    use super::{by_artifact, named};

    #[test]
    fn an_artifact_names_itself_in_hints() {
        let text = "`wheelbarrow unit ARTIFACT --root ROOT` prints, `wheelbarrow thin ARTIFACT` does not, `wheelbarrow list`";
        assert_eq!(
            by_artifact(text, "/a.zip", |command| command != "thin"),
            "`/a.zip unit --root ROOT` prints, `wheelbarrow thin ARTIFACT` does not, `/a.zip list`"
        );
        assert_eq!(by_artifact("none", "/a.zip", |_| true), "none");
    }

    #[test]
    fn the_root_is_named_where_a_word_stands_for_it() {
        let text = "`prune --root ROOT`, ROOT/shared; STATIC_ROOT, /srv/ROOT, and my.ROOT";
        assert_eq!(
            named(text, "/srv/a"),
            "`prune --root /srv/a`, /srv/a/shared; STATIC_ROOT, /srv/ROOT, and my.ROOT"
        );
    }
}
