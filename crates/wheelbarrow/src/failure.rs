//! What an error means to a person and to a script, beyond what the commands on releases know.

use wheelbarrow_artifact::interpreter::ProbeError;
use wheelbarrow_audit::AuditError;
use wheelbarrow_build::BuildError;
use wheelbarrow_commands::failure;
pub(crate) use wheelbarrow_commands::failure::{Refusal, Told};

use crate::settings::SettingsError;

pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    let here = |cause: &(dyn std::error::Error + 'static)| {
        let build = cause.downcast_ref::<BuildError>().and_then(BuildError::hint);
        let audit = || cause.downcast_ref::<AuditError>().and_then(AuditError::hint);
        let settings = || cause.downcast_ref::<SettingsError>().and_then(SettingsError::hint);
        let python = || cause.downcast_ref::<ProbeError>().and_then(ProbeError::hint);
        build.or_else(audit).or_else(settings).or_else(python)
    };
    error.chain().find_map(here).or_else(|| failure::hint(error))
}

/// As docs/exit-codes.md says.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    let here = |cause: &(dyn std::error::Error + 'static)| {
        let build = cause.downcast_ref().map(BuildError::exit_code);
        let audit = || cause.downcast_ref().map(AuditError::exit_code);
        let settings = || {
            cause.downcast_ref().map(|error| match error {
                SettingsError::Read(_) => 1,
                _ => 8,
            })
        };
        build.or_else(audit).or_else(settings)
    };
    error.chain().find_map(here).or_else(|| failure::exit_code(error)).unwrap_or(1)
}
