//! The journal of a site root: `ROOT/.wheelbarrow/journal.jsonl`.
//!
//! Each line is a JSON object, appended by one write and synced. A write that a crash cut off leaves a line
//! of invalid JSON; it is skipped, and the next entry starts a new line. The order of the lines is the only
//! order that counts: times are for users.

use std::fmt;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelbarrow_base::json;

use crate::report::text::cut_line;
use crate::{ReleaseError, ReleaseId};

/// Errors of a site's programs are in it: for the owner and the group.
const MODE: u32 = 0o640;
/// Characters of an error.
const ERROR: usize = 1000;
/// Bytes of a list of migrations, which has room for thousands.
const LIST: usize = 100_000;
/// Of what stands for those that have no room.
const LAST: usize = 50;

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Line")]
pub struct JournalEntry {
    /// Seconds since 1970, as the clock had it.
    pub at: u64,
    /// Who asked for it: a user's name, or a number where the user has none.
    pub by: String,
    #[serde(flatten)]
    pub event: JournalEvent,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum JournalEvent {
    /// An operation on a release starts. What follows is its story, until `done` or `failed`.
    Begun {
        operation: Operation,
        id: ReleaseId,
        /// What was live then.
        live: Option<ReleaseId>,
        /// The deploy of a fleet that it is a part of, as whoever asked for it has named that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deploy: Option<String>,
        /// The version of Wheelbarrow that does it; none of 0.1.0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
    },
    /// A phase ended, well but for a `problem`.
    Phase {
        phase: Phase,
        milliseconds: u64,
        /// Why old releases could not be removed, in one line. What ends an operation is a failure of that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A command of the release ended, well or not. Those of hooks may come after the end.
    Command {
        command: String,
        milliseconds: u64,
        /// None of one that prepares the release. A name of a later version is one that nothing is concluded from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hook: Option<String>,
        /// Where its output is, below the root.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<String>,
        /// Why it failed, in one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// Old releases were removed, and nothing else was done.
    Pruned {
        removed: usize,
        milliseconds: u64,
    },
    /// `current` leads to the release now.
    Switched {
        id: ReleaseId,
        from: Option<ReleaseId>,
    },
    /// The operation ended well: the release is live and proved.
    Done {
        milliseconds: u64,
    },
    /// The operation ended here, and left things as `outcome` says.
    Failed {
        phase: Phase,
        error: String,
        outcome: Outcome,
        milliseconds: u64,
    },
    /// The commands that prepare the release are about to change the database by these migrations, as `app.name`.
    Migrating {
        migrations: Vec<String>,
        /// Those of them that Django cannot take back.
        irreversible: Vec<String>,
    },
    /// A release is about to be removed.
    Removed {
        id: ReleaseId,
    },
    Pinned {
        id: ReleaseId,
    },
    Unpinned {
        id: ReleaseId,
    },
    /// One that is known here, with what only a later version understands: nothing may be concluded from what is around it.
    #[serde(skip)]
    Newer {
        what: String,
        program: Option<String>,
    },
    /// One that a later version of Wheelbarrow knows, and that may be passed over.
    Other,
}

/// The events that a line may have.
const EVENTS: [&str; 11] = [
    "begun",
    "phase",
    "command",
    "pruned",
    "switched",
    "done",
    "failed",
    "migrating",
    "removed",
    "pinned",
    "unpinned",
];

/// A line as it is read, with the keys of all events: one reader of objects is smaller than one for each event.
#[derive(Deserialize)]
struct Line {
    at: u64,
    by: String,
    event: String,
    operation: Option<Operation>,
    id: Option<ReleaseId>,
    live: Option<ReleaseId>,
    deploy: Option<String>,
    program: Option<String>,
    phase: Option<Phase>,
    milliseconds: Option<u64>,
    problem: Option<String>,
    command: Option<String>,
    hook: Option<String>,
    log: Option<String>,
    removed: Option<usize>,
    from: Option<ReleaseId>,
    error: Option<String>,
    outcome: Option<Outcome>,
    migrations: Option<Vec<String>>,
    irreversible: Option<Vec<String>>,
}

fn given<T>(value: Option<T>, key: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("missing field `{key}`"))
}

impl TryFrom<Line> for JournalEntry {
    type Error = String;

    fn try_from(line: Line) -> Result<Self, String> {
        let (id, milliseconds) = (|| given(line.id, "id"), given(line.milliseconds, "milliseconds"));
        let event = match line.event.as_str() {
            "begun" => JournalEvent::Begun {
                operation: given(line.operation, "operation")?,
                id: id()?,
                live: line.live,
                deploy: line.deploy,
                program: line.program,
            },
            "phase" => JournalEvent::Phase {
                phase: given(line.phase, "phase")?,
                milliseconds: milliseconds?,
                problem: line.problem,
            },
            "command" => JournalEvent::Command {
                command: given(line.command, "command")?,
                milliseconds: milliseconds?,
                hook: line.hook,
                log: line.log,
                problem: line.problem,
            },
            "pruned" => {
                JournalEvent::Pruned { removed: given(line.removed, "removed")?, milliseconds: milliseconds? }
            }
            "switched" => JournalEvent::Switched { id: id()?, from: line.from },
            "done" => JournalEvent::Done { milliseconds: milliseconds? },
            "failed" => JournalEvent::Failed {
                phase: given(line.phase, "phase")?,
                error: given(line.error, "error")?,
                outcome: given(line.outcome, "outcome")?,
                milliseconds: milliseconds?,
            },
            "migrating" => JournalEvent::Migrating {
                migrations: given(line.migrations, "migrations")?,
                irreversible: given(line.irreversible, "irreversible")?,
            },
            "removed" => JournalEvent::Removed { id: id()? },
            "pinned" => JournalEvent::Pinned { id: id()? },
            "unpinned" => JournalEvent::Unpinned { id: id()? },
            _ => JournalEvent::Other,
        };
        Ok(Self { at: line.at, by: line.by, event })
    }
}

/// What somebody asked for that can change what is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    Deploy,
    Activate,
    Rollback,
    /// A new environment for the same release.
    Environment,
    /// A release was looked at, and nothing else.
    Check,
    /// The commands of a release that change a database, and nothing else.
    Migrate,
}

/// The steps of an operation, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Preflight,
    Stage,
    Configure,
    Check,
    Prepare,
    Switch,
    Reload,
    Probe,
    Commit,
    /// After the end: what goes wrong with it changes nothing of the operation.
    Prune,
}

