//! Errors of the check, with hints.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use wheelbarrow_artifact::release::DATA_IN_RELEASE;

use crate::check::writes_in_release::WriteInRelease;

#[derive(thiserror::Error)]
pub enum CheckError {
    #[error("{}", explained(application, path, fault))]
    Failed {
        application: String,
        /// What it was asked for.
        path: String,
        fault: CheckFault,
        /// The last lines that the application wrote to stderr; without secrets.
        output: String,
        /// Where the rest of that is.
        log: Option<PathBuf>,
    },
    #[error("no application found")]
    NoApplication,
    #[error("several applications found, and none named: {}", applications.join(" or "))]
    SeveralApplications { applications: Vec<String> },
    #[error("the site would write its data into the release, and lose it with the next one: {}", named(data))]
    DataInRelease {
        data: Vec<WriteInRelease>,
        /// What `shared` must be, as TOML; none if no path can be shared.
        shared: Option<String>,
    },
    #[error("{} cannot be started{}", python.display(), user.map(|user| format!(" by the user {user}")).unwrap_or_default())]
    Start { python: PathBuf, user: Option<u32>, source: std::io::Error },
}

wheelbarrow_base::debug_error!(CheckError);

impl CheckError {
    /// Whether the application was imported, and did not answer as it should.
    pub(crate) fn is_of_answer(&self) -> bool {
        use CheckFault::{Ended, Request, Status};
        matches!(self, Self::Failed { fault: Request { .. } | Status { .. } | Ended { .. }, .. })
    }
}

/// What an application did instead of answering as it should.
#[derive(Debug)]
pub enum CheckFault {
    /// It cannot be imported.
    Import {
        error: String,
    },
    /// It raised an exception over the request.
    Request {
        error: String,
    },
    /// It gave another answer.
    Status {
        status: u16,
        location: Option<String>,
        expected: Vec<u16>,
        /// The exception that Django answered so to.
        raised: Option<String>,
    },
    /// Django's own checks found errors.
    Django {
        errors: Vec<String>,
    },
    /// Django's own checks raised an exception.
    Checks {
        error: String,
    },
    Late {
        limit: Duration,
    },
    /// Its process ended.
    Ended {
        status: String,
    },
}

/// `DATABASES.default is code/db.sqlite3`
/// How many paths an error names.
const NAMED: usize = 10;

fn named(data: &[WriteInRelease]) -> String {
    let name = |WriteInRelease { setting, path, .. }: &WriteInRelease| match setting == path {
        true => path.clone(),
        false => format!("{setting} is {path}"),
    };
    let (first, others) = data.split_at(data.len().min(NAMED));
    let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    first.iter().map(name).collect::<Vec<_>>().join(", ") + &more
}

fn explained(application: &str, path: &str, fault: &CheckFault) -> String {
    match fault {
        CheckFault::Import { error } => format!("{application} cannot be imported: {error}"),
        CheckFault::Request { error } => format!("{application} raised an exception for {path}: {error}"),
        CheckFault::Status { status, location, expected, raised } => {
            let to = location.as_ref().map(|location| format!(" to {location}")).unwrap_or_default();
            let why = raised.as_ref().map(|raised| format!(": {raised}")).unwrap_or_default();
            let expected = expected.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ");
            format!("{application} answered {path} with {status}{to}, not {expected}{why}")
        }
        CheckFault::Django { errors } => {
            format!("{application} has errors in Django's checks: {}", errors.join("; "))
        }
        CheckFault::Checks { error } => format!("Django's checks of {application} failed: {error}"),
        CheckFault::Late { limit } => {
            format!("{application} did not answer {path} in {} s", limit.as_secs())
        }
        CheckFault::Ended { status } => {
            format!("the Python of the release ended in the check of {application} ({status})")
        }
    }
}

