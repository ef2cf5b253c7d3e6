//! `wheelbarrow exec --root ROOT -- COMMAND`

use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use wheelbarrow_artifact::release::Words;
use wheelbarrow_release::{Root, live};

use super::root::find;
use crate::absolute;

#[derive(Args)]
pub struct Arguments {
    /// The site root
    #[arg(long, value_name = "ROOT", env = "WHEELBARROW_ROOT")]
    root: PathBuf,
    /// A release, by its id or its number [default: the live one]
    #[arg(long, value_name = "ID")]
    release: Option<String>,
    /// What to run, as `django-admin shell`
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Does not come back where the command could be started: its exit code is the command's.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let root = Root::open(&absolute(&arguments.root)?)?;
    let id = arguments.release.map(|id| find(&root, &id)).transpose()?;
    let release = live::release(&root, id.as_ref())?;
    let words = Words::new(arguments.command)?;
    let error = live::command(&root, &release, &words)?.exec();
    Err(error).with_context(|| format!("cannot run {}", words.program()))
}