impl Operation {
    /// Whether its release was made by it.
    pub(crate) fn makes_a_release(self) -> bool {
        matches!(self, Self::Deploy | Self::Environment)
    }

    /// Whether it was to change what is live.
    pub(crate) fn switches(self) -> bool {
        !matches!(self, Self::Check | Self::Migrate)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Deploy => "deploy",
            Self::Activate => "activate",
            Self::Rollback => "rollback",
            Self::Environment => "environment",
            Self::Check => "check",
            Self::Migrate => "migrate",
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Preflight => "preflight",
            Self::Stage => "stage",
            Self::Configure => "configure",
            Self::Check => "check",
            Self::Prepare => "prepare",
            Self::Switch => "switch",
            Self::Reload => "reload",
            Self::Probe => "probe",
            Self::Commit => "commit",
            Self::Prune => "prune",
        })
    }
}

/// What a failed operation left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing was switched.
    Unchanged,
    /// The release that was live before is live again, the server included.
    Reverted,
    /// It could not be taken back: people must look.
    RevertFailed,
}

/// The journal of a root. Writers hold the root's lock.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Every entry that was written whole, first to last; none where there is no journal yet.
    pub fn read(&self) -> Result<Vec<JournalEntry>, ReleaseError> {
        let mut bytes = Vec::new();
        match fs::File::open(&self.path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(ReleaseError::io("read", &self.path)(source)),
        }
        Ok(Self::entries(&bytes))
    }

    /// The entries in the text of a journal.
    pub fn entries(text: &[u8]) -> Vec<JournalEntry> {
        text.split(|&byte| byte == b'\n').filter_map(parse).collect()
    }

    /// Appends an entry, and returns when it is on disk.
    pub(crate) fn append(&self, entry: &JournalEntry) -> Result<(), ReleaseError> {
        append(&self.path, entry).map_err(ReleaseError::io("write", &self.path))
    }
}

impl JournalEntry {
    /// An error may be as long as whoever raised it wants, and a site may name as many migrations as it wants.
    fn cut(mut self) -> Self {
        match &mut self.event {
            JournalEvent::Failed { error, .. }
            | JournalEvent::Command { problem: Some(error), .. }
            | JournalEvent::Phase { problem: Some(error), .. } => {
                *error = cut_line(error, ERROR);
            }
            JournalEvent::Migrating { migrations, irreversible } => {
                [migrations, irreversible].into_iter().for_each(cut_list);
            }
            _ => {}
        }
        self
    }
}

/// Leaves the first names, as many as there is room for, and says how many others there are.
fn cut_list(names: &mut Vec<String>) {
    // As JSON, which may write six bytes for one.
    let length = |name: &String| serde_json::to_string(name).map_or(LIST, |text| text.len() + 1);
    if names.iter().map(length).sum::<usize>() <= LIST {
        return;
    }
    let mut left = LIST - LAST;
    let kept = names.iter().map_while(|name| {
        left = left.checked_sub(length(name))?;
        Some(())
    });
    let kept = kept.count();
    let more = names.len() - kept;
    names.truncate(kept);
    names.push(format!("and {more} more"));
}

/// None of a line that was cut off.
fn parse(line: &[u8]) -> Option<JournalEntry> {
    let error = match json::from_slice::<JournalEntry>(line) {
        Ok(entry) => return Some(entry.cut()),
        Err(error) => error,
    };
    let text: serde_json::Map<String, serde_json::Value> = json::from_slice(line).ok()?;
    let string = |key: &str| Some(text.get(key)?.as_str()?.to_owned());
    let event = match string("event") {
        Some(event) if !EVENTS.contains(&event.as_str()) => JournalEvent::Other,
        _ => JournalEvent::Newer { what: error.to_string(), program: string("program") },
    };
    let at = text.get("at").and_then(serde_json::Value::as_u64).unwrap_or_default();
    Some(JournalEntry { at, by: string("by").unwrap_or_default(), event })
}

fn append(path: &Path, entry: &JournalEntry) -> std::io::Result<()> {
    let file = std::fs::OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)?;
    let metadata = file.metadata()?;
    // Of an earlier version.
    if metadata.mode() & 0o777 & !MODE != 0 && metadata.uid() == rustix::process::geteuid().as_raw() {
        let _ = file.set_permissions(std::fs::Permissions::from_mode(metadata.mode() & MODE));
    }
    let mut file = fs::File::from_parts(file, path);
    let mut line = Vec::new();
    if file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            line.push(b'\n');
        }
    }
    serde_json::to_writer(&mut line, &entry.clone().cut())?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_data()
}

#[cfg(test)]
mod tests;
