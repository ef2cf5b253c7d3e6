//! `wheelbarrow exec --root ROOT -- COMMAND`

use std::path::PathBuf;

use clap::Args;
use wheelbarrow_artifact::release::Words;
use wheelbarrow_release::{Root, live_release};

use super::root::find;
use crate::absolute;
use crate::failure::{CommandError, CommandResult};
use crate::printer::Printer;
use crate::progress::Bar;

#[derive(Args)]
pub struct ExecArguments {
    /// The site root
    #[arg(long, value_name = "ROOT", env = "WHEELBARROW_ROOT")]
    root: PathBuf,
    /// The release, by its id or number [default: the live release]
    #[arg(long, value_name = "ID")]
    release: Option<String>,
    /// The command to run, such as `django-admin shell`
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Its exit code is the command's.
pub(super) fn run(arguments: ExecArguments, printer: &Printer) -> CommandResult<()> {
    let root = Root::open(&absolute(&arguments.root)?)?;
    let id = arguments.release.map(|id| find(&root, &id)).transpose()?;
    let release = root.complete_or_live(id.as_ref())?;
    let words = Words::new(arguments.command)?;
    match live_release::execute(&root, &release, &words, &Bar::new(printer))? {
        0 => Ok(()),
        code => Err(CommandError::Reported(code)),
    }
}
