//! Verify: probes the server, and checks which release its processes run.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use wheelbarrow_artifact::release::{Server, Words};
use wheelbarrow_base::progress::Progress;

use crate::command::secrets::Secrets;
use crate::command::{CommandRun, in_release};
use crate::root::journal::Phase;
use crate::root::locked_root::LockedRoot;
use crate::root::operator::Probing;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::serving::proof::Verdict;
use crate::serving::server_log::ServerLog;
use crate::serving::services::{self, ServingProcess};
use crate::serving::systemd::UnitState;
use crate::serving::watchdog::Watched;
use crate::serving::{probe, proof, server, systemd};
use crate::steps::{Job, Step};
use crate::{ReleaseError, Root};

const DEADLINE: u64 = 30;
/// How long a server that was told to take a release back may take for it, in seconds, where nothing asks it.
const PATIENCE: u64 = 10;
/// Between two touches of a file that the server does not heed.
const TOUCHES: Duration = Duration::from_secs(5);
/// Between two looks at what serves.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Verify;

impl Step for Verify {
    fn phase(&self) -> Phase {
        Phase::Probe
    }

    fn describe(&self, settings: &Settings) -> String {
        match &settings.probe {
            _ if !settings.services.is_empty() => "look at every service".to_owned(),
            Some(probe) => format!("request {}", probe.url),
            None if settings.server == Server::None => "no server and no probe are configured".to_owned(),
            None => "compare the processes of the server".to_owned(),
        }
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        let (release, settings) = (job.release()?, job.settings);
        let told = job.done.told.unwrap_or_else(SystemTime::now);
        let verified = match prove_all(job.locked, release, settings, told, job.progress()) {
            // A new release may be the first one of a server that is told of it.
            Ok(ServingProof::None(reason))
                if !job.operation.makes_a_release() || settings.server == Server::None =>
            {
                witness(job.locked.root, release, settings, reason)
            }
            proved => proved.map(|_| None),
        };
        job.done.unproved = match &job.done.server_log {
            Some(log) => verified.map_err(|error| log.explain(error))?,
            None => verified?,
        };
        Ok(())
    }
}

/// What shows that a release serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServingProof {
    /// Every process of the server runs it.
    Processes,
    /// Nothing, for this reason.
    None(&'static str),
}

/// Looks for what speaks against a release that nothing has proved, for this reason: processes of the
/// site run from the root, and none of them from it. That is an error where a server was told, else what was found.
pub(crate) fn witness(
    root: &Root,
    release: &CompleteRelease,
    settings: &Settings,
    reason: &str,
) -> Result<Option<String>, ReleaseError> {
    let id = release.id();
    let runs_it = |service: &proof::Service| match &service.verdict {
        Verdict::One { id: one } => one == id,
        Verdict::Several { ids } => ids.contains(id),
        Verdict::Nothing | Verdict::Torn { .. } => false,
    };
    let patience = if settings.server == Server::None { 0 } else { PATIENCE };
    let (users, begun) = (proof::TrustedUsers::of(Some(settings), None), Instant::now());
    loop {
        let running = proof::by_unit_of(root, &users)?;
        if running.is_empty() || running.iter().any(runs_it) {
            return Ok(None);
        }
        if begun.elapsed() >= Duration::from_secs(patience) {
            let others: Vec<String> = running.iter().map(|service| service.verdict.to_string()).collect();
            let found = format!("{}; {reason}", others.join(", "));
            let (what, id) = (settings.server.to_string(), id.clone());
            return match settings.server {
                Server::None => Ok(Some(found)),
                _ => Err(ReleaseError::Unproved { what, id, deadline: patience, found }),
            };
        }
        std::thread::sleep(PAUSE);
    }
}

/// Prints each note once, however many services it is about.
struct Notes<'p> {
    progress: &'p dyn Progress,
    printed: RefCell<BTreeSet<String>>,
}

impl<'p> Notes<'p> {
    fn to(progress: &'p dyn Progress) -> Self {
        Self { progress, printed: RefCell::default() }
    }

    fn note(&self, text: &str) {
        if self.printed.borrow_mut().insert(text.to_owned()) {
            self.progress.note(text);
        }
    }
}

/// Whether every service works and runs this release. `told` is when they were told of it.
pub(crate) fn prove_all(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    told: SystemTime,
    progress: &dyn Progress,
) -> Result<ServingProof, ReleaseError> {
    let notes = Notes::to(progress);
    let proof = prove(locked, release, settings, &notes)?;
    let all = services::of(locked.root, settings, release.id());
    let of_service = |served: &ServingProcess, error| {
        let log = ServerLog::since(locked.root, &served.settings, told);
        services::of_service(&served.name, release.id())(log.explain(error))
    };
    for served in &all {
        prove_service(locked, release, served, &notes).map_err(|error| of_service(served, error))?;
    }
    // All at the same time.
    let begun = Instant::now();
    let mut watched: Vec<_> = all.iter().map(|served| WatchedService::new(served, begun)).collect();
    while !watched.is_empty() {
        let mut rest = Vec::new();
        for mut one in watched {
            if !one.look(locked, release, begun).map_err(|error| of_service(one.served, error))? {
                rest.push(one);
            }
        }
        watched = rest;
        if !watched.is_empty() {
            if progress.is_cancelled() {
                return Err(ReleaseError::Cancelled);
            }
            std::thread::sleep(PAUSE);
        }
    }
    for served in &all {
        if let Some((words, deadline)) = &served.command {
            answers(locked, release, served, words, *deadline, progress)
                .map_err(|error| of_service(served, error))?;
        }
    }
    Ok(if all.is_empty() { proof } else { ServingProof::Processes })
}

