//! `wheelbarrow init [PROJECT]`

use std::path::PathBuf;

use clap::Args;
use fs_err as fs;
use wheelbarrow_base::SITE;
use wheelbarrow_build::inputs::workspace;

use crate::failure::{CommandResult, Refusal};
use crate::printer::Printer;
use crate::settings::{OWN_FILE, PYPROJECT, Settings, suggest};

#[derive(Args)]
pub(crate) struct InitArguments {
    /// The project directory
    #[arg(default_value = ".")]
    project: PathBuf,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &InitArguments, printer: &Printer) -> CommandResult<()> {
    let project = &arguments.project;
    wheelbarrow_build::check_above(project)?;
    // What is there must at least be readable, and pyproject.toml must have no such table yet.
    Settings::load(project)?;
    let (own, pyproject) = (project.join(OWN_FILE), project.join(PYPROJECT));
    if own.exists() || (pyproject.exists() && suggest::has_table(&fs::read_to_string(&pyproject)?)) {
        let message = format!("{} has settings already", project.display());
        return Err(Refusal::project(message, format!("edit them: {SITE}reference/settings/")).into());
    }
    let members = workspace::members_of(project);
    if !members.is_empty() {
        printer.note(&format!(
            "the project is a uv workspace: a site that is one of its members has its settings there, by `wheelbarrow init \
             MEMBER`. The members: {}",
            members.join(", ")
        ));
    }
    if let [first, others @ ..] = &suggest::projects_below(project)[..] {
        printer.note(&format!(
            "the directory has several projects: the settings are for {first} only. `wheelbarrow init DIRECTORY` proposes \
             settings for another: {}",
            others.join(", ")
        ));
    }
    let (path, text) = if pyproject.exists() {
        let before = fs::read_to_string(&pyproject)?;
        let gap = if before.ends_with('\n') { "\n" } else { "\n\n" };
        (pyproject, format!("{before}{gap}{}", suggest::text(project, "tool.wheelbarrow")?))
    } else {
        (own, suggest::text(project, "")?)
    };
    if arguments.dry_run {
        printer.result(text.trim_end());
        return Ok(());
    }
    wheelbarrow_base::write_atomic(&path, text.as_bytes(), 0o666)?;
    printer.done(&format!("wrote {}", path.display()));
    Ok(())
}