impl CheckError {
    /// What the application said on stderr, its last lines; without secrets.
    pub fn output(&self) -> Option<&str> {
        match self {
            // Findings are in the error already.
            Self::Failed { fault: CheckFault::Django { .. }, .. } | Self::Start { .. } => None,
            Self::NoApplication | Self::SeveralApplications { .. } | Self::DataInRelease { .. } => None,
            Self::Failed { output, .. } => Some(output),
        }
    }

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Start { .. } => {
                "nothing was switched; the site's user must be able to run this Python, and to enter every directory above it"
                    .to_owned()
            }
            Self::NoApplication | Self::SeveralApplications { .. } => {
                "nothing was switched; `[release] application = \"PACKAGE.wsgi:application\"` names it, \
                 `check = false` leaves the check out"
                    .to_owned()
            }
            Self::DataInRelease { data, shared } => {
                let mend = match shared {
                    Some(shared) => format!(
                        "`shared = {shared}` in `[release]` keeps it in ROOT/shared, for all releases"
                    ),
                    None => "set a path below the code, other than the code itself, and name it in `[release] shared`"
                        .to_owned(),
                };
                let first = data.first().map(|inside| inside.setting.as_str()).unwrap_or_default();
                format!(
                    "nothing was switched, and no command has run; {mend}; \
                     `[release.check] allow = [\"{DATA_IN_RELEASE}:{first}=REASON\"]` accepts it"
                )
            }
            Self::Failed { fault: fault @ CheckFault::Import { .. }, output, log, .. } if !output.is_empty() => {
                let log = log.as_ref().map(|log| format!("; the full output of the check is in {}", log.display()));
                format!(
                    "nothing was switched{}; {fault} (`[release] application` names another application)",
                    log.unwrap_or_default()
                )
            }
            Self::Failed { fault, output, log, .. } => {
                let log = log.as_ref().filter(|_| !output.is_empty());
                let whole = log.map(|log| format!("; the full output of the check is in {}", log.display()));
                let is_missing = |text: &str| text.contains("no such table") || text.contains("UndefinedTable");
                let cause = match is_missing(output) || is_missing(&self.to_string()) {
                    true => MISSING_TABLE.to_owned(),
                    false => fault.to_string(),
                };
                format!("nothing was switched{}; {cause}", whole.unwrap_or_default())
            }
        }
    }
}

const MISSING_TABLE: &str = "a table is missing: `prepare` has the command that migrates, or \
    `wheelbarrow exec --release ID -- flask init-db` (or the like) makes it";

/// What to do.
impl fmt::Display for CheckFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Import { error } | Self::Checks { error } | Self::Request { error } => cause(error),
            Self::Ended { .. } => "its process must not end by itself",
            Self::Late { .. } => {
                "`[release.check]` sets the path, and `[release.timeouts] check` the seconds"
            }
            Self::Django { .. } => {
                "`django-admin check --deploy` by `wheelbarrow exec --release` shows all findings, \
                 `[release.check] allow = [\"security.W004=reason\"]` accepts one"
            }
            Self::Status { raised: Some(error), .. } => cause(error),
            Self::Status { status: 400, .. } => {
                "`[release.check] path` selects another page; `host` sets the host, which Django refuses if ALLOWED_HOSTS \
                 does not name it"
            }
            Self::Status { status: 500.., .. } => {
                "the application failed: its own log has the reason; \
                 `[release.check] path` selects another page"
            }
            Self::Status { .. } => {
                "`[release.check] path` selects another page, `expected` allows other statuses"
            }
        })
    }
}

/// What the name of an exception tells.
fn cause(error: &str) -> &'static str {
    let name = error.split([':', ' ']).next().unwrap_or_default();
    match name.rsplit('.').next().unwrap_or_default() {
        // Up to Python 3.11 venv installs setuptools, which a release has only if it is required.
        "ModuleNotFoundError" if ["pkg_resources", "distutils"].iter().any(|name| error.contains(name)) => {
            "add `setuptools<81` to the requirements: it brings this module"
        }
        "ModuleNotFoundError" => "is the module in the code, or its package among the requirements?",
        "ImproperlyConfigured" | "KeyError" | "ValidationError" | "UndefinedValueError"
            if !["'HTTP_", "'REMOTE_", "'wsgi."].iter().any(|key| error.contains(key)) =>
        {
            "is a setting missing in ROOT/shared/environment.json?"
        }
        "OperationalError" | "ConnectionRefusedError" | "ConnectionError" | "gaierror" => {
            "is the service running, and its address in ROOT/shared/environment.json right?"
        }
        // The text of Python begins with the place.
        _ if error.contains("SyntaxError: ") => "the code may be for a newer Python than that of the release",
        "PermissionError" => "the site's user may not read or write this; is it below a `shared` path?",
        _ => "the exception is in the code of the release, or in what it uses",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_table_is_known_by_the_output_or_the_exception() {
        let hint = |output: &str, raised: Option<&str>| {
            let raised = raised.map(str::to_owned);
            let fault = CheckFault::Status { status: 500, location: None, expected: vec![200], raised };
            let (application, path) = ("flaskr:create_app()".to_owned(), "/".to_owned());
            CheckError::Failed { application, path, fault, output: output.to_owned(), log: None }.hint()
        };
        let missing = "nothing was switched; a table is missing: ";
        assert!(hint("sqlite3.OperationalError: no such table: post", None).starts_with(missing));
        assert!(hint("", Some("OperationalError: no such table: post")).starts_with(missing));
        assert!(!hint("", Some("OperationalError: could not connect")).contains("table"));
    }
}
