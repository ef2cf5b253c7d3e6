//! The door of an artifact on a host without Python: the script in front of its zip starts this program, which does what
//! `__main__.py` does with Python, for the interpreter that the artifact brings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use wheelbarrow_artifact::{Anybody, Artifact};
use wheelbarrow_base::Exit;
use wheelbarrow_commands::failure::{CommandResult, Refusal};
use wheelbarrow_commands::printer::Printer;

use crate::installer::run_request;
use crate::request::Request;

const HELP: &str = "\
Installs this site: its code, its own Python, and a fresh virtualenv with every dependency, without network.

usage: ARTIFACT -d DEST [options]
       ARTIFACT COMMAND ...          deploy, rollback, status, ...; COMMAND --help says more

  -d, --destination DEST   directory to install to; its parent must exist
  --replace                exchange the install in DEST for this one, in one step
  --discard-data           with --replace: also remove the files that were written into DEST after it was installed
  --without-pip            leave pip out of the virtualenv
  --store DIR              unpack wheels once into DIR, and link them into DEST
  --link-mode MODE         hardlink (the default), reflink, copy
  --check                  say everything that would refuse the install, and write nothing
  --quiet                  print nothing but errors
  --json                   print the result as JSON
  --version                print what this file holds, and end
";

/// What one run is asked for.
enum Asked {
    Help,
    Version,
    Install(Value),
}

/// Installs, or prints what is asked for.
pub(crate) fn run(artifact: &Path, words: &[OsString], printer: &Printer) -> CommandResult<ExitCode> {
    let asked = parse(words).map_err(|problem| Refusal::usage(problem, "--help prints the options"))?;
    let opened = || Artifact::open_thin(artifact, &Anybody);
    match asked {
        Asked::Help => printer.result(HELP.trim_end()),
        Asked::Version => {
            let opened = opened()?;
            let manifest = opened.manifest();
            let version = manifest.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            printer.result(&format!("{}{version} ({})", manifest.name, manifest.built_by));
        }
        Asked::Install(options) => {
            let options = serde_json::from_value(options)
                .map_err(|error| Refusal::usage(error.to_string(), "--help prints the options"))?;
            let request = Request::new(artifact.to_path_buf(), options);
            let own = opened()?.bundled(&request.options.destination)?;
            let own = own.ok_or_else(|| Refusal {
                message: "this file brings no Python for this machine".to_owned(),
                hint: Some("start it with the Python that the site will run on: python3 ARTIFACT".to_owned()),
                exit: Exit::Unfit,
            })?;
            return Ok(run_request(&request, &own));
        }
    }
    printer.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[OsString]) -> Result<Asked, String> {
    let mut options = json!({ "pip": true });
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let word = word.to_str().ok_or("an argument is not UTF-8")?;
        let (name, given) = match word.split_once('=').filter(|_| word.starts_with("--")) {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (word, None),
        };
        let mut value = || {
            let value = given.clone().or_else(|| words.next().cloned());
            value.ok_or_else(|| format!("{name} needs a value"))
        };
        match name {
            "-h" | "--help" => return Ok(Asked::Help),
            "--version" => return Ok(Asked::Version),
            "-d" | "--destination" => options["destination"] = absolute(&value()?)?,
            "--store" => options["store"] = absolute(&value()?)?,
            "--link-mode" => options["link_mode"] = text(&value()?, &["hardlink", "reflink", "copy"])?,
            "--compile" => options["compile"] = text(&value()?, &["auto", "never"])?,
            "--without-pip" => options["pip"] = false.into(),
            "--replace" | "--check" | "--quiet" | "--json" => options[&name[2..]] = true.into(),
            "--discard-data" => options["discard_data"] = true.into(),
            "--bootstrap" | "--probe" => {
                return Err(format!("{name} is for a Python of the host: python3 ARTIFACT {name}"));
            }
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    match (options.get("destination"), options.get("discard_data"), options.get("replace")) {
        (None, ..) => Err("no destination: -d DEST says where to install".to_owned()),
        (_, Some(_), None) => Err("--discard-data is for --replace".to_owned()),
        _ => Ok(Asked::Install(options)),
    }
}

fn absolute(path: &OsString) -> Result<Value, String> {
    let path =
        std::path::absolute(path).map_err(|error| format!("{}: {error}", PathBuf::from(path).display()))?;
    path.to_str().map(Value::from).ok_or_else(|| format!("the path {} is not UTF-8", path.display()))
}

fn text(value: &OsString, known: &[&str]) -> Result<Value, String> {
    let found = known.iter().find(|known| value == **known);
    found
        .map(|known| Value::from(*known))
        .ok_or_else(|| format!("the value is not one of {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> String {
        match parse(&words.iter().map(OsString::from).collect::<Vec<_>>()) {
            Ok(Asked::Install(options)) => options.to_string(),
            Ok(_) => "printed".to_owned(),
            Err(problem) => problem,
        }
    }

    #[test]
    fn the_options_are_those_of_the_door_in_python() {
        assert_eq!(
            told(&["-d", "/srv/site", "--replace", "--store=/srv/store", "--without-pip"]),
            r#"{"destination":"/srv/site","pip":false,"replace":true,"store":"/srv/store"}"#
        );
        assert_eq!(told(&["--help"]), "printed");
        assert_eq!(told(&["-d"]), "-d needs a value");
        assert_eq!(told(&["-d", "/x", "--discard-data"]), "--discard-data is for --replace");
        assert_eq!(told(&["--check"]), "no destination: -d DEST says where to install");
        assert_eq!(
            told(&["-d", "/x", "--link-mode", "y"]),
            "the value is not one of hardlink, reflink, copy"
        );
        assert_eq!(told(&["--prope"]), "unknown argument --prope");
    }
}
