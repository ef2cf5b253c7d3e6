//! `wheelbarrow unit [ARTIFACT] --root ROOT`

use std::io::ErrorKind;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use serde::Serialize;
use wheelbarrow_artifact::release::Manager;
use wheelbarrow_artifact::{Anybody, Artifact};
use wheelbarrow_base::{Exit, open_no_link, read_limited, write_atomic};
use wheelbarrow_release::unit::{
    HostSettings, Server, SiteSource, Unit, UnitOverrides, directory, find, shadowed, written,
};
use wheelbarrow_release::{Root, service_units};

use super::context::Context;
use super::root::find as find_release;
use crate::absolute;
use crate::failure::{CommandError, CommandResult, Refusal, WithContext};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::unified::unified;

/// Bytes; no unit is larger.
const LONGEST: u64 = 1 << 20;

#[derive(Args)]
pub struct UnitArguments {
    /// The artifact [default: the live release]
    artifact: Option<PathBuf>,
    /// The site root [default: /srv/NAME, if an artifact is named]
    #[arg(long, value_name = "ROOT", env = "WHEELBARROW_ROOT")]
    root: Option<PathBuf>,
    /// A release to take the services from, by its id or number [default: the live release]
    #[arg(long, value_name = "ID", requires = "root", conflicts_with = "artifact")]
    release: Option<String>,
    /// Use the settings of the artifact only, without ROOT/shared/wheelbarrow.toml: for a root on another machine
    #[arg(long, conflicts_with = "release")]
    artifact_settings: bool,
    /// The name of the units [default: `unit` of the settings, else the name of the site]
    #[arg(long)]
    name: Option<String>,
    /// The server program [default: gunicorn, with uvicorn's workers for ASGI]
    #[arg(long, value_parser = PossibleValuesParser::new(Server::ALL.map(Server::name)))]
    server: Option<String>,
    /// The application, such as `mysite.wsgi:application` [default: found]
    #[arg(long)]
    application: Option<String>,
    /// The user that the site runs as [default: `owner` of the settings, else www-data]
    #[arg(long, value_name = "USER", alias = "user")]
    owner: Option<String>,
    /// The group of the service [default: `group` of the settings, else a group of the user's name]
    #[arg(long)]
    group: Option<String>,
    /// The group that may connect to the socket: the group of the proxy [default: www-data]
    #[arg(long)]
    socket_group: Option<String>,
    /// The number of worker processes [default: 3]
    #[arg(long, value_name = "N")]
    workers: Option<u32>,
    /// The systemd that gets the units of services: that of the machine, or that of the user who runs them [default: `systemd`
    /// of the settings, else `user` for a root of another user than root]
    #[arg(long, value_parser = PossibleValuesParser::new(MANAGERS.map(|(name, _)| name)))]
    systemd: Option<String>,
    /// Write the units into this directory, such as /etc/systemd/system, instead of printing them
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// The units to print: of `[release.server]` or of the services [default: of the services, else of the server]
    #[arg(long, value_enum)]
    only: Option<UnitSelection>,
    /// Print what a write into the directory of systemd, or into the directory of --write, would change; exit code 10 if
    /// units differ
    #[arg(long)]
    diff: bool,
    /// Print the names and texts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UnitSelection {
    Server,
    Services,
}

const MANAGERS: [(&str, Manager); 2] = [("system", Manager::System), ("user", Manager::User)];

pub(super) fn run(arguments: &UnitArguments, context: &Context, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.as_deref().map(absolute).transpose()?;
    let (units, manager) = units(arguments, root.as_deref(), context, printer)?;
    let shadowed = units.iter().find_map(|unit| shadowed(manager, &unit.name));
    match (&arguments.write, shadowed) {
        (Some(_), Some(path)) if !arguments.diff => return Err(shadows(&path).into()),
        (_, Some(path)) => {
            printer.note(&format!("{} is a unit of this machine, which these would replace", path.display()));
        }
        (Some(directory), None) if !arguments.diff => write(directory, &units, printer)?,
        (_, None) => {}
    }
    if arguments.diff {
        let directory = arguments.write.as_deref().map_or_else(|| Ok(directory(manager)), absolute)?;
        return compare(&directory, arguments.json, root.as_deref(), &units, printer);
    }
    if arguments.json {
        return printer.json(&units);
    }
    if arguments.write.is_some() || units.is_empty() {
        return Ok(());
    }
    let show = |unit: &Unit| match manager {
        Manager::System => unit.to_string(),
        Manager::User => format!("# ~/.config/systemd/user/{}\n{}", unit.name, unit.text),
    };
    let texts: Vec<String> = units.iter().map(show).collect();
    printer.result(texts.join("\n").trim_end());
    Ok(())
}

/// Who may run what is written must be one whom the host allows: so the artifact is judged then, and its bytes are verified.
fn open(
    artifact: &Path,
    arguments: &UnitArguments,
    context: &Context,
    printer: &Printer,
) -> CommandResult<Box<dyn Deref<Target = Artifact>>> {
    if arguments.write.is_none() || arguments.diff {
        return Ok(Box::new(Box::new(Artifact::open_thin(artifact, &Anybody)?)));
    }
    let trust = (context.judge)(None)?;
    Ok(Box::new(Artifact::open_thin(artifact, &*trust)?.verify(&Bar::new(printer))?))
}

