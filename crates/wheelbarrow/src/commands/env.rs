//! `wheelbarrow env check FILE`

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use fs_err as fs;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::manifest::EnvironmentRules;

use crate::printer::Printer;
use crate::text;
use wheelbarrow_release::environment;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: EnvCommand,
}

#[derive(Subcommand)]
enum EnvCommand {
    /// Say whether a site would start with this file, in the words in which it would refuse
    Check {
        /// The environment.json
        file: PathBuf,
        /// Judge by the rules of this artifact: which variables are required, who may read the file
        #[arg(long)]
        artifact: Option<PathBuf>,
    },
}

pub(crate) fn run(arguments: &Arguments, printer: &Printer) -> anyhow::Result<()> {
    let EnvCommand::Check { file, artifact } = &arguments.command;
    let rules = match artifact {
        Some(path) => Artifact::open(path)?.manifest().environment.clone(),
        None => EnvironmentRules::default(),
    };
    let data = fs::read(file)?;
    let mode = fs::metadata(file)?.permissions().mode();
    let keys =
        environment::check(&data, mode, &rules, |key| std::env::var_os(key).is_some()).map_err(|error| {
            let said = format!("{}{error}", file.display());
            anyhow::Error::new(error).context(said)
        })?;
    printer.done(&format!("{}: {}", file.display(), text::count(keys.len(), "variable")));
    Ok(())
}
