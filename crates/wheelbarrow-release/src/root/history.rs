//! The journal grouped by operation, with phases and result.

use serde::Serialize;

use crate::ReleaseId;
use crate::root::journal::{JournalEntry, JournalEvent, Operation, Outcome, Phase};

/// One operation on a release.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournaledOperation {
    pub operation: Operation,
    pub id: ReleaseId,
    /// What was live before.
    pub live: Option<ReleaseId>,
    pub by: String,
    /// The deploy of a fleet that it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy: Option<String>,
    /// Seconds since 1970, as the clock had it.
    pub at: u64,
    /// What ended well, and how long it took, in milliseconds.
    pub phases: Vec<(Phase, u64)>,
    /// The commands that ran for it, and how long each took, in milliseconds: a part of the time of their phase.
    pub commands: Vec<(String, u64)>,
    /// The same with all that is known of them, and the commands of hooks, in order.
    pub runs: Vec<RunCommand>,
    /// Whether `current` led to the release, were it for a moment.
    pub switched: bool,
    /// Of the database: those that were to be applied.
    #[serde(skip)]
    pub migrations: Vec<String>,
    /// Those of them that cannot be taken back.
    pub irreversible: Vec<String>,
    /// None for one that was interrupted and that nobody has recovered yet.
    pub end: Option<OperationEnd>,
    /// Why old releases could not be removed after it, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_pruned: Option<String>,
}

/// A command that ran for an operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunCommand {
    pub command: String,
    pub milliseconds: u64,
    /// As `after_switch`; none of a command that prepares the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Where its output is, below the root; none of what an earlier version has run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Why it failed, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum OperationEnd {
    Done { milliseconds: u64 },
    Failed { phase: Phase, error: String, outcome: Outcome, milliseconds: u64 },
}

impl JournaledOperation {
    /// The phase in which it is, or was when it was interrupted.
    pub(crate) fn next_phase(&self) -> Phase {
        let order = [
            Phase::Preflight,
            Phase::Stage,
            Phase::Configure,
            Phase::Check,
            Phase::Prepare,
            Phase::Switch,
            Phase::Reload,
            Phase::Probe,
            Phase::Commit,
        ];
        // The check has two parts, around the commands that prepare.
        let last = self.phases.iter().map(|(phase, _)| *phase).max();
        order.into_iter().find(|phase| last.is_none_or(|last| *phase > last)).unwrap_or(Phase::Commit)
    }

    /// How long it took, what came after its end included, in milliseconds; none of one without an end.
    pub fn milliseconds(&self) -> Option<u64> {
        let pruning = self.phases.iter().filter(|(phase, _)| *phase == Phase::Prune);
        match &self.end {
            Some(OperationEnd::Done { milliseconds } | OperationEnd::Failed { milliseconds, .. }) => {
                Some(milliseconds + pruning.map(|(_, milliseconds)| milliseconds).sum::<u64>())
            }
            None => None,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.end, Some(OperationEnd::Done { .. }))
    }
}

impl JournaledOperation {
    /// Whether it failed and could not be taken back; a later command may have another try.
    pub(crate) fn is_left_switched(&self) -> bool {
        matches!(self.end, Some(OperationEnd::Failed { outcome: Outcome::RevertFailed, .. }))
    }
}

/// First to last.
pub(crate) fn journaled_operations(entries: &[JournalEntry]) -> Vec<JournaledOperation> {
    let mut journaled_operations: Vec<JournaledOperation> = Vec::new();
    for JournalEntry { at, by, event } in entries {
        if let JournalEvent::Begun { operation, id, live, deploy, .. } = event {
            journaled_operations.push(JournaledOperation {
                operation: *operation,
                id: id.clone(),
                live: live.clone(),
                by: by.clone(),
                deploy: deploy.clone(),
                at: *at,
                phases: Vec::new(),
                commands: Vec::new(),
                runs: Vec::new(),
                switched: false,
                migrations: Vec::new(),
                irreversible: Vec::new(),
                end: None,
                not_pruned: None,
            });
            continue;
        }
        // Pruning and hooks come after the end, and are of the operation all the same.
        let is_late = matches!(
            event,
            JournalEvent::Phase { phase: Phase::Prune, .. } | JournalEvent::Command { hook: Some(_), .. }
        );
        let is_open = |journaled: &&mut JournaledOperation| {
            journaled.end.is_none() || journaled.is_left_switched() || is_late
        };
        let Some(journaled) = journaled_operations.last_mut().filter(is_open) else { continue };
        match event {
            JournalEvent::Phase { phase, milliseconds, problem } => {
                journaled.phases.push((*phase, *milliseconds));
                journaled.not_pruned = problem.clone();
            }
            JournalEvent::Command { command, milliseconds, hook, log, problem } => {
                if hook.is_none() {
                    journaled.commands.push((command.clone(), *milliseconds));
                }
                journaled.runs.push(RunCommand {
                    command: command.clone(),
                    milliseconds: *milliseconds,
                    hook: hook.clone(),
                    log: log.clone(),
                    problem: problem.clone(),
                });
            }
            JournalEvent::Switched { .. } => journaled.switched = true,
            JournalEvent::Migrating { migrations, irreversible } => {
                journaled.migrations.extend_from_slice(migrations);
                journaled.irreversible.extend_from_slice(irreversible);
            }
            JournalEvent::Done { milliseconds } => {
                journaled.end = Some(OperationEnd::Done { milliseconds: *milliseconds })
            }
            JournalEvent::Failed { phase, error, outcome, milliseconds } => {
                journaled.end = Some(OperationEnd::Failed {
                    phase: *phase,
                    error: error.clone(),
                    outcome: *outcome,
                    milliseconds: *milliseconds,
                });
            }
            _ => {}
        }
    }
    journaled_operations
}

/// The operation that was interrupted, if the last one was.
pub(crate) fn unfinished(journaled_operations: &[JournaledOperation]) -> Option<&JournaledOperation> {
    journaled_operations.last().filter(|journaled| journaled.end.is_none())
}