/// And whose systemd they are for.
fn units(
    arguments: &UnitArguments,
    root: Option<&Path>,
    context: &Context,
    printer: &Printer,
) -> CommandResult<(Vec<Unit>, Manager)> {
    let release = match (&arguments.release, root) {
        (Some(release), Some(root)) => Some(find_release(&Root::open(root)?, release)?),
        _ => None,
    };
    let artifact = arguments.artifact.clone().or_else(|| context.artifact.clone());
    if artifact.is_none() && arguments.artifact_settings {
        return Err(Refusal::usage("no artifact whose settings to use", "name an artifact").into());
    }
    if root.is_none() && artifact.is_none() {
        return Err(Refusal::usage("no site to print units for", "name an artifact, or `--root ROOT`").into());
    }
    let artifact = artifact.filter(|_| release.is_none());
    let artifact = artifact.map(|path| open(&path, arguments, context, printer)).transpose()?;
    let server = arguments.server.as_deref();
    let wanted = UnitOverrides {
        name: arguments.name.clone(),
        server: Server::ALL.into_iter().find(|known| Some(known.name()) == server),
        application: arguments.application.clone(),
        user: arguments.owner.clone(),
        group: arguments.group.clone(),
        socket_group: arguments.socket_group.clone(),
        workers: arguments.workers,
        python: context.python.clone(),
    };
    let host = if arguments.artifact_settings { HostSettings::LeftOut } else { HostSettings::Read };
    let source = match &artifact {
        Some(artifact) => SiteSource::Artifact(artifact, host),
        None => SiteSource::Release(release.as_ref()),
    };
    let named = |(name, _): &(&str, Manager)| Some(*name) == arguments.systemd.as_deref();
    let manager = MANAGERS.into_iter().find(named).map(|(_, manager)| manager);
    let of_services = root.map(|root| service_units(root, source, manager)).transpose()?;
    let own = of_services.filter(|own| !own.units.is_empty());
    own.iter().flat_map(|own| &own.missing).for_each(|what| printer.note(what));
    match (arguments.only, own) {
        (Some(UnitSelection::Server), Some(own)) if !own.has_server => {
            printer.note(
                "no units for `--only server`: `[release.server]` names no unit; `--only services` prints the units of services",
            );
            Ok((Vec::new(), own.manager))
        }
        (only @ (None | Some(UnitSelection::Services)), Some(own)) => {
            if only.is_none() && own.has_server {
                printer
                    .note("only the units of services; `--only server` prints those of `[release.server]`");
            }
            Ok((own.units, own.manager))
        }
        (Some(UnitSelection::Services), None) => {
            let why = match root {
                Some(_) => "no `[[release.service]]` has `run`",
                None => "`--root ROOT` is missing",
            };
            printer.note(&format!(
                "no units for `--only services`: {why}; `--only server` prints the units of a server"
            ));
            Ok((Vec::new(), Manager::System))
        }
        (None | Some(UnitSelection::Server), _) if manager == Some(Manager::User) => {
            let hint = "`[[release.service]]` describes services, with `--root ROOT`";
            Err(Refusal::usage("only units of services can be those of a user", hint).into())
        }
        (None | Some(UnitSelection::Server), _) => {
            let site = find(root, source, wanted)?;
            if let Some(lacks) = site.lacks {
                printer.note(&format!("the site has no {lacks}: add it to the requirements"));
            }
            let units = site.units();
            let units = units.map_err(|error| Refusal::usage(error.to_string(), "a flag names another"))?;
            Ok((units.into(), Manager::System))
        }
    }
}

