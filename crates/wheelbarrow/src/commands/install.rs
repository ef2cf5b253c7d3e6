//! `wheelbarrow install ARTIFACT -d DEST --python PATH`

use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use clap::Args;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_install::{Existing, Options, Pip, install, virtualenv};

use crate::printer::Printer;
use crate::progress::Bar;
use crate::text;

#[derive(Args)]
pub(crate) struct Arguments {
    /// What `wheelbarrow build` wrote
    artifact: PathBuf,
    /// Where to install: absent or an empty directory
    #[arg(short, long = "destination", value_name = "DEST")]
    destination: PathBuf,
    /// The Python that the site will run on
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Exchange what is in DEST for the new install in one step
    #[arg(long)]
    replace: bool,
    /// Leave pip out of the virtualenv
    #[arg(long)]
    without_pip: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, printer: &Printer) -> anyhow::Result<()> {
    let progress = Bar::new(printer);
    let options = Options {
        destination: absolute(&arguments.destination)?,
        existing: if arguments.replace { Existing::Replace } else { Existing::Refuse },
        pip: if arguments.without_pip { Pip::Without } else { Pip::With },
    };
    let interpreter = Interpreter::probe(&arguments.python, Some(&virtualenv(&options.destination)))?;
    let artifact = Artifact::open(&arguments.artifact)?.verify(&progress)?;
    let installed = install(&artifact, &interpreter, &options, &progress)?;
    if arguments.json {
        return printer.json(&installed);
    }
    let version = installed.version.map(|version| format!(" {version}")).unwrap_or_default();
    let destination = installed.destination.display();
    let wheels = text::count(installed.wheels, "wheel");
    printer.done(&format!("installed {}{version} in {destination} ({wheels})", installed.name));
    Ok(())
}

/// Absolute and without `..`, going by the text alone, as `os.path.abspath` in `__main__.py` does it: a link in the path
/// stays, so that the scripts of the virtualenv name what was asked for.
pub(super) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))?;
    let mut normal = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    Ok(normal)
}
