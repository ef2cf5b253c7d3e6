//! The allowed signers of a command.

use std::path::Path;
use std::sync::Arc;

use wheelbarrow_artifact::Trust;
use wheelbarrow_commands::verify_artifact::HOST_SIGNERS;

use crate::failure::CommandResult;

/// The signers that `--allowed-signers` names, or the host's own.
pub(crate) fn judge(file: Option<&Path>) -> CommandResult<Arc<dyn Trust>> {
    Ok(wheelbarrow_signature::judge(file, Path::new(HOST_SIGNERS))?)
}
