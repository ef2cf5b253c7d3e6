//! What an error means to a person and to a script: causes, hint, exit code.

use wheelbarrow_artifact::ArtifactError;
use wheelbarrow_audit::AuditError;
use wheelbarrow_install::InstallError;

use crate::environment::EnvironmentError;
use crate::settings::SettingsError;

/// An error of the command line's own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) code: u8,
}

impl Refusal {
    /// The project cannot be built as it stands.
    pub(crate) fn project(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), code: 8 }
    }
}

/// A result that is no error, was printed, and has an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("told already")]
pub(crate) struct Told {
    pub(crate) code: u8,
}

/// What stands behind the error, from the nearest cause to the first; not what says the same again.
pub(crate) fn causes(error: &anyhow::Error) -> Vec<String> {
    let mut said = vec![error.to_string()];
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.iter().any(|before| before.contains(&cause)) {
            said.push(cause);
        }
    }
    said.split_off(1)
}

pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let artifact = cause.downcast_ref::<ArtifactError>().and_then(ArtifactError::hint);
        let install = || cause.downcast_ref::<InstallError>().and_then(InstallError::hint);
        let build = || cause.downcast_ref::<wheelbarrow_build::BuildError>().and_then(|error| error.hint());
        let audit = || cause.downcast_ref::<AuditError>().and_then(AuditError::hint);
        let settings = || cause.downcast_ref::<SettingsError>().and_then(SettingsError::hint);
        let refusal = || cause.downcast_ref::<Refusal>().and_then(|refusal| refusal.hint.clone());
        artifact.or_else(install).or_else(build).or_else(audit).or_else(settings).or_else(refusal)
    })
}

/// As docs/exit-codes.md says.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    let known = error.chain().find_map(|cause| {
        let artifact = cause.downcast_ref().map(|error| match error {
            ArtifactError::Read { .. } => 1,
            _ => 3,
        });
        let install = || cause.downcast_ref().map(InstallError::exit_code);
        let build = || cause.downcast_ref().map(wheelbarrow_build::BuildError::exit_code);
        let audit = || cause.downcast_ref().map(AuditError::exit_code);
        let settings = || {
            cause.downcast_ref().map(|error| match error {
                SettingsError::Read(_) => 1,
                _ => 8,
            })
        };
        let environment = || cause.downcast_ref::<EnvironmentError>().map(|_| 7);
        let told = || cause.downcast_ref().map(|told: &Told| told.code);
        let refusal = || cause.downcast_ref().map(|refusal: &Refusal| refusal.code).or_else(told);
        artifact
            .or_else(install)
            .or_else(build)
            .or_else(audit)
            .or_else(settings)
            .or_else(environment)
            .or_else(refusal)
    });
    known.unwrap_or(1)
}
