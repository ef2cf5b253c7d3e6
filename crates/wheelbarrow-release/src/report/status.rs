//! `list`, `status` and `history`: the state of a site root as plain data. Nothing is changed, and no file
//! lock is taken.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use wheelbarrow_artifact::release::{CheckAllowance, Server};
use wheelbarrow_base::Explain;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_install::ForeignData;

use crate::check::startable;
use crate::operation::prune::{PruneOptions, plan_prune};
use crate::operation::singletons::{Singletons, singletons};
use crate::report::bundled_python::{BundledPython, bundled_python};
use crate::root::ReleaseDirectory;
use crate::root::history::{JournaledOperation, OperationEnd, journaled_operations, unfinished};
use crate::root::journal::Outcome;
use crate::root::lock::{LockHolder, holder};
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::root::trash;
use crate::serving::proof::{self, Service};
use crate::serving::service_state::{self, ServiceState};
use crate::serving::services::{self, EndingWorkers};
use crate::serving::systemd::{self, UnitState};
use crate::stage::fingerprint::{self, AskSchema, Fingerprint};
use crate::{ReleaseError, ReleaseId, Root};

/// A release as `list` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListedRelease {
    pub id: ReleaseId,
    pub state: ReleaseState,
    pub is_pinned: bool,
    pub name: Option<String>,
    pub version: Option<String>,
    pub parent: Option<ReleaseId>,
    /// Seconds since 1970.
    pub made_at: Option<u64>,
    /// Who made it.
    pub by: Option<String>,
    /// Which version of Wheelbarrow it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

/// What a release is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseState {
    /// `current` leads to it.
    Live,
    /// It was live, and may be again.
    Good,
    /// It is complete, and never was live.
    Staged,
    /// It failed, or somebody went back from it.
    Bad,
    /// It never became complete; the next command removes it.
    Incomplete,
    /// A later version of Wheelbarrow made it, and only such a version can work with it.
    Newer,
}

/// What `status` shows.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub root: PathBuf,
    pub live: Option<ListedRelease>,
    /// What is wrong with the release that `current` leads to: people took it apart.
    pub broken: Option<String>,
    /// What helps, where the error has a hint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken_hint: Option<String>,
    /// The Python that the live release brings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<BundledPython>,
    /// What of the live release other machines must have too.
    pub fingerprint: Option<Fingerprint>,
    pub releases: usize,
    /// Findings of Django's checks that the settings of the live release allow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<CheckAllowance>,
    /// Releases that would be pruned if the site had not written files into them, and these files.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<ReleaseId, ForeignData>,
    /// What the processes of the server run; all that run from the root's releases where nobody knows which those are.
    pub serving: Service,
    /// How the systemd unit of the server is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitState>,
    /// The units of the services of the live release.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceState>,
    /// Whether this host runs those that only one host of a fleet may run, where there are such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub singletons: Option<Singletons>,
    /// Why it is not known, or not true, that what the processes run serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// Every process that runs from a release of the root, by systemd unit.
    pub running: Vec<Service>,
    /// Units of other releases that finish their work and end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<String>,
    /// Units of other releases that end because their processes fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
    /// How the last operation ended.
    pub last: Option<JournaledOperation>,
    /// Whether this user may read the journal, which `last` and `interrupted` are from.
    pub is_history_readable: bool,
    /// Whether the last operation was killed, and nobody has recovered it yet.
    pub interrupted: bool,
    /// Who works on the root just now.
    pub holder: Option<LockHolder>,
    /// What is left of removed releases, if nobody works on the root: it could not be removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trash: Vec<PathBuf>,
}

/// Every release, by number.
pub fn list(root: &Root) -> Result<Vec<ListedRelease>, ReleaseError> {
    list_with(root, root.live()?.as_ref(), &history(root)?)
}

fn list_with(
    root: &Root,
    live: Option<&ReleaseId>,
    journaled_operations: &[JournaledOperation],
) -> Result<Vec<ListedRelease>, ReleaseError> {
    Ok(root.found()?.into_iter().map(|found| listed(found, live, journaled_operations)).collect())
}

/// Every operation that the journal has, first to last.
pub fn history(root: &Root) -> Result<Vec<JournaledOperation>, ReleaseError> {
    Ok(journaled_operations(&root.journal().read()?))
}

