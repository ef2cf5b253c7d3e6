//! The output of a site's server since the switch: the last lines of its log, for the error.
//!
//! After a switch a failure is visible only as a status or a refused connection. The reason is in the file
//! that `server_log` names, or in the journal of the systemd unit: the unit that is restarted, by Wheelbarrow
//! or by a command, else the unit of the listening processes. The log is read only after a failure, and only
//! lines since the switch.
//!
//! The site's user may own the log: no link of that user is followed, and only a regular file is read.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::getuid;
use serde::Serialize;
use wheelbarrow_artifact::release::{Manager, Server};
use wheelbarrow_base::progress::Silent;
use wheelbarrow_base::{beneath, shell_word};

use crate::command::as_deployer;
use crate::command::child::{self, Leftovers, ProgramEnd};
use crate::command::identity;
use crate::command::output::{Output, last_lines};
use crate::command::secrets::Secrets;
use crate::error::indented;
use crate::root::settings::Settings;
use crate::serving::proof;
use crate::{ReleaseError, Root};

/// Bytes of a log that are looked at.
const MOST: u64 = 64 << 10;
/// What `journalctl` may take.
const LIMIT: Duration = Duration::from_secs(3);
/// journald writes a line down some moments after it was said.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(150);

/// What a server wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerOutput {
    /// `the journal of mysite.service`, or the path of a file.
    pub log: String,
    /// Its last lines since the switch, without secrets; none where it wrote nothing.
    pub lines: Vec<String>,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The command that shows more of it; none for a file that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<String>,
}

/// Where a server writes to, from now on.
pub(crate) struct ServerLog<'a> {
    root: &'a Root,
    settings: &'a Settings,
    since: SystemTime,
    /// Inode and length of the file that is configured.
    before: Option<(u64, u64)>,
}

/// A unit of systemd, or of the systemd of a user.
#[derive(Debug, PartialEq, Eq)]
struct JournalUnit {
    name: String,
    /// Whose systemd it is a unit of; none for the machine's own.
    user: Option<u32>,
}

impl<'a> ServerLog<'a> {
    pub(crate) fn begin(root: &'a Root, settings: &'a Settings) -> Self {
        let file = settings.server_log.as_ref().and_then(|path| open(&root.shared().join(path)).ok());
        let metadata = file.and_then(|file| file.metadata().ok());
        let before = metadata.map(|metadata| (metadata.ino(), metadata.len()));
        Self { root, settings, since: SystemTime::now(), before }
    }

    /// The same since a time that is over; what a file of its own has had before is not known.
    pub(crate) fn since(root: &'a Root, settings: &'a Settings, since: SystemTime) -> Self {
        Self { root, settings, since, before: None }
    }

    /// The error with what the server wrote, if it is about the server.
    pub(crate) fn explain(&self, error: ReleaseError) -> ReleaseError {
        match error {
            ReleaseError::Probe { .. }
            | ReleaseError::Unproved { .. }
            | ReleaseError::Down { .. }
            | ReleaseError::Command { .. } => match self.output() {
                Some(output) => ReleaseError::Served { source: Box::new(error), output },
                None => error,
            },
            other => other,
        }
    }

    /// None where nobody knows where it writes to.
    fn output(&self) -> Option<ServerOutput> {
        let file = self.settings.server_log.as_ref().map(|path| self.file(&self.root.shared().join(path)));
        match file {
            Some(file) if !file.lines.is_empty() => Some(file),
            // It may have failed before it opened its log.
            file => match self.unit().map(|unit| self.journal(&unit)) {
                Some(journal) if file.is_none() || !journal.lines.is_empty() => Some(journal),
                _ => file,
            },
        }
    }

    /// The command that shows its last lines, whenever they were written.
    pub(crate) fn command(&self) -> Option<String> {
        match &self.settings.server_log {
            Some(path) => {
                let path = self.root.shared().join(path);
                open(&path).is_ok().then(|| tail_of(&path))
            }
            None => self.unit().map(|unit| format!("journalctl --lines=100 {}", unit.words())),
        }
    }

