//! Where an operation asks what a release is worth: before the switch its application, after it what really serves.

use std::time::{Duration, Instant};

use wheelbarrow_artifact::progress::Progress;
use wheelbarrow_artifact::release::Server;

use crate::check::application::Search;
use crate::check::django;
use crate::check::{self, AsSite, CheckError, Django, Inside, Request};
use crate::root::locked_root::LockedRoot;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::serving::proof::Verdict;
use crate::serving::{probe, proof};
use crate::{ReleaseError, Root};

/// What an application may answer where nobody says otherwise: most first pages are one, or lead to one.
const EXPECTED: [u16; 7] = [200, 204, 301, 302, 303, 307, 308];
const DEADLINE: u64 = 30;
/// How long a server that was told to take a release back may take for it, in seconds, where nothing asks it.
const PATIENCE: u64 = 10;
/// Between two looks at what serves.
const PAUSE: Duration = Duration::from_millis(100);

/// How far the check of an application goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Before commands prepare the release: it is only imported.
    Before,
    /// After that.
    After,
    /// There are no such commands.
    Once,
}

/// What becomes of what an application says while it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is in a log of the release.
    Kept,
    /// Nothing is to be written.
    Forgotten,
}

/// Whether the release's application can be imported and, if it is asked, answers a request, in process. What Django says
/// of itself is shown and given back.
pub(crate) fn check(
    release: &CompleteRelease,
    settings: &Settings,
    look: Look,
    said: Said,
    progress: &dyn Progress,
) -> Result<Option<Django>, ReleaseError> {
    let django = look_at(release, settings, look, said, progress)?;
    if let Some(said) = &django {
        show(said, settings, progress);
        compare_settings(release, settings, said, progress)?;
    }
    Ok(django)
}

/// Says so where commands of the site, `migrate` say, use other settings than its server will.
fn compare_settings(
    release: &CompleteRelease,
    settings: &Settings,
    said: &Django,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let commands = django::settings_module(release, &release.site()?, settings)?;
    if let (Some(commands), Some(application)) = (commands, &said.settings)
        && commands != *application
    {
        progress.note(&format!(
            "the application uses the settings {application}, commands use {commands}: set DJANGO_SETTINGS_MODULE in \
             environment.json, which counts for both"
        ));
    }
    Ok(())
}

/// The same; what Django says is not shown.
pub(crate) fn look_at(
    release: &CompleteRelease,
    settings: &Settings,
    look: Look,
    said: Said,
    progress: &dyn Progress,
) -> Result<Option<Django>, ReleaseError> {
    let asked = settings.said.check.clone().unwrap_or_default();
    if asked.enabled == Some(false) {
        return Ok(None);
    }
    let site = release.site()?;
    let code = release.path().join(&site.project.import_path);
    let application = match django::application(release, &site, settings) {
        Search::One(found) => found.name,
        Search::Nothing => return Err(CheckError::NoApplication.into()),
        Search::Several(applications) => {
            return Err(CheckError::SeveralApplications { applications }.into());
        }
    };
    let request = Request {
        application,
        interface: None,
        path: asked.path.unwrap_or_else(|| "/".to_owned()),
        host: asked.host,
        scheme: asked.scheme.unwrap_or_else(|| "https".to_owned()),
        ask: look != Look::Before,
        // Before migrations are applied, and once.
        django: look != Look::After,
        install: release.path().to_path_buf(),
        expected: asked.expected.unwrap_or_else(|| EXPECTED.to_vec()),
        allow: asked.allow.unwrap_or_default(),
        limit: settings.check_timeout,
    };
    let site = AsSite { identity: settings.identity.as_ref(), passed: &settings.pass_environment };
    let log = (said == Said::Kept).then(|| release.logs().join("check.log"));
    Ok(check::check(release.path(), &code, &request, &site, log.as_deref(), progress)?.django)
}

/// How many names stand in a note.
const NAMES: usize = 10;

/// All of them where they are few, as they are after a first deploy.
pub(crate) fn few(names: &[String]) -> String {
    match names.len().checked_sub(NAMES) {
        Some(more @ 1..) => format!("{} and {more} more", names[..NAMES].join(", ")),
        _ => names.join(", "),
    }
}

/// What `check --deploy` finds, and what `migrate` would do.
fn show(said: &Django, settings: &Settings, progress: &dyn Progress) {
    for finding in &said.checks {
        progress.note(&format!("check --deploy: {finding}"));
    }
    for Inside { setting, path } in &said.inside {
        progress.note(&format!(
            "{setting} is in the release, {path}: the next release has none of it; a path below `[release] shared` \
             outlives releases"
        ));
    }
    if let Some(reason) = &said.unknown {
        progress.note(&format!("which migrations are due is not known: {reason}"));
    }
    if !said.migrations.is_empty() {
        let applies =
            if django::migrates(&settings.prepare) { "" } else { "; no `prepare` command applies them" };
        progress.note(&format!("migrations that are due: {}{applies}", few(&said.migrations)));
    }
    if !said.irreversible.is_empty() {
        progress.note(&format!("Django cannot take back {}", few(&said.irreversible)));
    }
}

/// What shows that a release serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Every process of the server runs it.
    Processes,
    /// Nothing, for this reason.
    None(&'static str),
}

/// Looks for what speaks against a release that was gone back to and that nothing has proved, for this reason: processes of the
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
    let (users, begun) = (proof::Users::of(Some(settings), None), Instant::now());
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

/// Whether it is this release that serves: every process of the server, as the kernel tells it. Some servers start anew
/// only when they are asked for something, so they are asked between two looks.
pub(crate) fn prove(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Proof, ReleaseError> {
    let what = match (&settings.server, &settings.probe) {
        (Server::None, _) => return Ok(Proof::None("no server is configured, so none was restarted")),
        (Server::Systemd { unit, .. }, _) => unit.clone(),
        (_, Some(probe)) => format!("what listens for {}", probe.url),
        (_, None) => {
            progress
                .note("which processes serve is known where there is a `probe`, so no process was looked at");
            return Ok(Proof::None("no `probe` is configured"));
        }
    };
    let is_unit = matches!(settings.server, Server::Systemd { .. });
    let deadline = settings.probe.as_ref().and_then(|probe| probe.deadline).unwrap_or(DEADLINE);
    let begun = Instant::now();
    loop {
        let service = proof::of(locked.root, Some(settings))?;
        // Where systemd knows of no such unit that runs, other processes of the root prove nothing.
        let is_known = service.unit.is_some() || (!is_unit && service.listener.is_some());
        if is_known && proof::runs(&service, release.id()) {
            return Ok(Proof::Processes);
        }
        if !is_known && !is_unit {
            progress.note(&format!("{what} is no process of the site that may be looked at, so none was"));
            return Ok(Proof::None("no process of the server may be looked at"));
        }
        if progress.is_cancelled() {
            return Err(ReleaseError::Cancelled);
        }
        if begun.elapsed() >= Duration::from_secs(deadline) {
            let (id, found) = (release.id().clone(), service.to_string());
            return Err(ReleaseError::Unproved { what, id, deadline, found });
        }
        std::thread::sleep(PAUSE);
        if let Some(settings) = &settings.probe {
            probe::ask_once(settings);
        }
    }
}
