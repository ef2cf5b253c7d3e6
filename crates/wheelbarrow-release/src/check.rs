//! The check before the switch: the new release's application is imported, and answers one request in
//! process.
//!
//! If `prepare` commands exist, the import comes before them, so that no database is changed for code that
//! does not start. The request comes after them, since the page may need their tables and static files.
//!
//! The release's own Python imports it with its real environment, set by loadenv, in the directory of its
//! code. No server listens, and nothing was switched yet.
//!
//! `python/check.py` runs there. It reads a request as JSON from stdin and writes lines of JSON to stdout; whatever
//! the application prints goes to stderr. WSGI is PEP 3333, ASGI
//! <https://asgi.readthedocs.io/en/latest/specs/www.html>.
//!
//! The request: `application` ("mysite.wsgi:application"), `interface` ("wsgi", "asgi" or null to find out), `path`,
//! `host` (null: the first of Django's ALLOWED_HOSTS, else "localhost"), `scheme`, `ask` (false to import it and no
//! more), `django`, `install` (the directory of the release).
//!
//! The answer: `interface`, `host`, `status`, `location` and `raised` (the exception behind the answer), or
//! `imported`, or `stage` ("import" or "request") and `error`. If `django` is true and the site is Django's, a second
//! line follows:
//!
//! * `checks`, what `check --deploy` finds, each with `level` (40 and more is an error), `id` and `message`
//! * `migrations` that are due in the default database, those of them that are `irreversible`, and those that were
//!   `applied`
//! * `unknown`, the reason why there is no plan of migrations
//! * `broken`, the reason why the checks could not run
//! * `inside`, settings that have the site write into the release, each with `setting`, `path` and `is_data` (false
//!   for caches, sessions and logs)
//! * `settings`, the module that the settings come from

pub(crate) mod application;
pub(crate) mod django;
pub(crate) mod django_query;
mod error;
pub(crate) mod findings;
pub(crate) mod startable;
#[cfg(test)]
mod tests;
pub(crate) mod writes_in_release;

use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::release::CheckAllowance;
use wheelbarrow_base::json;
use wheelbarrow_base::progress::Progress;

use crate::ReleaseError;
use crate::check::application::VARIABLE;
use crate::command::as_site;
use crate::command::child::{self, Leftovers, ProgramEnd};
use crate::command::fork_server::ForkServer;
use crate::command::identity::Identity;
use crate::command::output::Output;
use crate::command::secrets::Secrets;
use crate::report::text::cut_line;
use crate::root::locked_root::LockedRoot;
use crate::root::release::{CompleteRelease, SiteRecord};
use crate::root::settings::Settings;
pub use error::{CheckError, CheckFault};
pub use writes_in_release::WriteInRelease;

/// Functions: a call of `main` follows them in the program.
const CHECK: &str = include_str!("../python/check.py");

/// Functions that follow those of the check, with a call of `serve`.
const FORK_SERVER: &str = include_str!("../python/fork_server.py");

/// A finding of Django's of this level or above is an error (`django.core.checks.ERROR`).
const ERROR: u32 = 40;

/// Bytes of an answer; it has a line for each finding and each migration.
const ANSWER: usize = 4 << 20;
/// Findings in an answer; there may be ten times as many migrations.
const ENTRIES: usize = 1000;
/// Characters of an exception or a finding.
const LONGEST: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// PEP 3333.
    Wsgi,
    /// <https://asgi.readthedocs.io/en/latest/specs/www.html>
    Asgi,
}

/// What to ask.
#[derive(Clone, Debug, Serialize)]
pub struct CheckRequest {
    /// `mysite.wsgi:application`, or `mysite:make()` for what a call gives.
    pub application: String,
    /// None to find out.
    pub interface: Option<Interface>,
    /// With the query, if there is one.
    pub path: String,
    /// None for the first of Django's ALLOWED_HOSTS, else `localhost`.
    pub host: Option<String>,
    /// `https` where a proxy in front speaks it, as most do; X-Forwarded-Proto says so.
    pub scheme: String,
    /// False to import it and no more.
    pub ask: bool,
    /// Whether a site of Django's says what `check --deploy` finds, and which migrations are due.
    pub django: bool,
    /// The directory of the release.
    pub install: PathBuf,
    #[serde(skip)]
    pub expected: Vec<u16>,
    /// What Django may find.
    #[serde(skip)]
    pub allow: Vec<CheckAllowance>,
    #[serde(skip)]
    pub limit: Duration,
}

