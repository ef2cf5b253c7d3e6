//! `--allow`, a flag of two commands.

use wheelbarrow_audit::{Allowance, AllowanceError};
use wheelbarrow_base::Exit;

use crate::failure::{CommandResult, Refusal};

/// Of the settings and of the flags.
pub(super) fn allowances<'a>(texts: impl Iterator<Item = &'a String>) -> CommandResult<Vec<Allowance>> {
    let parse = |text: &String| {
        let refuse = |error: AllowanceError| Refusal {
            message: error.to_string(),
            hint: Some(error.hint()),
            exit: Exit::Usage,
        };
        text.parse().map_err(|error| refuse(error).into())
    };
    texts.map(parse).collect()
}