pub fn status(root: &Root, schema: AskSchema, progress: &dyn Progress) -> Result<Status, ReleaseError> {
    // What is live everybody may see, what was done only who may read the journal.
    let (journaled_operations, is_readable) = match history(root) {
        Err(ReleaseError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            (Vec::new(), false)
        }
        journaled_operations => (journaled_operations?, true),
    };
    // What stands in place of `current` is for people to see here; commands that change something refuse it.
    let (live, foreign) = match root.live() {
        Err(error @ ReleaseError::ForeignCurrent { .. }) => (None, Some(error)),
        live => (live?, None),
    };
    let releases = list_with(root, live.as_ref(), &journaled_operations)?;
    let holder = holder(root);
    let complete = live.as_ref().map(|live| root.complete(live));
    let settings = complete.as_ref().and_then(|live| live.as_ref().ok());
    let settings = settings.and_then(|live| Settings::of(root, live, &Default::default()).ok());
    let services = live.as_ref().zip(settings.as_ref());
    let services =
        services.map(|(id, settings)| service_state::states(root, settings, id)).unwrap_or_default();
    let settings = live.as_ref().zip(settings).map(|(id, settings)| services::main(root, settings, id));
    let serving = proof::of(root, settings.as_ref())?;
    let unit = settings.as_ref().and_then(unit_of);
    let interpreter = complete.as_ref().and_then(|live| bundled_python(live.as_ref().ok()?));
    let (fingerprint, broken) = match complete {
        Some(Ok(live)) => match fingerprint::of(root, &live, schema, progress) {
            Ok(fingerprint) => (Some(fingerprint), cannot_start(root, &live)),
            Err(error) => (None, Some((error.to_string(), None))),
        },
        // A rollback helps, which the hint does not name.
        Some(Err(error)) => (None, Some((error.to_string(), None))),
        None => (None, foreign.as_ref().map(with_hint)),
    };
    let (broken, broken_hint) = broken.unzip();
    let running = proof::by_unit(root)?;
    let manager = settings.as_ref().map(|settings| settings.manager).unwrap_or_default();
    let EndingWorkers { draining, failing } = services::ending(manager, &running);
    Ok(Status {
        root: root.path().to_path_buf(),
        releases: releases.len(),
        allowed: allowed(settings.as_ref()),
        // Broken settings are for other commands to report.
        data: plan_prune(root, &PruneOptions::default()).map(|pruned| pruned.data).unwrap_or_default(),
        doubt: doubt(settings.as_ref(), unit.as_ref(), &serving, journaled_operations.last()),
        serving,
        unit,
        services,
        // Broken settings are for other commands to report.
        singletons: singletons(root, None).ok().filter(|found| !found.services.is_empty()),
        draining,
        failing,
        running,
        broken,
        broken_hint: broken_hint.flatten(),
        interpreter,
        fingerprint,
        live: releases.into_iter().find(|listed| listed.state == ReleaseState::Live),
        interrupted: holder.is_none() && unfinished(&journaled_operations).is_some(),
        last: journaled_operations.into_iter().next_back(),
        trash: if holder.is_none() { trash::left(root) } else { Vec::new() },
        is_history_readable: is_readable,
        holder,
    })
}

fn unit_of(settings: &Settings) -> Option<UnitState> {
    match &settings.server {
        Server::Systemd { unit, manager, .. } => systemd::state(*manager, unit),
        _ => None,
    }
}

/// Why what the processes run says nothing of whether they serve.
fn doubt(
    settings: Option<&Settings>,
    unit: Option<&UnitState>,
    serving: &Service,
    last: Option<&JournaledOperation>,
) -> Option<String> {
    if let Some(trouble) = unit.and_then(UnitState::trouble) {
        return Some(trouble);
    }
    let settings = settings?;
    let is_known = serving.unit.is_some() || serving.listener.is_some();
    if let Some(JournaledOperation {
        operation,
        id,
        end: Some(OperationEnd::Failed { phase, outcome: Outcome::RevertFailed, .. }),
        ..
    }) = last
    {
        let what = format!("the {operation} of {id} failed at the {phase}, and could not be rolled back");
        return Some(format!("{what}: `wheelbarrow status --check` probes the site"));
    }
    match (&settings.server, &settings.probe) {
        (Server::Systemd { unit, .. }, _) if serving.unit.is_none() => {
            Some(format!("no process is known to be of {unit}"))
        }
        (_, Some(probe)) if !is_known => Some(format!("no process is known to answer {}", probe.url)),
        (_, Some(_)) => Some("not probed: `wheelbarrow status --check` probes the site".to_owned()),
        (_, None) => None,
    }
}

/// Broken settings are for other commands to report.
fn allowed(settings: Option<&Settings>) -> Vec<CheckAllowance> {
    settings.and_then(|settings| settings.declared.check.clone()?.allow).unwrap_or_default()
}

/// Why the live release could not be started again.
fn cannot_start(root: &Root, live: &CompleteRelease) -> Option<(String, Option<String>)> {
    let settings = Settings::of(root, live, &Default::default()).ok()?;
    startable::problem(live, &settings).as_ref().map(with_hint)
}

fn with_hint(error: &ReleaseError) -> (String, Option<String>) {
    (error.to_string(), error.hint())
}

fn listed(
    found: ReleaseDirectory,
    live: Option<&ReleaseId>,
    journaled_operations: &[JournaledOperation],
) -> ListedRelease {
    let made = journaled_operations.iter().find(|journaled| journaled.id == found.id);
    let was_live =
        journaled_operations.iter().any(|journaled| journaled.id == found.id && journaled.switched);
    let record = found.complete.map(|release| release.record);
    let state = match () {
        () if live == Some(&found.id) => ReleaseState::Live,
        () if found.newer.is_some() => ReleaseState::Newer,
        () if record.is_none() => ReleaseState::Incomplete,
        () if found.is_bad => ReleaseState::Bad,
        () if was_live => ReleaseState::Good,
        () => ReleaseState::Staged,
    };
    let by = made.map(|journaled| journaled.by.clone());
    let (name, version, parent, made_at) = match record {
        Some(record) => (Some(record.name), record.version, record.parent, Some(record.made_at)),
        None => (None, None, None, None),
    };
    let needs = found.newer.map(|newer| newer.to_string());
    ListedRelease {
        id: found.id,
        state,
        is_pinned: found.is_pinned,
        name,
        version,
        parent,
        made_at,
        by,
        needs,
    }
}
