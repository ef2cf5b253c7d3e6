//! Check: starts the release, imports its application, and requests a page.

use wheelbarrow_artifact::release::CheckAllowance;
use wheelbarrow_base::progress::Progress;

use crate::ReleaseError;
use crate::check::application::FoundApplication;
use crate::check::findings;
use crate::check::writes_in_release::{WriteInRelease, shared_with};
use crate::check::{self, CheckError, CheckRequest, DjangoReport, SiteUser, django, startable};
use crate::command::fork_server::ForkServer;
use crate::root::journal::Phase;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::stage::not_shared;
use crate::steps::{Job, Step};

/// What an application may answer where nobody says otherwise: most first pages are one, or lead to one.
const EXPECTED: [u16; 7] = [200, 204, 301, 302, 303, 307, 308];

/// How far the check of an application goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckTime {
    /// Before commands prepare the release: it is only imported.
    Before,
    /// After that.
    After,
    /// There are no such commands.
    Once,
}

/// What becomes of what an application says while it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckLog {
    /// It is in a log of the release.
    Kept,
    /// Nothing is to be written.
    Forgotten,
}

pub(crate) struct Check(pub(crate) CheckTime);

impl Step for Check {
    fn phase(&self) -> Phase {
        Phase::Check
    }

    fn describe(&self, settings: &Settings) -> String {
        let is_off = settings.declared.check.as_ref().is_some_and(|check| check.enabled == Some(false));
        match self.0 {
            CheckTime::After if is_off => "the check of the application is disabled".to_owned(),
            _ if is_off => "start the Python of the release".to_owned(),
            CheckTime::Before => "import the application".to_owned(),
            CheckTime::After => "request a page".to_owned(),
            CheckTime::Once => "import the application, request a page".to_owned(),
        }
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        let mut server = job.done.fork_server.take();
        let (release, settings, progress) = (job.release()?, job.settings, job.progress());
        if self.0 == CheckTime::After {
            // The last that it is asked.
            return check(release, settings, self.0, CheckLog::Kept, &[], server.as_mut(), progress)
                .map(drop);
        }
        startable::check_way(release, settings)?;
        if forks(settings) {
            server = check::fork_server(release, settings, job.locked)?;
        }
        if server.is_none() {
            startable::start(release, settings, progress)?;
        }
        startable::check_files(release, settings)?;
        let known = if job.is_live_already() { Vec::new() } else { findings::of_live(job.locked.root) };
        let django = check(release, settings, self.0, CheckLog::Kept, &known, server.as_mut(), progress)?;
        if let (Some(live), false) = (&job.previous, job.is_live_already()) {
            // Only Django says where it writes, and not all of it.
            let code = release.site()?.project.directory;
            let known = django.as_ref().map(|report| &report.inside[..]).unwrap_or_default();
            let left = not_shared::left(job.locked.root, live, release, settings, known)?;
            refuse_data(&code, &left, settings, progress)?;
        }
        let checks = django.as_ref().map(|report| &report.checks[..]).unwrap_or_default();
        let compared = findings::compare(release, checks, &known);
        if django.is_some() {
            findings::keep(release, checks)?;
        }
        (job.done.findings, job.done.django, job.done.fork_server) = (compared, django, server);
        Ok(())
    }
}

/// Whether one Python is started for all that needs the site, and there is anything for it to do.
fn forks(settings: &Settings) -> bool {
    let is_checked = settings.declared.check.as_ref().is_none_or(|check| check.enabled != Some(false));
    settings.declared.fork != Some(false) && (is_checked || settings.prepare.iter().any(django::is_command))
}

/// For a release that was live before: whether it still can be started.
pub(crate) struct Startable;

impl Step for Startable {
    fn phase(&self) -> Phase {
        Phase::Check
    }

    fn describe(&self, _settings: &Settings) -> String {
        "start the Python of the release".to_owned()
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        startable::check(job.release()?, job.settings, job.progress())
    }
}

/// Whether the release's application can be imported and, if it is asked, answers a request, in process. What Django says
/// of itself is shown and given back; of what is `known` already only how much it is.
pub(crate) fn check(
    release: &CompleteRelease,
    settings: &Settings,
    time: CheckTime,
    log: CheckLog,
    known: &[String],
    server: Option<&mut ForkServer>,
    progress: &dyn Progress,
) -> Result<Option<DjangoReport>, ReleaseError> {
    let django = inspect(release, settings, time, log, server, progress)?;
    if let Some(report) = &django {
        show_findings(release, report, known, progress);
        show(report, settings, progress);
        compare_settings(release, settings, report, progress)?;
        refuse_data(&release.site()?.project.directory, &report.inside, settings, progress)?;
    }
    Ok(django)
}