/// What the application answered, as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationAnswer {
    pub interface: Interface,
    pub host: String,
    pub status: u16,
    /// Where it sent the client to.
    pub location: Option<String>,
    /// The exception that is behind the answer.
    #[serde(default)]
    pub raised: Option<String>,
}

/// What Django says of itself, where the site is Django's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DjangoReport {
    /// What `check --deploy` finds.
    pub checks: Vec<CheckMessage>,
    /// Those that are due in the default database, as `app.name`.
    pub migrations: Vec<String>,
    /// Those of them that Django cannot take back.
    pub irreversible: Vec<String>,
    /// Those that were applied, ordered.
    #[serde(default)]
    pub applied: Vec<String>,
    /// Why there is no plan of migrations.
    pub unknown: Option<String>,
    /// The exception that kept the checks from running.
    #[serde(default)]
    pub broken: Option<String>,
    /// Settings that have the site write into the release.
    #[serde(default)]
    pub inside: Vec<WriteInRelease>,
    /// The module that the settings come from, `mysite.settings`.
    #[serde(default)]
    pub settings: Option<String>,
}

/// A message of Django's system check framework.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckMessage {
    pub level: u32,
    pub id: String,
    pub message: String,
    /// Whether the settings allow it.
    #[serde(default)]
    pub is_allowed: bool,
}

/// What a release's application is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedApplication {
    /// None where it was only imported.
    pub answer: Option<ApplicationAnswer>,
    /// None where it was not asked for, or the site is not Django's.
    pub django: Option<DjangoReport>,
}

#[derive(Deserialize)]
#[serde(try_from = "CheckLine")]
enum CheckReply {
    Answer(ApplicationAnswer),
    Imported { imported: bool },
    Failed { stage: String, error: String },
}

/// The keys of all replies.
#[derive(Deserialize)]
struct CheckLine {
    interface: Option<Interface>,
    host: Option<String>,
    status: Option<u16>,
    location: Option<String>,
    raised: Option<String>,
    imported: Option<bool>,
    stage: Option<String>,
    error: Option<String>,
}

impl TryFrom<CheckLine> for CheckReply {
    type Error = &'static str;

    fn try_from(line: CheckLine) -> Result<Self, &'static str> {
        let CheckLine { interface, host, status, location, raised, imported, stage, error } = line;
        if let (Some(interface), Some(host), Some(status)) = (interface, host, status) {
            return Ok(Self::Answer(ApplicationAnswer { interface, host, status, location, raised }));
        }
        if let Some(imported) = imported {
            return Ok(Self::Imported { imported });
        }
        let (stage, error) = stage.zip(error).ok_or("no known reply")?;
        Ok(Self::Failed { stage, error })
    }
}

/// Asks the application of the install at `install`, whose code is in `code`. What it says on stderr is appended to `log`,
/// if there is one.
pub(crate) fn check(
    install: &Path,
    code: &Path,
    request: &CheckRequest,
    site: &SiteUser<'_>,
    log: Option<&Path>,
    server: Option<&mut ForkServer>,
    progress: &dyn Progress,
) -> Result<CheckedApplication, ReleaseError> {
    let python = install.join("venv/bin/python");
    let question = question(request).map_err(ReleaseError::io("ask", &python))?;
    let secrets = Secrets::of(install);
    let answers = Output::memory()?;
    let mut output = log.map_or_else(Output::memory, |log| Output::log_of_site(log, &secrets))?;
    let look = || {
        answers.cut(&secrets);
        output.cut(&secrets);
    };
    let forked = match server {
        Some(server) => {
            let (out, err) = (answers.writer()?, output.writer()?);
            let streams = [question.as_fd(), out.as_fd(), err.as_fd()];
            let asked = serde_json::json!({ "check": request });
            let ended = server.ask(&asked, streams, request.limit, progress, look);
            ended.map_err(ReleaseError::io("wait for", &python))?
        }
        None => None,
    };
    let mut command = python_of_site(install, code, &[CHECK, "\n\nmain()\n"].concat(), site);
    command.stdin(question).stdout(answers.writer()?).stderr(output.writer()?);
    let cannot_start = |source| CheckError::Start {
        python: startable::roots_own(&python).unwrap_or_else(|| python.clone()),
        user: site.identity.and_then(|identity| identity.user),
        source,
    };
    let ended = match forked {
        Some(ended) => ended,
        None => {
            let running = child::start(&mut command, Leftovers::End, None).map_err(cannot_start)?;
            running.wait(request.limit, progress, look).map_err(ReleaseError::io("wait for", &python))?
        }
    };
    let _ = output.end(&secrets);
    let heard = CheckRun { request, secrets: &secrets, output: &output };
    heard.judge(ended, &String::from_utf8_lossy(&answers.head(ANSWER)))
}

