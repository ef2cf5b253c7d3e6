//! The entry point of an artifact on a host without Python: the script in front of its zip starts this
//! program, which does the work of `__main__.py` for the bundled interpreter.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wheelbarrow_artifact::{Anybody, Artifact};
use wheelbarrow_base::Exit;
use wheelbarrow_commands::failure::{CommandResult, Refusal};
use wheelbarrow_commands::printer::Printer;
use wheelbarrow_install::Compile;
use wheelbarrow_install::store::LinkMode;

use crate::installer::run_request;
use crate::request::{Request, RequestOptions};

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

const NO_DESTINATION: &str =
    "no destination: name one with -d DEST, or a command, such as `deploy --root ROOT`";

/// What one run is asked for.
enum Asked {
    Help,
    Version,
    Install(RequestOptions),
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
    let mut destination = None;
    let mut options = RequestOptions { pip: true, ..RequestOptions::default() };
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
            "-d" | "--destination" => destination = Some(absolute(&value()?)?),
            "--store" => options.store = Some(absolute(&value()?)?),
            "--link-mode" => {
                options.link_mode = match value()?.to_str() {
                    Some("hardlink") => LinkMode::Hardlink,
                    Some("reflink") => LinkMode::Reflink,
                    Some("copy") => LinkMode::Copy,
                    _ => return Err("--link-mode takes hardlink, reflink or copy".to_owned()),
                }
            }
            "--compile" => {
                options.compile = match value()?.to_str() {
                    Some("auto") => Compile::Auto,
                    Some("never") => Compile::Never,
                    _ => return Err("--compile takes auto or never".to_owned()),
                }
            }
            "--without-pip" => options.pip = false,
            "--replace" => options.replace = true,
            "--discard-data" => options.discard_data = true,
            "--check" => options.check = true,
            "--quiet" => options.quiet = true,
            "--json" => options.json = true,
            "--bootstrap" | "--probe" => {
                return Err(format!("{name} is for a Python of the host: python3 ARTIFACT {name}"));
            }
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    if options.discard_data && !options.replace {
        return Err("--discard-data is for --replace".to_owned());
    }
    options.destination = destination.ok_or(NO_DESTINATION)?;
    Ok(Asked::Install(options))
}

fn absolute(path: &OsString) -> Result<PathBuf, String> {
    let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(format!("the path {} is not UTF-8", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> String {
        match parse(&words.iter().map(OsString::from).collect::<Vec<_>>()) {
            Ok(Asked::Install(options)) => format!("{options:?}"),
            Ok(_) => "printed".to_owned(),
            Err(problem) => problem,
        }
    }

    #[test]
    fn the_options_are_those_of_the_door_in_python() {
        let words = ["-d", "/srv/site", "--replace", "--store=/srv/store", "--without-pip"];
        let options = told(&words);
        for expected in
            [r#"destination: "/srv/site""#, "replace: true", r#"store: Some("/srv/store")"#, "pip: false"]
        {
            assert!(options.contains(expected), "{options}");
        }
        assert_eq!(told(&["--help"]), "printed");
        assert_eq!(told(&["-d"]), "-d needs a value");
        assert_eq!(told(&["-d", "/x", "--discard-data"]), "--discard-data is for --replace");
        assert_eq!(told(&["--check"]), NO_DESTINATION);
        assert_eq!(told(&["-d", "/x", "--link-mode", "y"]), "--link-mode takes hardlink, reflink or copy");
        assert_eq!(told(&["--prope"]), "unknown argument --prope");
    }
}
