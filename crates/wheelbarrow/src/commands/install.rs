//! `wheelbarrow install ARTIFACT -d DEST --python PATH`

use std::path::PathBuf;

use clap::Args;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_install::{Checked, Existing, Options, Pip, check, install, virtualenv};

use wheelbarrow_commands::absolute;
use wheelbarrow_commands::failure::Told;
use wheelbarrow_commands::printer::Printer;
use wheelbarrow_commands::progress::Bar;
use wheelbarrow_commands::text;

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
    /// Say everything that would refuse the install, and write nothing
    #[arg(long)]
    check: bool,
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
    if arguments.check {
        let checked = check(&arguments.artifact, &interpreter, &options, &progress)?;
        return report_check(&checked, arguments, &options, printer);
    }
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

fn report_check(
    checked: &Checked,
    arguments: &Arguments,
    options: &Options,
    printer: &Printer,
) -> anyhow::Result<()> {
    if arguments.json {
        printer.json(&checked.to_json())?;
    } else {
        checked.findings.iter().for_each(|finding| printer.result(&finding.to_string()));
    }
    if !checked.is_ok() {
        return Err(Told { code: checked.exit_code() }.into());
    }
    if !arguments.json {
        let (destination, wheels) = (options.destination.display(), text::count(checked.wheels, "wheel"));
        printer.done(&format!("ok: {} can be installed in {destination} ({wheels})", checked.site));
    }
    Ok(())
}