/// Starts the Python of a release that forks for each request. None if it does not start.
pub(crate) fn fork_server(
    release: &CompleteRelease,
    settings: &Settings,
    locked: &LockedRoot<'_>,
) -> Result<Option<ForkServer>, ReleaseError> {
    let site = release.site()?;
    let code = release.path().join(&site.project.import_path);
    let site = SiteUser::of(release, &site, settings);
    let command =
        python_of_site(release.path(), &code, &[CHECK, FORK_SERVER, "\n\nserve()\n"].concat(), &site);
    ForkServer::start(command, &locked.lock, Secrets::of(release.path()), locked.operator.progress)
}

/// The release's Python with this program, in the directory of its code. What it opens on its way, a log say, must be its own
/// when it is served.
fn python_of_site(install: &Path, code: &Path, program: &str, site: &SiteUser<'_>) -> Command {
    let mut command = Command::new(install.join("venv/bin/python"));
    command.args(["-c", program]).current_dir(code);
    as_site(&mut command, install, site.identity, site.passed);
    if let Some(module) = &site.settings_module {
        command.env(VARIABLE, module);
    }
    command
}

/// As whom an application is asked.
#[derive(Clone, Debug, Default)]
pub struct SiteUser<'a> {
    pub identity: Option<&'a Identity>,
    /// Variables of who deploys that it gets, if it runs as another user.
    pub passed: &'a [String],
    /// The module of Django's settings, if the units of the site's services set one.
    pub settings_module: Option<String>,
}

impl<'a> SiteUser<'a> {
    pub(crate) fn of(release: &CompleteRelease, site: &SiteRecord, settings: &'a Settings) -> Self {
        Self {
            identity: settings.identity.as_ref(),
            passed: &settings.pass_environment,
            settings_module: django::settings_of_check(release, site, settings),
        }
    }
}

/// For standard input, in memory.
fn question(request: &CheckRequest) -> std::io::Result<std::fs::File> {
    let mut file: std::fs::File = rustix::fs::memfd_create("wheelbarrow-check", MemfdFlags::CLOEXEC)?.into();
    file.write_all(&serde_json::to_vec(request)?)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// What came of a question.
struct CheckRun<'a> {
    request: &'a CheckRequest,
    secrets: &'a Secrets,
    output: &'a Output,
}