    fn file(&self, path: &Path) -> ServerOutput {
        let (lines, problem) = match self.tail(path) {
            Ok(tail) => (self.shown(&tail), None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (Vec::new(), Some("not found".to_owned()))
            }
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        // What is not followed or not waited for here, a command of a person would follow, or wait for.
        let more = problem.is_none().then(|| tail_of(path));
        ServerOutput { log: path.display().to_string(), lines, problem, more }
    }

    /// What was written since the begin, whole lines.
    fn tail(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = open(path)?;
        let metadata = file.metadata()?;
        let begin = match self.before {
            Some((inode, length)) if inode == metadata.ino() && length <= metadata.len() => length,
            // It is another file, or was emptied.
            _ => 0,
        };
        let start = begin.max(metadata.len().saturating_sub(MOST));
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(if start > begin { whole_lines(&bytes) } else { bytes })
    }

    fn journal(&self, unit: &JournalUnit) -> ServerOutput {
        let since = self.since.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut lines = Vec::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            let exact = format!("--since=@{}.{:06}", since.as_secs(), since.subsec_micros());
            let Some(tail) = ask_journal(unit, &exact) else { break };
            lines = self.shown(&tail);
            if !lines.is_empty() {
                break;
            }
        }
        let more = format!("journalctl --since=@{} {}", since.as_secs(), unit.words());
        ServerOutput { log: format!("the journal of {}", unit.name), lines, problem: None, more: Some(more) }
    }

    /// The last lines, without secrets of any release: the server may have been started from another one.
    fn shown(&self, tail: &[u8]) -> Vec<String> {
        let entries = fs_err::read_dir(self.root.releases()).into_iter().flatten().flatten();
        let releases: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        let secrets = Secrets::of_all(releases.iter().map(PathBuf::as_path));
        let lines = last_lines(secrets.hide(&String::from_utf8_lossy(tail)).as_bytes());
        lines.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
    }

    fn unit(&self) -> Option<JournalUnit> {
        let named = match &self.settings.server {
            Server::Systemd { unit, manager, .. } => {
                let user = (*manager == Manager::User).then(|| getuid().as_raw());
                Some(JournalUnit::new(unit, user))
            }
            Server::Command { command } => {
                let owner = self.settings.identity.as_ref().and_then(|identity| identity.user);
                unit_in(command.as_slice(), owner)
            }
            // Its processes tell.
            _ => None,
        };
        named.or_else(|| {
            let service = proof::of(self.root, Some(self.settings)).ok()?;
            service.listener.as_ref()?;
            let mut units = service.processes.iter().filter_map(proof::system_unit);
            units.find(|unit| unit.ends_with(".service")).map(|unit| JournalUnit::new(&unit, None))
        })
    }
}

impl ServerOutput {
    /// A hint with the command that shows more.
    pub(crate) fn hint(&self, hint: Option<String>) -> Option<String> {
        let more = self.more.as_ref().map(|command| match self.lines.is_empty() {
            true => format!(
                "`{command}` shows what the server wrote; if it logs to a file, `[release] server_log` names it"
            ),
            false => format!("`{command}` shows more"),
        });
        match (hint, more) {
            (Some(hint), Some(more)) if hint.ends_with('?') => Some(format!("{hint} {more}")),
            (Some(hint), Some(more)) => Some(format!("{hint}; {more}")),
            (hint, more) => hint.or(more),
        }
    }
}

impl fmt::Display for ServerOutput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Some(problem) => write!(formatter, "\n  {} cannot be read: {problem}", self.log),
            None if self.lines.is_empty() => Ok(()),
            None => {
                write!(formatter, "\n  {} since then:{}", self.log, indented(&self.lines.join("\n")))
            }
        }
    }
}

impl JournalUnit {
    fn new(name: &str, user: Option<u32>) -> Self {
        const KINDS: [&str; 5] = ["service", "socket", "target", "scope", "timer"];
        let is_whole = name.rsplit_once('.').is_some_and(|(_, kind)| KINDS.contains(&kind));
        Self { name: if is_whole { name.to_owned() } else { format!("{name}.service") }, user }
    }

