//! `wheelbarrow targets`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_base::Exit;
use wheelbarrow_build::target::{BuildTarget, HAS_TARGETS};
use wheelbarrow_build::this_system::{os_release, system_of};
use wheelbarrow_build::{BuildError, Error};
use wheelbarrow_platform::{MACHINES, PythonVersion, System, TargetSpec};

use crate::failure::{CommandResult, Refusal};
use crate::printer::Printer;
use crate::text::{Align, table};

#[derive(Args)]
pub(crate) struct TargetsArguments {
    /// Print the target of this machine
    #[arg(long)]
    probe: bool,
    /// The Python to probe [default: python3]
    #[arg(long, value_name = "PATH", default_value = "python3", requires = "probe")]
    python: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &TargetsArguments, printer: &Printer) -> CommandResult<()> {
    match (arguments.probe, arguments.json) {
        (true, json) => probe(&arguments.python, json, printer),
        (false, true) => printer.json(&System::all().iter().map(describe).collect::<Vec<_>>()),
        (false, false) => {
            printer.result(&overview());
            Ok(())
        }
    }
}

fn overview() -> String {
    let mut rows = vec![["TARGET", "SYSTEM", "C LIBRARY", "CPU", "PYTHON"].map(str::to_owned).to_vec()];
    rows.extend(System::all().iter().map(|system| {
        let pythons: Vec<_> = system.pythons.iter().map(|minor| format!("3.{minor}")).collect();
        let texts = [system.libc.to_string(), system.cpu.to_string(), pythons.join(", ")];
        [system.name, system.title].map(str::to_owned).into_iter().chain(texts).collect()
    }));
    table(&[Align::Left; 5], &rows)
}

fn describe(system: &System) -> serde_json::Value {
    let pythons: Vec<_> = system.pythons.iter().map(|minor| format!("3.{minor}")).collect();
    let platforms: Vec<_> = MACHINES.iter().map(|machine| system.platform(machine).to_string()).collect();
    let libraries = wheelbarrow_platform::base_libraries(&system.platform(MACHINES[0]), Some(system));
    json!({
        "target": system.name,
        "system": system.title,
        "libc": system.libc.to_string(),
        "cpu": system.cpu.to_string(),
        "pythons": pythons,
        "platforms": platforms,
        "libraries": libraries,
        "page": system.page,
    })
}

/// The same as `python ARTIFACT --probe`, whose `probe.py` says which keys there are.
fn probe(python: &Path, as_json: bool, printer: &Printer) -> CommandResult<()> {
    if !HAS_TARGETS {
        return Err(BuildError::Wheels(Error::NoTarget).into());
    }
    let interpreter = Interpreter::probe(python, None)?;
    let unfit = |reason: String| Refusal {
        message: format!("this Python cannot be a target: {reason}"),
        hint: Some("give the CPython that the site will run on: --python PATH".to_owned()),
        exit: Exit::Unfit,
    };
    let version = interpreter.minor_version();
    let version = format!("{version}{}", if interpreter.abi.ends_with('t') { "t" } else { "" });
    let usual = PythonVersion::parse(&version).filter(|version| version.abi() == interpreter.abi);
    let Some(version) = usual.filter(|_| interpreter.implementation == "cpython") else {
        let Interpreter { executable, abi, .. } = &interpreter;
        let reason = format!("{} ({abi}) is no CPython that wheels are made for", executable.display());
        return Err(unfit(reason).into());
    };
    let release = os_release();
    let value = |key: &str| release.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let system = system_of(&release);
    let platform = BuildTarget::of(interpreter.clone()).platform();
    let spec = TargetSpec::describe(version, platform, system);
    if !as_json {
        printer.result(&spec.to_string());
        return Ok(());
    }
    printer.json(&json!({
        "target": spec.to_string(),
        "system": spec.system.map(|system| system.name),
        "os": value("PRETTY_NAME"),
        "platform": spec.platform.to_string(),
        "machine": interpreter.machine,
        "libc": interpreter.libc,
        "python": interpreter.version.map(|part| part.to_string()).join("."),
        "abi": interpreter.abi,
        "executable": interpreter.executable,
    }))
}