impl CheckRun<'_> {
    fn judge(&self, ended: ProgramEnd, answers: &str) -> Result<CheckedApplication, ReleaseError> {
        let mut lines = answers.lines();
        let reply = json::from_slice(lines.next().unwrap_or_default().as_bytes());
        let status = match ended {
            ProgramEnd::Cancelled => return Err(ReleaseError::Cancelled),
            // The page came; that Django has not come to an end with its database is no reason to fail.
            ProgramEnd::Late if reply.is_ok() => String::new(),
            ProgramEnd::Late => return Err(self.fails(CheckFault::Late { limit: self.request.limit })),
            ProgramEnd::By(status) => status.to_string(),
        };
        let clean = |text: &str| self.clean(text);
        let reply = reply.map(|reply: CheckReply| reply.clean(clean));
        let answer = match reply {
            Ok(CheckReply::Answer(answer)) if self.request.expected.contains(&answer.status) => Some(answer),
            Ok(CheckReply::Imported { imported: true }) => None,
            Ok(CheckReply::Answer(ApplicationAnswer { status, location, raised, .. })) => {
                let expected = self.request.expected.clone();
                return Err(self.fails(CheckFault::Status { status, location, expected, raised }));
            }
            Ok(CheckReply::Failed { stage, error }) => {
                let is_import = stage == "import";
                return Err(self.fails(if is_import {
                    CheckFault::Import { error }
                } else {
                    CheckFault::Request { error }
                }));
            }
            Ok(CheckReply::Imported { .. }) | Err(_) => return Err(self.fails(CheckFault::Ended { status })),
        };
        let django: Option<DjangoReport> =
            lines.next().and_then(|line| json::from_slice(line.as_bytes()).ok());
        // What is allowed is known by its whole name.
        let django = django.map(|django| django.bounded().allowing(&self.request.allow).clean(clean));
        if let Some(error) = django.as_ref().and_then(|django| django.broken.clone()) {
            return Err(self.fails(CheckFault::Checks { error }));
        }
        let errors = django.as_ref().map(DjangoReport::errors).unwrap_or_default();
        if !errors.is_empty() {
            return Err(self.fails(CheckFault::Django { errors }));
        }
        Ok(CheckedApplication { answer, django })
    }

    fn fails(&self, fault: CheckFault) -> ReleaseError {
        let CheckRequest { application, path, .. } = self.request;
        let output = self.output.last_lines(self.secrets);
        let log = self.output.path().map(Path::to_path_buf);
        CheckError::Failed { application: application.clone(), path: path.clone(), fault, output, log }.into()
    }

    /// Without secrets, and short.
    fn clean(&self, text: &str) -> String {
        cut_line(&self.secrets.hide(text), LONGEST)
    }
}

impl DjangoReport {
    fn errors(&self) -> Vec<String> {
        self.checks
            .iter()
            .filter(|finding| finding.level >= ERROR && !finding.is_allowed)
            .map(ToString::to_string)
            .collect()
    }

    /// Without what no site says: each is compared with all others.
    fn bounded(mut self) -> Self {
        self.checks.truncate(ENTRIES);
        self.inside.truncate(ENTRIES);
        for migrations in [&mut self.migrations, &mut self.irreversible, &mut self.applied] {
            migrations.truncate(10 * ENTRIES);
        }
        self
    }

    fn allowing(mut self, allow: &[CheckAllowance]) -> Self {
        for finding in &mut self.checks {
            finding.is_allowed = allow.iter().any(|one| one.id == finding.id);
        }
        self
    }

    fn clean(self, clean: impl Fn(&str) -> String) -> Self {
        let all = |texts: Vec<String>| texts.iter().map(|text| clean(text)).collect();
        let finding = |finding: CheckMessage| CheckMessage {
            id: clean(&finding.id),
            message: clean(&finding.message),
            ..finding
        };
        let inside = |inside: WriteInRelease| WriteInRelease {
            setting: clean(&inside.setting),
            path: clean(&inside.path),
            ..inside
        };
        Self {
            checks: self.checks.into_iter().map(finding).collect(),
            migrations: all(self.migrations),
            irreversible: all(self.irreversible),
            applied: all(self.applied),
            unknown: self.unknown.as_deref().map(&clean),
            broken: self.broken.as_deref().map(&clean),
            inside: self.inside.into_iter().map(inside).collect(),
            settings: self.settings.as_deref().map(&clean),
        }
    }
}

impl CheckReply {
    fn clean(self, clean: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Answer(answer) => Self::Answer(ApplicationAnswer {
                host: clean(&answer.host),
                location: answer.location.as_deref().map(&clean),
                raised: answer.raised.as_deref().map(&clean),
                ..answer
            }),
            Self::Failed { stage, error } => Self::Failed { error: clean(&error), stage },
            Self::Imported { imported } => Self::Imported { imported },
        }
    }
}

impl std::fmt::Display for CheckMessage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let space = if self.id.is_empty() { "" } else { " " };
        let allowed = if self.is_allowed { " (allowed)" } else { "" };
        write!(formatter, "{}{space}{}{allowed}", self.id, self.message)
    }
}