    /// For a shell.
    fn words(&self) -> String {
        self.matches().iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
    }

    /// Arguments of `journalctl`, which asks for units of its own user only. Any user may have a unit of that name, and
    /// whoever writes to the journal sets `USER_UNIT`; `_UID` is set by journald.
    fn matches(&self) -> Vec<String> {
        let Self { name, user } = self;
        match (user, getuid().is_root()) {
            (None, _) => vec![format!("--unit={name}")],
            (Some(_), false) => vec![format!("--user-unit={name}")],
            (Some(user), true) => {
                let user = format!("_UID={user}");
                let fields = ["_SYSTEMD_USER_UNIT", "USER_UNIT"].map(|field| format!("{field}={name}"));
                let [units, managers] = fields;
                vec![user.clone(), units, "+".to_owned(), user, managers]
            }
        }
    }
}

fn tail_of(path: &Path) -> String {
    format!("tail -n 100 {}", shell_word(&path.display().to_string()))
}

/// What `journalctl` prints; none if it does not run, or does not end.
fn ask_journal(unit: &JournalUnit, since: &str) -> Option<Vec<u8>> {
    let output = Output::memory().ok()?;
    let mut command = as_deployer("journalctl");
    command.args(["--quiet", "--no-pager", "--output=cat", since]).args(unit.matches());
    command.stdin(Stdio::null()).stdout(output.writer().ok()?).stderr(Stdio::null());
    // It starts nothing that would have to be ended.
    let running = child::start(&mut command, Leftovers::Keep, None).ok()?;
    // No `--lines`: beside `--since` older versions print the first lines, not the last.
    let ended = running.wait(LIMIT, &Silent, || output.cut(&Secrets::default())).ok()?;
    let tail = output.tail(MOST);
    if ended == ProgramEnd::Late && tail.is_empty() {
        return None;
    }
    Some(if tail.len() as u64 == MOST { whole_lines(&tail) } else { tail })
}

/// Without the first, of which the begin is missing and with it perhaps a part of a secret.
fn whole_lines(bytes: &[u8]) -> Vec<u8> {
    let line = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |line| line + 1);
    bytes[line..].to_vec()
}

/// Opens a log that somebody else may own.
fn open(path: &Path) -> io::Result<File> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let place = beneath::place(Path::new("/"), below)?;
    let file = place.directory.file(&place.name)?;
    if place.exposed.is_some() && file.metadata()?.nlink() > 1 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it has a second name: not read where another user may write",
        ));
    }
    Ok(file)
}

/// The unit that a command restarts by `systemctl`, whatever is around it: `sudo`, or a shell. A unit of a user's
/// systemd is that of the user whom the command names, else of `owner`, else of this process.
fn unit_in(words: &[String], owner: Option<u32>) -> Option<JournalUnit> {
    let is_systemctl = |word: &&str| Path::new(word).file_name().is_some_and(|name| name == "systemctl");
    let words: Vec<&str> = words
        .iter()
        .flat_map(|word| word.split([' ', '\t', '\n', ';', '&', '|']))
        .filter(|word| !word.is_empty())
        .collect();
    // What stands before the first is no command of systemctl, but may say as whom it runs.
    let mut commands = words.split(is_systemctl);
    let before = commands.next()?;
    let next =
        before.iter().position(|word| ["-u", "--user"].contains(word)).and_then(|at| before.get(at + 1));
    let outer = next.copied().or_else(|| before.iter().find_map(|word| word.strip_prefix("--user=")));
    commands.find_map(|words| {
        let mut words = words.iter();
        let (mut has_verb, mut is_of_user, mut name) = (false, false, outer);
        while let Some(word) = words.next() {
            match *word {
                "--user" => is_of_user = true,
                "-H" | "--host" => return None,
                "-M" | "--machine" => name = words.next().and_then(|machine| of_machine(machine)).or(name),
                "-s" | "--signal" | "-t" | "--type" => _ = words.next(),
                flag if flag.starts_with('-') => {
                    name = flag.strip_prefix("--machine=").and_then(of_machine).or(name);
                }
                _ if !has_verb => has_verb = true,
                unit if !is_of_user => return Some(JournalUnit::new(unit, None)),
                unit => {
                    let user = match name.filter(|name| !name.is_empty()) {
                        Some(name) => identity::find(Some(name), None).ok()??.user?,
                        None => owner.unwrap_or(getuid().as_raw()),
                    };
                    return Some(JournalUnit::new(unit, Some(user)));
                }
            }
        }
        None
    })
}

