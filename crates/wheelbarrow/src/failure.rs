//! What an error means to a person and to a script, beyond what the commands on releases know.

use std::error::Error;

use wheelbarrow_artifact::interpreter::ProbeError;
use wheelbarrow_audit::AuditError;
use wheelbarrow_base::{Explain, explained};
use wheelbarrow_build::BuildError;
use wheelbarrow_commands::failure;
pub(crate) use wheelbarrow_commands::failure::{Refusal, ReportedResult};

use crate::settings::SettingsError;

fn known<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn Explain> {
    explained!(error; BuildError, AuditError, SettingsError, ProbeError)
}

pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| known(cause)?.hint()).or_else(|| failure::hint(error))
}

/// As docs/reference/exit-codes.md says.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    let here = error.chain().find_map(known).map(Explain::exit_code);
    here.or_else(|| failure::exit_code(error)).unwrap_or(1)
}
