//! What an error means to a person and to a script: causes, hint, exit code.

#[cfg_attr(not(target_os = "linux"), path = "failure/without_servers.rs")]
mod of_servers;

use std::error::Error;

use wheelbarrow_artifact::ArtifactError;
use wheelbarrow_artifact::inventory::InventoryError;
use wheelbarrow_base::{Exit, Explain, explained, is_out_of_memory};
use wheelbarrow_signature::SignatureError;

use of_servers::{Outcome, Phase, ReleaseId, ServerOutput};

/// An error of the command line's own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub message: String,
    pub hint: Option<String>,
    pub exit: Exit,
}

impl Explain for Refusal {
    fn exit(&self) -> Exit {
        self.exit
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// A result that is no error, was printed, and has an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("told already")]
pub struct ReportedResult {
    pub code: u8,
}

impl From<Exit> for ReportedResult {
    fn from(exit: Exit) -> Self {
        Self { code: exit.code() }
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

/// What stands behind the error, from the nearest cause to the first; not what says the same again.
pub fn causes(error: &anyhow::Error) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !messages.iter().any(|before| before.contains(&cause)) {
            messages.push(cause);
        }
    }
    if let Some(revert) = of_servers::failed_rollback(error) {
        messages.push(format!("rolling back: {revert}"));
    }
    messages.split_off(1)
}

/// What a failure is to a program, where `--json` is among the words of the command.
#[derive(Debug, serde::Serialize)]
pub struct Failure {
    error: String,
    causes: Vec<String>,
    hint: Option<String>,
    exit_code: u8,
    /// The release that was being made live.
    id: Option<ReleaseId>,
    phase: Option<Phase>,
    outcome: Option<Outcome>,
    /// What the server wrote since the switch.
    server_log: Option<ServerOutput>,
}

impl Failure {
    pub fn new(error: &anyhow::Error, hint: Option<String>, exit_code: u8) -> Self {
        let failed = error.chain().find_map(of_servers::failed_release);
        let (id, phase, outcome) = match failed {
            Some((id, phase, outcome)) => (Some(id), Some(phase), Some(outcome)),
            None => (None, None, None),
        };
        let server_log = error.chain().find_map(of_servers::server_log);
        Self {
            error: error.to_string(),
            causes: causes(error),
            hint,
            exit_code,
            id,
            phase,
            outcome,
            server_log,
        }
    }
}

/// Whether this process was asked for JSON. What stands behind `--` is somebody else's.
pub fn wants_json() -> bool {
    std::env::args_os().take_while(|word| word != "--").any(|word| word == "--json")
}

/// As an error that has a hint and an exit code, where it is one.
fn known<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn Explain> {
    explained!(error; ArtifactError, InventoryError, SignatureError, Refusal)
        .or_else(|| of_servers::known(error))
}

pub fn hint(error: &anyhow::Error) -> Option<String> {
    let memory = || {
        is_out_of_memory(error.as_ref()).then(|| {
            "this process may not have as much memory as it needs: raise the limit (`ulimit -v`, or that of the \
             container or service)"
                .to_owned()
        })
    };
    error.chain().find_map(|cause| known(cause)?.hint()).or_else(memory)
}

/// As docs/reference/exit-codes.md says; none for an error that is not known here.
pub fn exit_code(error: &anyhow::Error) -> Option<u8> {
    error.chain().find_map(|cause| {
        let told = || cause.downcast_ref().map(|told: &ReportedResult| told.code);
        known(cause).map(Explain::exit_code).or_else(told)
    })
}