/// The part of it that shows at once.
fn prove_service(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    served: &ServingProcess,
    notes: &Notes<'_>,
) -> Result<(), ReleaseError> {
    let Server::Systemd { unit, manager, .. } = &served.settings.server else {
        return prove(locked, release, &served.settings, notes).map(drop);
    };
    if served.is_timer {
        return match systemd::state(*manager, unit) {
            Some(state) if state.active != "active" => {
                Err(ReleaseError::Down { name: unit.clone(), trouble: format!("it is {}", state.active) })
            }
            _ => Ok(()),
        };
    }
    match served.stays_up {
        Some(_) => Ok(()),
        None => prove(locked, release, &served.settings, notes).map(drop),
    }
}

/// The part of a service that only time shows: its unit runs the release, and still does so many seconds after it has imported the
/// code of the site, however long that takes on this machine; its process satisfies its watchdog.
struct WatchedService<'s> {
    served: &'s ServingProcess,
    /// None of what is not a unit: nothing is watched.
    unit: Option<&'s str>,
    /// Seconds that it has to stay up; none once it has.
    stays_up: Option<u64>,
    /// When its code was first seen to be imported.
    imported: Option<Instant>,
    /// None once the watchdog is satisfied.
    watchdog: Option<Watched>,
}

impl<'s> WatchedService<'s> {
    fn new(served: &'s ServingProcess, begun: Instant) -> Self {
        let unit = match &served.settings.server {
            Server::Systemd { unit, .. } if !served.is_timer => Some(unit.as_str()),
            _ => None,
        };
        let watchdog = served.watchdog.map(|seconds| Watched::new(seconds, begun));
        Self { served, unit, stays_up: served.stays_up, imported: None, watchdog }
    }

    /// Takes one more look. Whether it was watched for long enough.
    fn look(
        &mut self,
        locked: &LockedRoot<'_>,
        release: &CompleteRelease,
        begun: Instant,
    ) -> Result<bool, ReleaseError> {
        let Some(unit) = self.unit.filter(|_| self.stays_up.is_some() || self.watchdog.is_some()) else {
            return Ok(true);
        };
        let down = |trouble| ReleaseError::Down { name: unit.to_owned(), trouble };
        let state = systemd::state(self.served.settings.manager, unit);
        let often = |state: &UnitState| {
            let is_often = state.restarts > 0 && self.stays_up.is_some();
            is_often.then(|| format!("it has ended {} times", state.restarts))
        };
        if let Some(trouble) = state.as_ref().and_then(|state| state.trouble().or_else(|| often(state))) {
            return Err(down(trouble));
        }
        if let Some(seconds) = self.stays_up
            && self.has_stayed_up(unit, seconds, locked, release, begun)?
        {
            self.stays_up = None;
        }
        if let Some(watched) = &mut self.watchdog {
            let look = state.as_ref().map(|state| (state.active.as_str(), state.main_pid));
            if watched.look(look, Instant::now()).map_err(down)? {
                self.watchdog = None;
            }
        }
        Ok(self.stays_up.is_none() && self.watchdog.is_none())
    }

    fn has_stayed_up(
        &mut self,
        unit: &str,
        seconds: u64,
        locked: &LockedRoot<'_>,
        release: &CompleteRelease,
        begun: Instant,
    ) -> Result<bool, ReleaseError> {
        let id = release.id();
        let found = proof::of(locked.root, Some(&self.served.settings))?;
        let is_proved = found.unit.is_some() && proof::runs(&found, id);
        if is_proved && found.processes.iter().any(|process| process.code.as_ref() == Some(id)) {
            let imported = *self.imported.get_or_insert_with(Instant::now);
            // Where the first import took long, the next ones do too.
            let enough = Duration::from_secs(seconds).max(imported.duration_since(begun));
            return Ok(imported.elapsed() >= enough);
        }
        if begun.elapsed() < Duration::from_secs(DEADLINE.max(seconds)) {
            return Ok(false);
        }
        // A program that is no Python has nothing of a release open, and not every Python imports the site.
        match found.verdict {
            Verdict::Nothing if found.unit.is_some() => Ok(true),
            _ if is_proved => Ok(true),
            _ => Err(ReleaseError::Unproved {
                what: unit.to_owned(),
                id: id.clone(),
                deadline: DEADLINE,
                found: found.to_string(),
            }),
        }
    }
}

