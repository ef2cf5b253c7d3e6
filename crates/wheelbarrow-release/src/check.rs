//! The check before the switch: the new release's application is imported, and answers one request, in process.
//!
//! Where commands prepare the release, it is imported before them, so that no database is changed for code that does not even
//! start; and asked after them, since what it answers with, tables and static files, may be their work.
//!
//! It is imported by the release's own Python with its real environment, which loadenv sees to, in the directory of its
//! code. Nothing listens, and nothing was switched yet.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::progress::Progress;

use crate::ReleaseError;
use crate::child::{self, Ended};
use crate::command::run_as;
use crate::identity::Identity;
use crate::secrets::Secrets;

const CHECK: &str = include_str!("../python/check.py");

/// A finding of Django's of this level or above is an error (`django.core.checks.ERROR`).
const ERROR: u32 = 40;

/// How much of what the application said stands in an error.
const LINES: usize = 20;

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
pub struct Request {
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
    #[serde(skip)]
    pub expected: Vec<u16>,
    #[serde(skip)]
    pub limit: Duration,
}

/// What the application answered, as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub interface: Interface,
    pub host: String,
    pub status: u16,
    /// Where it sent the client to.
    pub location: Option<String>,
}

/// What Django says of itself, where the site is Django's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Django {
    /// What `check --deploy` finds.
    pub checks: Vec<Finding>,
    /// Those that are due in the default database, as `app.name`.
    pub migrations: Vec<String>,
    /// Those of them that Django cannot take back.
    pub irreversible: Vec<String>,
    /// Those that were applied, ordered.
    #[serde(default)]
    pub applied: Vec<String>,
    /// Why there is no plan of migrations.
    pub unknown: Option<String>,
}

/// A message of Django's system check framework.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub level: u32,
    pub id: String,
    pub message: String,
}

/// What a release's application is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// None where it was only imported.
    pub answer: Option<Answer>,
    /// None where it was not asked for, or the site is not Django's.
    pub django: Option<Django>,
}