/// Refuses a site that would write a database or uploads into its release, unless the settings allow that.
fn refuse_data(
    code: &str,
    inside: &[WriteInRelease],
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let check = settings.declared.check.as_ref();
    let allow = check.and_then(|check| check.allow.as_deref()).unwrap_or_default();
    let mut refused = Vec::new();
    for inside in inside.iter().filter(|inside| inside.is_data) {
        match allow.iter().find(|allow| allow.covers_data(&inside.setting)) {
            Some(CheckAllowance { reason, .. }) => progress.note(&format!(
                "{} is in the release, {}; allowed: {}",
                inside.setting,
                inside.path,
                reason.as_deref().unwrap_or_default()
            )),
            None => refused.push(inside.clone()),
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let shared = shared_with(&refused, code, settings.declared.shared.as_deref().unwrap_or_default());
    Err(CheckError::DataInRelease { data: refused, shared }.into())
}

/// Says so where commands of the site, `migrate` say, use other settings than its server will.
fn compare_settings(
    release: &CompleteRelease,
    settings: &Settings,
    report: &DjangoReport,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let commands = django::settings_module(release, &release.site()?, settings)?;
    if let (Some(commands), Some(application)) = (commands, &report.settings)
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
pub(crate) fn inspect(
    release: &CompleteRelease,
    settings: &Settings,
    time: CheckTime,
    log: CheckLog,
    mut server: Option<&mut ForkServer>,
    progress: &dyn Progress,
) -> Result<Option<DjangoReport>, ReleaseError> {
    let asked = settings.declared.check.clone().unwrap_or_default();
    if asked.enabled == Some(false) {
        return Ok(None);
    }
    let site = release.site()?;
    let code = release.path().join(&site.project.import_path);
    let application = match django::application(release, &site, settings) {
        FoundApplication::One(found) => found.name,
        FoundApplication::Nothing => return Err(CheckError::NoApplication.into()),
        FoundApplication::Several(applications) => {
            return Err(CheckError::SeveralApplications { applications }.into());
        }
    };
    let request = CheckRequest {
        application,
        interface: None,
        path: asked.path.unwrap_or_else(|| "/".to_owned()),
        host: asked.host,
        scheme: asked.scheme.unwrap_or_else(|| "https".to_owned()),
        ask: time != CheckTime::Before,
        // Before migrations are applied, and once.
        django: time != CheckTime::After,
        install: release.path().to_path_buf(),
        expected: asked.expected.unwrap_or_else(|| EXPECTED.to_vec()),
        allow: asked.allow.unwrap_or_default(),
        limit: settings.check_timeout,
    };
    let site = SiteUser::of(release, &site, settings);
    let log = (log == CheckLog::Kept).then(|| release.logs().join("check.log"));
    let ask = |server: Option<&mut ForkServer>| {
        check::check(release.path(), &code, &request, &site, log.as_deref(), server, progress)
    };
    let checked = match ask(server.as_deref_mut()) {
        // A site may have imported what has changed since, or what a fork cannot use.
        Err(ReleaseError::Check { error })
            if server.as_ref().is_some_and(|server| server.is_there()) && error.is_of_answer() =>
        {
            ask(None)
        }
        checked => checked,
    };
    Ok(checked?.django)
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

/// What `check --deploy` finds: what is new, and how much is not.
fn show_findings(
    release: &CompleteRelease,
    report: &DjangoReport,
    known: &[String],
    progress: &dyn Progress,
) {
    let mut count = 0;
    for finding in &report.checks {
        let line = format!("check --deploy: {finding}");
        if findings::is_known(release, finding, known) {
            count += 1;
            progress.detail(&line);
        } else {
            progress.note(&line);
        }
    }
    match count {
        0 => {}
        1 => progress.note("check --deploy: 1 finding that the live release has too (`--verbose` shows it)"),
        _ => progress.note(&format!(
            "check --deploy: {count} findings that the live release has too (`--verbose` shows them)"
        )),
    }
}

/// What is in the release, and what `migrate` would do.
fn show(report: &DjangoReport, settings: &Settings, progress: &dyn Progress) {
    for WriteInRelease { setting, path, .. } in report.inside.iter().filter(|inside| !inside.is_data) {
        progress.note(&format!(
            "{setting} is in the release, {path}: the next release starts without it; paths in `[release] shared` are kept"
        ));
    }
    if let Some(reason) = &report.unknown {
        progress.note(&format!("pending migrations are unknown: {reason}"));
    }
    if !report.migrations.is_empty() {
        let applies =
            if django::migrates(&settings.prepare) { "" } else { "; no `prepare` command applies them" };
        progress.note(&format!("pending migrations: {}{applies}", few(&report.migrations)));
    }
    if !report.irreversible.is_empty() {
        progress.note(&format!("Django cannot reverse {}", few(&report.irreversible)));
    }
}