/// The user in `USER@MACHINE`.
fn of_machine(machine: &str) -> Option<&str> {
    Some(machine.split_once('@')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_that_a_command_restarts_is_known() {
        let unit = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            unit_in(&words, None).map(|unit| (unit.name, unit.user.is_some()))
        };
        let named = |name: &str, is_of_user| Some((name.to_owned(), is_of_user));
        assert_eq!(unit(&["systemctl", "restart", "acme"]), named("acme.service", false));
        assert_eq!(
            unit(&["sudo", "-n", "/bin/systemctl", "-q", "reload", "a.b"]),
            named("a.b.service", false)
        );
        assert_eq!(unit(&["systemctl", "--user", "restart", "acme.service"]), named("acme.service", true));
        let shell = "systemctl daemon-reload && systemctl kill -s HUP acme.service; true";
        assert_eq!(unit(&["sh", "-c", shell]), named("acme.service", false));
        assert_eq!(unit(&["systemctl", "-H", "other", "restart", "acme"]), None);
        assert_eq!(unit(&["kill", "-HUP", "7"]), None);
    }

    /// Everybody may write `USER_UNIT=` into the journal, and have a unit of that name.
    #[test]
    fn roots_errors_have_lines_of_the_user_of_the_unit_only() {
        let matches = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            unit_in(&words, Some(4321)).map(|unit| unit.matches().join(" "))
        };
        let of = |user: u32| {
            let each =
                ["_SYSTEMD_USER_UNIT", "USER_UNIT"].map(|field| format!("_UID={user} {field}=a.service"));
            Some(if getuid().is_root() { each.join(" + ") } else { "--user-unit=a.service".to_owned() })
        };
        assert_eq!(matches(&["systemctl", "--user", "restart", "a"]), of(4321));
        for user in [7, 0] {
            for words in [
                format!("systemctl --user --machine={user}@ restart a"),
                format!("systemctl --user -M {user}@.host restart a"),
                format!("sudo -n -u {user} systemctl --user restart a"),
                format!("env A=b sudo --user={user} XDG_RUNTIME_DIR=/run/user/7 systemctl --user restart a"),
            ] {
                assert_eq!(matches(&["sh", "-c", &words]), of(user), "{words}");
            }
        }
        assert_eq!(matches(&["sudo", "-u", "no such user", "systemctl", "--user", "restart", "a"]), None);
        assert_eq!(matches(&["systemctl", "restart", "a"]).as_deref(), Some("--unit=a.service"));
    }

    /// A command would follow the link that was not followed.
    #[test]
    fn no_command_is_named_that_opens_what_was_refused() {
        let mut output = ServerOutput {
            log: "a.log".to_owned(),
            lines: Vec::new(),
            problem: None,
            more: Some("tail a.log".to_owned()),
        };
        assert!(output.hint(None).unwrap().contains("`tail a.log` shows what"));
        output.more = None;
        assert_eq!(output.hint(None), None);
        assert_eq!(output.hint(Some("hint".to_owned())), Some("hint".to_owned()));
    }

    #[test]
    fn a_line_that_is_cut_is_left_out() {
        assert_eq!(whole_lines(b"cret\nwhole\n"), b"whole\n");
        assert_eq!(whole_lines(b"a line without end"), b"");
    }
}