/// The check that did not pass.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("{application} cannot be imported: {error}")]
    Import { application: String, error: String, said: String },
    #[error("{application} failed over a request for {path}: {error}")]
    Request { application: String, path: String, error: String, said: String },
    #[error("{application} answered {path} with {status}{}, not {}", leading_to(location.as_ref()), list(expected))]
    Status {
        application: String,
        path: String,
        status: u16,
        location: Option<String>,
        expected: Vec<u16>,
        said: String,
    },
    #[error("{application} has errors by Django's own checks: {}", errors.join("; "))]
    Django { application: String, errors: Vec<String> },
    #[error("{application} had no answer for {path} after {} s", limit.as_secs())]
    Late { application: String, path: String, limit: Duration, said: String },
    #[error("{} cannot be started{}", python.display(), user.map(|user| format!(" by the user {user}")).unwrap_or_default())]
    Start { python: PathBuf, user: Option<u32>, source: std::io::Error },
    #[error("the Python of the release ended over {application} without an answer ({status})")]
    Ended { application: String, status: String, said: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Reply {
    Answer(Answer),
    Imported { imported: bool },
    Failed { stage: String, error: String },
}

/// Asks the application of the install at `install`, whose code is in `code`.
pub fn check(
    install: &Path,
    code: &Path,
    request: &Request,
    identity: Option<&Identity>,
    progress: &dyn Progress,
) -> Result<Checked, ReleaseError> {
    let python = install.join("venv/bin/python");
    let (mut stdin, stdout, stderr) = (scratch()?, scratch()?, scratch()?);
    let question = serde_json::to_vec(request).map_err(std::io::Error::from);
    question
        .and_then(|question| stdin.write_all(&question))
        .and_then(|()| stdin.seek(SeekFrom::Start(0)).map(drop))
        .map_err(ReleaseError::io("ask", &python))?;
    let share = |file: &std::fs::File| file.try_clone().map_err(ReleaseError::io("run", &python));
    let mut command = Command::new(&python);
    command.args(["-c", CHECK]).current_dir(code);
    // What it opens on its way, a log say, must be its own when it is served.
    run_as(&mut command, identity);
    command.stdin(stdin).stdout(share(&stdout)?).stderr(share(&stderr)?);
    let ended = child::run(&mut command, request.limit, progress).map_err(|source| CheckError::Start {
        python: fs::canonicalize(&python).unwrap_or(python),
        user: identity.and_then(|identity| identity.user),
        source,
    })?;
    let secrets = Secrets::of(install);
    let said = || last_lines(&secrets.hide(&read(stderr)));
    let application = request.application.clone();
    let path = request.path.clone();
    let heard = read(stdout);
    let mut lines = heard.lines();
    let reply = serde_json::from_str(lines.next().unwrap_or_default());
    let status = match ended {
        Ended::Cancelled => return Err(ReleaseError::Cancelled),
        // The page came; that Django has not come to an end with its database is no reason to fail.
        Ended::Late if reply.is_ok() => String::new(),
        Ended::Late => {
            return Err(CheckError::Late { application, path, limit: request.limit, said: said() }.into());
        }
        Ended::By(status) => status.to_string(),
    };
    let mut good = |answer| {
        let django: Option<Django> = lines.next().and_then(|line| serde_json::from_str(line).ok());
        let django = django.map(|django| django.without(&secrets));
        let errors = django.as_ref().map(Django::errors).unwrap_or_default();
        let application = request.application.clone();
        match errors.is_empty() {
            true => Ok(Checked { answer, django }),
            false => Err(CheckError::Django { application, errors }.into()),
        }
    };
    match reply {
        Ok(Reply::Answer(answer)) if request.expected.contains(&answer.status) => good(Some(answer)),
        Ok(Reply::Imported { imported: true }) => good(None),
        Ok(Reply::Answer(Answer { status, location, .. })) => {
            let expected = request.expected.clone();
            Err(CheckError::Status { application, path, status, location, expected, said: said() }.into())
        }
        Ok(Reply::Failed { stage, error }) => {
            let error = secrets.hide(&error);
            Err(match stage.as_str() {
                "import" => CheckError::Import { application, error, said: said() },
                _ => CheckError::Request { application, path, error, said: said() },
            }
            .into())
        }
        Ok(Reply::Imported { .. }) | Err(_) => {
            Err(CheckError::Ended { application, status, said: said() }.into())
        }
    }
}

impl Django {
    fn errors(&self) -> Vec<String> {
        self.checks.iter().filter(|finding| finding.level >= ERROR).map(ToString::to_string).collect()
    }

    fn without(mut self, secrets: &Secrets) -> Self {
        self.checks.iter_mut().for_each(|finding| finding.message = secrets.hide(&finding.message));
        self.unknown = self.unknown.map(|reason| secrets.hide(&reason));
        self
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let space = if self.id.is_empty() { "" } else { " " };
        write!(formatter, "{}{space}{}", self.id, self.message)
    }
}

impl CheckError {
    /// What the application said on stderr, its last lines; without secrets.
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Import { said, .. } | Self::Request { said, .. } | Self::Ended { said, .. } => Some(said),
            Self::Status { said, .. } | Self::Late { said, .. } => Some(said),
            Self::Django { .. } | Self::Start { .. } => None,
        }
    }

    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Import { .. } | Self::Ended { .. } => {
                "nothing was switched; is a setting missing in ROOT/shared/environment.json?"
            }
            Self::Request { .. } | Self::Late { .. } => {
                "nothing was switched; `[tool.wheelbarrow.release.check]` says which path is asked, and how long"
            }
            Self::Start { .. } => {
                "nothing was switched; whoever serves must be able to run this Python, and to enter every directory above it"
            }
            Self::Django { .. } => {
                "nothing was switched; `wheelbarrow exec --release ID -- django-admin check --deploy` says more, \
                 SILENCED_SYSTEM_CHECKS lets some pass"
            }
            Self::Status { status: 400, .. } => {
                "nothing was switched; Django answers so to a host that ALLOWED_HOSTS does not name: \
                 `[tool.wheelbarrow.release.check] host` says which is asked"
            }
            Self::Status { .. } => {
                "nothing was switched; `[tool.wheelbarrow.release.check] expected` says which statuses are right"
            }
        }
    }
}