/// Whether a command of the site succeeds before its deadline.
fn answers(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    served: &ServingProcess,
    words: &Words,
    deadline: u64,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let (begun, limit) = (Instant::now(), Duration::from_secs(deadline));
    let log = release.logs().join(format!("probe-{}.log", served.name.replace(' ', "-")));
    loop {
        // Of the last try only: it is tried again and again.
        let _ = fs_err::remove_file(&log);
        let run = CommandRun {
            command: in_release(release, &served.settings, words)?,
            words: words.to_string(),
            input: Vec::new(),
            log: log.clone(),
            timeout: limit.saturating_sub(begun.elapsed()),
            secrets: Secrets::of(release.path()),
            lock: Some(&locked.lock),
        };
        match run.run(progress) {
            Ok(_) => return Ok(()),
            Err(error @ ReleaseError::Cancelled) => return Err(error),
            Err(error) if begun.elapsed() >= limit => return Err(error),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Whether the server answers as the probe demands, and it is this release that serves.
fn prove(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    notes: &Notes<'_>,
) -> Result<ServingProof, ReleaseError> {
    if let Some(probe) = &settings.probe {
        match locked.operator.probing {
            Probing::LeftOut => return prove_unprobed(locked, release, settings, notes),
            Probing::Asked => probe::probe(probe, notes.progress)?,
        }
    }
    let proof = prove_processes(locked, release, settings, notes)?;
    if let (Some(probe), ServingProof::Processes) = (&settings.probe, proof)
        && settings.server.hands_over()
    {
        // Until now, processes of the release before may have answered.
        probe::probe(probe, notes.progress)?;
    }
    Ok(proof)
}

/// The same, if the probe that is configured is left out: only a unit still shows its processes.
fn prove_unprobed(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    notes: &Notes<'_>,
) -> Result<ServingProof, ReleaseError> {
    if settings.server.is_unit() || settings.server == Server::None {
        notes.note("not probed: `wheelbarrow activate` of the live release probes the server later");
        let settings = Settings { probe: None, ..settings.clone() };
        return prove_processes(locked, release, &settings, notes);
    }
    notes.note(
        "not probed: `wheelbarrow activate` of the live release probes the server later, and verifies its processes",
    );
    Ok(ServingProof::None("the probe was left out"))
}

/// Whether it is this release that serves: every process of the server, as the kernel tells it. Some servers start anew
/// only when they are asked for something, so they are asked between two looks.
fn prove_processes(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    notes: &Notes<'_>,
) -> Result<ServingProof, ReleaseError> {
    let what = match (&settings.server, &settings.probe) {
        (Server::None, _) => {
            return Ok(ServingProof::None("no server is configured, so no server was restarted"));
        }
        (Server::Systemd { unit, .. }, _) => unit.clone(),
        (_, Some(probe)) => format!("what listens for {}", probe.url),
        (_, None) => {
            notes.note("no `probe` configured: serving processes were not verified");
            return Ok(ServingProof::None("no `probe` is configured"));
        }
    };
    let is_unit = settings.server.is_unit();
    let deadline = settings.probe.as_ref().and_then(|probe| probe.deadline).unwrap_or(DEADLINE);
    let begun = Instant::now();
    let (mut touched, mut is_foreign) = (begun, false);
    loop {
        let service = proof::of(locked.root, Some(settings))?;
        // Where systemd knows of no such unit that runs, other processes of the root prove nothing.
        let is_known = service.unit.is_some() || (!is_unit && service.listener.is_some());
        if is_known && proof::runs(&service, release.id()) {
            return Ok(ServingProof::Processes);
        }
        // Something answered after the last look, so no restart hides the server from this one.
        if !is_known && is_foreign {
            if let Some(other) = proof::other_root(locked.root, settings) {
                let (id, deadline) = (release.id().clone(), begun.elapsed().as_secs());
                let found = format!("it is a process of the site root {}", other.display());
                return Err(ReleaseError::Unproved { what, id, deadline, found });
            }
            notes.note(&format!("{what} is not a process of the site, so no process was verified"));
            return Ok(ServingProof::None("no process of the server may be looked at"));
        }
        if notes.progress.is_cancelled() {
            return Err(ReleaseError::Cancelled);
        }
        if begun.elapsed() >= Duration::from_secs(deadline) {
            let (id, found) = (release.id().clone(), service.to_string());
            return Err(ReleaseError::Unproved { what, id, deadline, found });
        }
        // A uWSGI that was just starting takes the touch for the state that it begins with. Once it reloads, it is more than
        // one other release that runs, or none.
        if let (Server::Touch { path }, Verdict::One { .. }) = (&settings.server, &service.verdict)
            && touched.elapsed() >= TOUCHES
        {
            server::touch(path)?;
            touched = Instant::now();
        }
        std::thread::sleep(PAUSE);
        if let Some(settings) = &settings.probe {
            is_foreign = probe::answers(settings) && !is_known && !is_unit;
        }
    }
}