/// How a unit that is there differs from the one that should be.
#[derive(Serialize)]
struct ComparedUnit {
    path: PathBuf,
    state: ComparedState,
    /// In the unified format; empty of equal texts.
    diff: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum ComparedState {
    Same,
    /// Not there.
    Missing,
    Changed,
    /// It was written for the root, which has no such unit any more.
    Dropped,
}

fn compare(
    directory: &Path,
    json: bool,
    root: Option<&Path>,
    units: &[Unit],
    printer: &Printer,
) -> CommandResult<()> {
    let dropped = root.map(|root| written(root, directory)).transpose()?.unwrap_or_default();
    let dropped = dropped.into_iter().filter(|name| units.iter().all(|unit| unit.name != *name));
    let wanted = units.iter().map(|unit| (unit.name.clone(), Some(unit.text.as_str())));
    let all = wanted.chain(dropped.map(|name| (name, None)));
    let compared =
        all.map(|(name, text)| compared(directory.join(name), text)).collect::<CommandResult<Vec<_>>>()?;
    let is_same = compared.iter().all(|one| one.state == ComparedState::Same);
    match (json, is_same) {
        (true, _) => printer.json(&compared)?,
        (false, true) => printer.done(&format!("{}: all up to date", directory.display())),
        (false, false) => {
            let text: String = compared.iter().map(|one| one.diff.as_str()).collect();
            printer.result(text.trim_end_matches('\n'));
        }
    }
    if is_same { Ok(()) } else { Err(CommandError::Reported(Exit::Differences.code())) }
}

fn compared(path: PathBuf, wanted: Option<&str>) -> CommandResult<ComparedUnit> {
    let there = read(&path)?;
    let label = |text: Option<&str>| text.map_or("/dev/null".to_owned(), |_| path.display().to_string());
    let diff = unified(
        &label(there.as_deref()),
        &label(wanted),
        there.as_deref().unwrap_or_default(),
        wanted.unwrap_or_default(),
    );
    let state = match (&there, wanted) {
        _ if diff.is_empty() => ComparedState::Same,
        (None, _) => ComparedState::Missing,
        (_, None) => ComparedState::Dropped,
        (Some(_), Some(_)) => ComparedState::Changed,
    };
    Ok(ComparedUnit { path, state, diff })
}

/// The text of a unit, if it is there. Others may have put a link or something else into the directory of `--write`.
fn read(path: &Path) -> CommandResult<Option<String>> {
    match open_no_link(path).and_then(|file| read_limited(file, LONGEST)) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(|| format!("cannot read {}", path.display())),
    }
}

fn shadows(path: &Path) -> Refusal {
    Refusal {
        message: format!("{} is a unit of this machine, which these would replace", path.display()),
        hint: Some("`--name` sets another name".to_owned()),
        exit: Exit::Refused,
    }
}

/// An existing file with other contents is somebody's work: then neither is written.
fn write(directory: &Path, units: &[Unit], printer: &Printer) -> CommandResult<()> {
    let mut missing = Vec::new();
    for unit in units {
        let path = directory.join(&unit.name);
        match read(&path)? {
            Some(text) if text == unit.text => {
                printer.note(&format!("{} is up to date", path.display()));
            }
            Some(_) => return Err(other(&path).into()),
            None => missing.push((path, &unit.text)),
        }
    }
    for (path, text) in missing {
        // Whatever the umask: a program in a unit may run as root.
        write_atomic(&path, text.as_bytes(), 0o644)?;
        printer.deed();
        printer.done(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn other(path: &Path) -> Refusal {
    Refusal {
        message: format!("{} already exists with other contents", path.display()),
        hint: Some("`--diff` shows how; `systemctl edit` keeps changes of your own apart from it".to_owned()),
        exit: Exit::Refused,
    }
}

#[cfg(test)]
mod tests {
    use clap::ColorChoice;
    use fs_err as fs;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn foreign_unit_files_are_kept() {
        let directory = std::env::temp_dir().join(format!("wheelbarrow-units-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let unit = |name: &str, text: &str| Unit { name: name.to_owned(), text: text.to_owned() };
        let printer = Printer::new(true, false, ColorChoice::Never);
        let read = |name: &str| fs::read_to_string(directory.join(name)).ok();

        write(&directory, &[unit("a.service", "1")], &printer).unwrap();
        write(&directory, &[unit("a.service", "1"), unit("a.socket", "1")], &printer).unwrap();
        let refused = write(&directory, &[unit("b.service", "2"), unit("a.socket", "2")], &printer);
        let refused = refused.unwrap_err();
        assert_eq!(refused.exit_code(), Exit::Refused.code());
        assert_eq!(
            [read("a.service"), read("a.socket"), read("b.service")],
            [Some("1".to_owned()), Some("1".to_owned()), None]
        );
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn special_files_are_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        mknodat(CWD, place.path().join("a.service"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let unit = Unit { name: "a.service".to_owned(), text: "1".to_owned() };
        let printer = Printer::new(true, false, ColorChoice::Never);
        let refused = write(place.path(), &[unit], &printer).unwrap_err();
        assert_eq!(refused.causes(), ["it is a FIFO, not a regular file"]);
        assert!(compared(place.path().join("a.service"), None).is_err());
        fs::write(place.path().join("secret"), "x").unwrap();
        fs::os::unix::fs::symlink("secret", place.path().join("b.service")).unwrap();
        assert!(compared(place.path().join("b.service"), None).is_err(), "a link is not followed");
    }

    #[test]
    fn each_unit_is_compared() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.service");
        let state = |wanted| compared(path.clone(), wanted).unwrap();
        assert!(
            state(None).state == ComparedState::Same && state(Some("1\n")).state == ComparedState::Missing
        );
        assert!(state(Some("1\n")).diff.starts_with("--- /dev/null\n+++ /"), "{}", state(Some("1\n")).diff);
        fs::write(&path, "1\n").unwrap();
        assert!(
            state(Some("1\n")).state == ComparedState::Same
                && state(Some("2\n")).state == ComparedState::Changed
        );
        assert!(
            state(None).state == ComparedState::Dropped && state(None).diff.ends_with("@@ -1 +0,0 @@\n-1\n")
        );
    }
}