fn leading_to(location: Option<&String>) -> String {
    location.map(|location| format!(" to {location}")).unwrap_or_default()
}

fn list(statuses: &[u16]) -> String {
    statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ")
}

/// A file without a name, in memory.
fn scratch() -> Result<std::fs::File, ReleaseError> {
    let file = rustix::fs::memfd_create("wheelbarrow-check", rustix::fs::MemfdFlags::CLOEXEC);
    file.map(Into::into)
        .map_err(|errno| ReleaseError::io("make a file in", Path::new("memory"))(errno.into()))
}

fn read(mut file: std::fs::File) -> String {
    let mut bytes = Vec::new();
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use wheelbarrow_artifact::progress::Silent;

    use super::*;

    const APPLICATIONS: &str = r#"
import os, sys, time

def fine(environ, start_response):
    print("not for stdout")
    start_response("200 OK", [])
    return [environ["HTTP_HOST"].encode()]

def elsewhere(environ, start_response):
    start_response("301 Moved Permanently", [("Location", "/login/")])
    return []

def telling(environ, start_response):
    raise ValueError("cannot reach postgres://site:correct-horse@db")

def failing(environ, start_response):
    environ["wsgi.errors"].write("no such table, correct-horse\n")
    start_response("500 Internal Server Error", [])
    return []

def slow(environ, start_response):
    environ["wsgi.errors"].write("waiting for the database\n")
    environ["wsgi.errors"].flush()
    time.sleep(60)

def leaving(environ, start_response):
    os._exit(4)

def make():
    return fine

async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"#;

    /// As much of Django as is asked for what it says; the demonstration asks a real one.
    const DJANGO: &str = r#"
import sys, types

def module(name, **members):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(members)

class Told:
    def __init__(self, **members):
        self.__dict__.update(members)

    def is_silenced(self):
        return self.level < 20

def run_checks(include_deployment_checks):
    told = [Told(level=30, id="security.W004", msg="No\n  HSTS"), Told(level=10, id="a", msg="b")]
    return told + [Told(level=40, id="x.E1", msg="bad correct-horse")] * LEVEL_ERROR

class Executor:
    def __init__(self, connection):
        self.loader = Told(graph=Told(leaf_nodes=list), applied_migrations={("blog", "0001"): None})

    def migration_plan(self, leaves):
        one = Told(app_label="blog", name="0002", operations=[Told(reversible=False)])
        return [(one, False)]

module("django", setup=lambda: None)
module("django.conf", settings=Told(configured=True, ALLOWED_HOSTS=["example.org"]))
module("django.core", checks=Told(run_checks=run_checks))
module("django.db", DEFAULT_DB_ALIAS="default", connections={"default": None})
module("django.db.migrations")
module("django.db.migrations.executor", MigrationExecutor=Executor)
from applications import fine as application
"#;

    /// Asks one of the applications above, with a second of time.
    fn ask(name: &str) -> Result<Answer, String> {
        look(name).map(|checked| checked.answer.expect("it was asked"))
    }

    fn look(name: &str) -> Result<Checked, String> {
        let place = tempfile::tempdir().unwrap();
        let (bin, code) = (place.path().join("venv/bin"), place.path().join("site"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(&code).unwrap();
        let python = std::process::Command::new("python3")
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .unwrap();
        let python = String::from_utf8(python.stdout).unwrap();
        std::os::unix::fs::symlink(python.trim(), bin.join("python")).unwrap();
        fs::write(code.join("applications.py"), APPLICATIONS).unwrap();
        fs::write(code.join("broken.py"), "import no_such_module\n").unwrap();
        for (name, errors) in [("warns", "0"), ("errs", "1")] {
            fs::write(code.join(format!("{name}.py")), DJANGO.replace("LEVEL_ERROR", errors)).unwrap();
        }
        fs::write(place.path().join("environment.json"), r#"{"DB_PASSWORD": "correct-horse"}"#).unwrap();
        let request = Request {
            application: name.to_owned(),
            interface: None,
            path: "/".to_owned(),
            host: None,
            scheme: "https".to_owned(),
            ask: true,
            django: true,
            expected: vec![200, 204],
            limit: Duration::from_secs(if name.ends_with("slow") { 1 } else { 60 }),
        };
        check(place.path(), &code, &request, None, &Silent).map_err(|error| {
            let ReleaseError::Check { error: check } = &error else { panic!("{error}") };
            let said = check.said().and_then(|said| said.lines().last()).unwrap_or_default();
            format!("{check}\n{said}\nhint: {}", error.hint().unwrap_or_default())
        })
    }

    #[test]
    fn applications_are_asked_in_their_own_way() {
        let answer =
            |interface, status| Answer { interface, host: "localhost".to_owned(), status, location: None };
        assert_eq!(ask("applications:fine").unwrap(), answer(Interface::Wsgi, 200));
        assert_eq!(ask("applications:make()").unwrap(), answer(Interface::Wsgi, 200));
        assert_eq!(ask("applications:asgi").unwrap(), answer(Interface::Asgi, 204));
    }

    #[test]
    fn what_does_not_answer_as_it_should_is_told_without_secrets() {
        let names = ["broken", "missing", "telling", "elsewhere", "failing", "slow", "leaving"];
        let told = names.map(|name| match name {
            "broken" => ask(name).unwrap_err(),
            name => ask(&format!("applications:{name}")).unwrap_err(),
        });
        insta::assert_snapshot!(told.join("\n\n"));
    }

    #[test]
    fn whoever_cannot_start_the_python_is_told_who_that_is() {
        if !rustix::process::getuid().is_root() {
            println!("skipped: only root runs it as somebody else");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        fs::create_dir_all(place.path().join("venv/bin")).unwrap();
        fs_err::os::unix::fs::symlink("/bin/sh", place.path().join("venv/bin/python")).unwrap();
        let identity = Identity { user: Some(65534), group: Some(65534), home: "/".to_owned() };
        let request = Request {
            application: "site".to_owned(),
            interface: None,
            path: "/".to_owned(),
            host: None,
            scheme: "https".to_owned(),
            ask: true,
            django: false,
            expected: vec![200],
            limit: Duration::from_secs(60),
        };
        let error = check(place.path(), place.path(), &request, Some(&identity), &Silent).unwrap_err();
        assert!(error.to_string().ends_with(" cannot be started by the user 65534"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("run this Python")));
        assert_eq!(error.exit_code(), 1, "which becomes 11 in a deploy");
    }

    #[test]
    fn django_says_what_it_finds_and_what_is_due() {
        let checked = look("warns").unwrap();
        assert_eq!(checked.answer.unwrap().host, "example.org");
        let warning = Finding { level: 30, id: "security.W004".to_owned(), message: "No HSTS".to_owned() };
        let (due, applied) = (vec!["blog.0002".to_owned()], vec!["blog.0001".to_owned()]);
        let said = Django {
            checks: vec![warning],
            migrations: due.clone(),
            irreversible: due,
            applied,
            unknown: None,
        };
        assert_eq!(checked.django, Some(said));
        assert_eq!(look("applications:fine").unwrap().django, None);
        let error = look("errs").unwrap_err();
        let first = error.lines().next().unwrap_or_default();
        assert_eq!(first, "errs has errors by Django's own checks: x.E1 bad ***");
    }
}
