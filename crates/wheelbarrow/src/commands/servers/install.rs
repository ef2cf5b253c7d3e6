//! `wheelbarrow install ARTIFACT -d DEST --python PATH`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use wheelbarrow_artifact::Artifact;
use wheelbarrow_commands::absolute;
use wheelbarrow_install::store::{LinkMode, StoreOptions};
use wheelbarrow_install::{
    Checked, Compile, Existing, Options, Pip, check, install, refuse_mount, virtualenv,
};
use wheelbarrow_release::{probe_python, python_of_artifact};

use crate::failure::{CommandError, CommandResult};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text;
use crate::trust::judge;

#[derive(Args)]
pub(crate) struct InstallArguments {
    /// The artifact
    artifact: PathBuf,
    /// The directory to install to: absent or empty
    #[arg(short, long = "destination", value_name = "DEST")]
    destination: PathBuf,
    /// The Python of the site [default: the one in the first line of the artifact, or python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Replace the install in DEST atomically
    #[arg(long)]
    replace: bool,
    /// With --replace: also remove files that were written into DEST after the install
    #[arg(long, requires = "replace")]
    discard_data: bool,
    /// Unpack wheels once into this store, and link them into DEST
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// How to link files from the store
    #[arg(long, value_name = "MODE", default_value = "hardlink", requires = "store")]
    link_mode: Link,
    /// Leave pip out of the virtualenv
    #[arg(long)]
    without_pip: bool,
    /// Whether to compile modules if the artifact has no bytecode for the Python
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    compile: When,
    /// Accept only artifacts signed by a key in FILE [default: /etc/wheelbarrow/allowed_signers, if it exists]
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    /// Print everything that would refuse the install, and write nothing
    #[arg(long)]
    check: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Where hard links or clones cannot be made, files are copied.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Link {
    Hardlink,
    Reflink,
    Copy,
}

/// When to compile.
#[derive(Clone, Copy, ValueEnum)]
enum When {
    Auto,
    Never,
}

pub(crate) fn run(arguments: &InstallArguments, printer: &Printer) -> CommandResult<()> {
    let progress = Bar::new(printer);
    let options = Options {
        destination: absolute(&arguments.destination)?,
        existing: match (arguments.replace, arguments.discard_data) {
            (false, _) => Existing::Refuse,
            (true, false) => Existing::Replace,
            (true, true) => Existing::ReplaceData,
        },
        pip: if arguments.without_pip { Pip::Without } else { Pip::With },
        store: store_options(arguments)?,
        compile: match arguments.compile {
            When::Auto => Compile::Auto,
            When::Never => Compile::Never,
        },
    };
    refuse_mount(&options.destination)?;
    let trust = judge(arguments.allowed_signers.as_deref())?;
    let artifact = Artifact::open_thin(&arguments.artifact, &*trust).ok();
    let own = artifact.as_ref().and_then(|artifact| artifact.bundled(&options.destination).ok().flatten());
    let interpreter = match own {
        Some(own) => own,
        None => {
            let named = arguments.python.clone().or_else(|| artifact.as_ref().map(python_of_artifact));
            let python = named.unwrap_or_else(|| "python3".into());
            probe_python(&python, Some(&virtualenv(&options.destination)), &Default::default())?
        }
    };
    drop(artifact);
    if arguments.check {
        let checked = check(&arguments.artifact, &*trust, &interpreter, &options, &progress)?;
        return report_check(&checked, arguments, &options, printer);
    }
    let artifact = match &options.store {
        Some(_) => Artifact::open_thin(&arguments.artifact, &*trust)?,
        None => Artifact::open_trusted(&arguments.artifact, &*trust)?,
    };
    let before = std::env::current_dir();
    let installed = install(artifact, &interpreter, &options, &progress)?;
    printer.deed();
    if before.is_ok() && std::env::current_dir().is_err() {
        let destination = installed.destination.display();
        printer.note(&format!(
            "the working directory was replaced: run `cd {destination}` to enter the new install"
        ));
    }
    if arguments.json {
        return printer.json(&installed);
    }
    let version = installed.version.map(|version| format!(" {version}")).unwrap_or_default();
    let destination = installed.destination.display();
    let wheels = text::count(installed.wheels, "wheel");
    printer.done(&format!("installed {}{version} in {destination} ({wheels})", installed.name));
    Ok(())
}

fn store_options(arguments: &InstallArguments) -> CommandResult<Option<StoreOptions>> {
    let link_mode = match arguments.link_mode {
        Link::Hardlink => LinkMode::Hardlink,
        Link::Reflink => LinkMode::Reflink,
        Link::Copy => LinkMode::Copy,
    };
    let path = arguments.store.as_deref().map(absolute).transpose()?;
    Ok(path.map(|path| StoreOptions { path, link_mode }))
}

fn report_check(
    checked: &Checked,
    arguments: &InstallArguments,
    options: &Options,
    printer: &Printer,
) -> CommandResult<()> {
    if arguments.json {
        printer.json(&checked.to_json())?;
    } else {
        checked.findings.iter().for_each(|finding| printer.result(&finding.to_string()));
    }
    if !checked.is_ok() {
        return Err(CommandError::Reported(checked.exit_code()));
    }
    if !arguments.json {
        let (destination, contents) = (options.destination.display(), checked.contents());
        printer.done(&format!("ok: {} can be installed in {destination} ({contents})", checked.site));
    }
    Ok(())
}
