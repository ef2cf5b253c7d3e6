//! The kernel's facts about a process, and the common release of several processes.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use wheelbarrow_wheel::order::Inserted;

use crate::ReleaseId;

/// A process that has to do with releases of a root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Process {
    pub pid: u32,
    /// Its name, as the kernel has it: at most fifteen bytes.
    pub name: String,
    /// The systemd unit that it belongs to, by its control group; none of a process that is in none.
    pub unit: Option<String>,
    /// The release of the virtualenv that its interpreter was started from.
    pub started_in: Option<ReleaseId>,
    /// The release that it imported the site's code from; none where loadenv has not seen that.
    pub code: Option<ReleaseId>,
    /// The release that it imported its first dependency from; none where loadenv has not seen that.
    pub dependencies: Option<ReleaseId>,
    /// The releases that it has mapped files of.
    pub mapped: BTreeSet<ReleaseId>,
    /// The release that its working directory is in.
    pub directory: Option<ReleaseId>,
    /// Everybody as whom it may act: its real, its effective and its saved user.
    #[serde(skip)]
    pub users: BTreeSet<u32>,
}

/// What the processes of a service run, taken together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// Nothing of the root runs.
    Nothing,
    /// All of it is of one release.
    One { id: ReleaseId },
    /// Some processes run one release, some another.
    Several { ids: BTreeSet<ReleaseId> },
    /// A process has its code from one release and dependencies from another.
    Torn { pid: u32, code: ReleaseId, dependencies: BTreeSet<ReleaseId> },
}

impl Process {
    /// The releases that its dependencies come from. A master of an earlier release that was told to reload leaves what
    /// it has mapped itself in its workers; what they import anew counts. A worker that imported the site's code and no
    /// dependency uses none but those of its server.
    pub fn dependencies(&self) -> BTreeSet<ReleaseId> {
        let mapped = self.mapped.iter().cloned();
        match self.dependencies.as_ref().or(self.code.as_ref()) {
            Some(imported) => {
                mapped.filter(|id| Some(id) != self.started_in.as_ref()).chain([imported.clone()]).inserted()
            }
            None if self.mapped.is_empty() => self.started_in.iter().cloned().inserted(),
            None => mapped.inserted(),
        }
    }

    /// The release of the site's code, where it has any.
    fn code(&self) -> Option<&ReleaseId> {
        // One that imported dependencies and no code is a master that waits, wherever it does so.
        self.code.as_ref().or_else(|| self.directory.as_ref().filter(|_| self.dependencies.is_none()))
    }

    /// Whether it runs what is not of `id`. One that only stands in a directory of a release, as a shell, runs nothing of it.
    pub(crate) fn runs_another_than(&self, id: &ReleaseId) -> bool {
        match judge(std::slice::from_ref(self)) {
            Verdict::Nothing => false,
            Verdict::One { id: one } => one != *id,
            Verdict::Several { .. } | Verdict::Torn { .. } => true,
        }
    }

    pub(super) fn uses(&self) -> BTreeSet<&ReleaseId> {
        let one_each = [&self.started_in, &self.code, &self.dependencies, &self.directory];
        one_each.into_iter().flatten().chain(&self.mapped).inserted()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |ids: &BTreeSet<ReleaseId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Nothing => formatter.write_str("no process runs from a release"),
            Self::One { id } => write!(formatter, "every process runs {id}"),
            Self::Several { ids } => write!(formatter, "the processes run {}", list(ids)),
            Self::Torn { pid, code, dependencies } => {
                write!(
                    formatter,
                    "process {pid} has its code from {code}, its dependencies from {}",
                    list(dependencies)
                )
            }
        }
    }
}

/// What `processes` run together: those that have imported the site's code, where that is known of any.
pub fn judge(processes: &[Process]) -> Verdict {
    let knows = processes.iter().any(|process| process.code.is_some());
    let mut ids = BTreeSet::new();
    for process in processes.iter().filter(|process| !knows || process.code.is_some()) {
        let dependencies = process.dependencies();
        let agree = |code: &ReleaseId| dependencies.iter().all(|id| id == code);
        if let Some(code) = process.code().filter(|code| !agree(code)).cloned() {
            return Verdict::Torn { pid: process.pid, code, dependencies };
        }
        ids.extend(dependencies);
    }
    match ids.len() {
        0 => Verdict::Nothing,
        1 => ids.into_iter().next().map_or(Verdict::Nothing, |id| Verdict::One { id }),
        _ => Verdict::Several { ids },
    }
}
