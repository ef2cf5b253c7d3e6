//! `wheelbarrow cache`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use wheelbarrow_build::BuildError;
use wheelbarrow_build::cache::{Cache, CacheAmount};

use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::text;

#[derive(Args)]
pub(crate) struct CacheArguments {
    #[command(subcommand)]
    action: Action,
    /// The cache directory [default: $XDG_CACHE_HOME/wheelbarrow, else ~/.cache/wheelbarrow]
    #[arg(long, value_name = "DIR", env = "WHEELBARROW_CACHE_DIR", hide_env_values = true, global = true)]
    cache_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Action {
    /// Print the path of the cache
    Dir,
    /// Print the size of the cache
    Size {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove broken downloads, leftovers and logs
    Prune,
    /// Remove everything
    Clean,
}

pub(crate) fn run(arguments: &CacheArguments, printer: &Printer) -> CommandResult<()> {
    let cache = Cache::open(arguments.cache_dir.as_deref()).map_err(BuildError::from)?;
    let removed = match arguments.action {
        Action::Dir => {
            printer.result(&cache.root().display().to_string());
            return Ok(());
        }
        Action::Size { json } => return size(cache.amount().map_err(BuildError::from)?, json, printer),
        Action::Prune => cache.prune(),
        Action::Clean => cache.clean(),
    };
    let CacheAmount { files, bytes } = removed.map_err(BuildError::from)?;
    printer.done(&format!("removed {} ({})", text::count(files, "file"), text::bytes(bytes)));
    Ok(())
}

fn size(CacheAmount { files, bytes }: CacheAmount, json: bool, printer: &Printer) -> CommandResult<()> {
    if json {
        return printer.json(&json!({ "files": files, "bytes": bytes }));
    }
    printer.result(&format!("{} in {}", text::bytes(bytes), text::count(files, "file")));
    Ok(())
}
