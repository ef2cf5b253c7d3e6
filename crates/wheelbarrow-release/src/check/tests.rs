//! Applications that answer, and applications that do not.

use fs_err as fs;
use wheelbarrow_base::Explain;
use wheelbarrow_base::progress::Silent;

use super::*;

const APPLICATIONS: &str = r#"
import os, sys, time, traceback

def fine(environ, start_response):
    print("not for stdout")
    start_response("200 OK", [])
    return [environ["HTTP_HOST"].encode()]

def elsewhere(environ, start_response):
    start_response("301 Moved Permanently", [("Location", "/login/")])
    return []

def handing_over(environ, start_response):
    start_response("302 Found", [("Location", "https://id.example.org/?next=/&client_secret=correct-horse")])
    return []

def going_on(environ, start_response):
    raise ValueError("." * 995 + "correct-horse")

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

async def keeping(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["status"] = 204
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    await send({"type": "http.response.start", "status": scope["state"]["status"], "headers": []})
    await send({"type": "http.response.body", "body": b""})

def plain(scope, receive, send):
    return asgi(scope, receive, send)

async def closed(scope, receive, send):
    await receive()
    try:
        open("/nowhere/db")
    except OSError:
        await send({"type": "lifespan.startup.failed", "message": traceback.format_exc()})
        raise

async def silent(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "OperationalError\nConnectionError: no pool\n"})
    await receive()

def chained(environ, start_response):
    try:
        open("/nowhere/site.log")
    except OSError as error:
        raise ValueError("Unable to configure handler 'file'") from error

def repeating(environ, start_response):
    raise ValueError("no table") from KeyError("table")

def refusing(environ, start_response):
    start_response("400 Bad Request", [])
    return []

def wrapping(environ, start_response):
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](environ["wsgi.input"])

def proxied(environ, start_response):
    return environ["REMOTE_USER"]

def unset(environ, start_response):
    return os.environ["SITE_KEY"]

def newer(environ, start_response):
    exec("f(:")
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
    told += [Told(level=40, id="x.E1", msg="bad correct-horse")] * LEVEL_ERROR
    return told + [Told(level=40, id="x.E2", msg="as it should be")]

class Executor:
    def __init__(self, connection):
        self.loader = Told(graph=Told(leaf_nodes=list), applied_migrations={("blog", "0001"): None})

    def migration_plan(self, leaves):
        one = Told(app_label="blog", name="0002", operations=[Told(reversible=False)])
        return [(one, False)]

module("django", setup=lambda: None)
module("django.conf", settings=Told(
    configured=True,
    ALLOWED_HOSTS=["example.org"],
    MEDIA_ROOT="media",
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"},
        "shared": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/var/lib/db.sqlite3"},
        "tests": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
        "memory": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:memory.db?mode=memory&cache=shared"},
        "archive": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:old%20archive.db?timeout=3"},
        "frozen": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:frozen.db?mode=ro"},
        "server": {"ENGINE": "django.db.backends.postgresql", "NAME": "media/db"},
    },
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "cache"},
        "files": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "cache"},
        "tmp": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "/var/tmp/cache"},
    },
    SESSION_ENGINE="django.contrib.sessions.backends.file",
    SESSION_FILE_PATH="sessions",
    LOGGING={"handlers": {"file": {"filename": "debug.log"}, "console": {"class": "logging.StreamHandler"}}},
))
module("django.core", checks=Told(run_checks=run_checks))
module("django.db", DEFAULT_DB_ALIAS="default", connections={"default": None})
module("django.db.migrations")
module("django.db.migrations.executor", MigrationExecutor=Executor)
from applications import fine as application
"#;

/// Asks one of the applications above, with a second of time.
fn ask(name: &str) -> Result<ApplicationAnswer, String> {
    ask_expecting(name, &[200, 204])
}

fn ask_expecting(name: &str, expected: &[u16]) -> Result<ApplicationAnswer, String> {
    look_expecting(name, expected).map(|checked| checked.answer.expect("it was asked"))
}

fn look(name: &str) -> Result<CheckedApplication, String> {
    look_expecting(name, &[200, 204])
}

fn look_expecting(name: &str, expected: &[u16]) -> Result<CheckedApplication, String> {
    let place = tempfile::tempdir().unwrap();
    let (bin, code) = (place.path().join("venv/bin"), place.path().join("site"));
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir(&code).unwrap();
    let python = std::process::Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .unwrap();
    let python = String::from_utf8(python.stdout).unwrap();
    fs::write(code.join("db.sqlite3"), "").unwrap();
    std::os::unix::fs::symlink(python.trim(), bin.join("python")).unwrap();
    fs::write(code.join("applications.py"), APPLICATIONS).unwrap();
    fs::write(code.join("broken.py"), "import no_such_module\n").unwrap();
    for (name, errors) in [("warns", "0"), ("errs", "1")] {
        fs::write(code.join(format!("{name}.py")), DJANGO.replace("LEVEL_ERROR", errors)).unwrap();
    }
    fs::write(code.join("fresh.py"), DJANGO.replace("LEVEL_ERROR", "0").replace("db.sqlite3", "new.db"))
        .unwrap();
    fs::write(place.path().join("environment.json"), r#"{"DB_PASSWORD": "correct-horse"}"#).unwrap();
    let request = CheckRequest {
        application: name.to_owned(),
        interface: None,
        path: "/".to_owned(),
        host: None,
        scheme: "https".to_owned(),
        ask: true,
        django: true,
        install: place.path().to_path_buf(),
        expected: expected.to_vec(),
        allow: vec!["x.E2=known".to_owned().try_into().unwrap()],
        limit: Duration::from_secs(if name.ends_with("slow") { 1 } else { 60 }),
    };
    let log = place.path().join(".wheelbarrow/logs/check.log");
    check(place.path(), &code, &request, &SiteUser::default(), Some(&log), None, &Silent).map_err(|error| {
        let ReleaseError::Check { error: check } = &error else { panic!("{error}") };
        let output = check.output().and_then(|output| output.lines().last()).unwrap_or_default();
        format!(
            "{check}\n{output}\nhint: {}",
            error.hint().unwrap_or_default().replace(&place.path().display().to_string(), "[INSTALL]")
        )
    })
}

#[test]
fn an_answer_is_shown_without_secrets() {
    let error = ask("applications:handing_over").unwrap_err();
    assert!(error.contains("302 to https://id.example.org/?next=/&client_secret=***,"), "{error}");
    let answer = ask_expecting("applications:handing_over", &[302]).unwrap();
    assert_eq!(answer.location.as_deref(), Some("https://id.example.org/?next=/&client_secret=***"));
    // It is cut only once secrets are hidden.
    let error = ask("applications:going_on").unwrap_err();
    assert!(!error.contains("corr"), "{error}");
}

#[test]
fn applications_are_asked_in_their_own_way() {
    let answer = |interface, status| ApplicationAnswer {
        interface,
        host: "localhost".to_owned(),
        status,
        location: None,
        raised: None,
    };
    assert_eq!(ask("applications:fine").unwrap(), answer(Interface::Wsgi, 200));
    assert_eq!(ask("applications:make()").unwrap(), answer(Interface::Wsgi, 200));
    assert_eq!(ask("applications:wrapping").unwrap(), answer(Interface::Wsgi, 200));
    assert_eq!(ask("applications:asgi").unwrap(), answer(Interface::Asgi, 204));
    assert_eq!(ask("applications:plain").unwrap(), answer(Interface::Asgi, 204));
    assert_eq!(ask("applications:keeping").unwrap(), answer(Interface::Asgi, 204));
}

#[test]
fn an_application_that_does_not_start_says_why() {
    insta::assert_snapshot!(
        ["closed", "silent"].map(|name| ask(&format!("applications:{name}")).unwrap_err()).join("\n\n")
    );
}

#[test]
fn wrong_answers_are_reported_without_secrets() {
    let names = ["broken", "missing", "telling", "elsewhere", "failing", "slow", "leaving"];
    let told = names.map(|name| match name {
        "broken" => ask(name).unwrap_err(),
        name => ask(&format!("applications:{name}")).unwrap_err(),
    });
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn errors_name_their_first_cause() {
    let error = |name| ask(&format!("applications:{name}")).unwrap_err();
    let chained = error("chained");
    assert!(chained.contains("handler 'file' (applications.py, line "), "{chained}");
    assert!(chained.contains("; caused by FileNotFoundError: [Errno 2] No such file"), "{chained}");
    let repeating = error("repeating");
    assert!(repeating.contains("ValueError: no table (") && repeating.contains("by KeyError"), "{repeating}");
    assert!(!error("telling").contains("caused by"));
    assert!(
        error("refusing").contains("hint: nothing was switched; `[release.check] path` selects another page")
    );
    let (proxied, unset) = (error("proxied"), error("unset"));
    assert!(proxied.contains("the exception is in the code") && !proxied.contains("missing"), "{proxied}");
    assert!(unset.contains("is a setting missing in ROOT/shared/environment.json?"), "{unset}");
    assert!(error("newer").contains("a newer Python than that of the release"), "{}", error("newer"));
}

#[test]
fn an_interpreter_that_cannot_start_is_reported_with_its_user() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root runs it as somebody else");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    fs::create_dir_all(place.path().join("venv/bin")).unwrap();
    fs_err::os::unix::fs::symlink("/bin/sh", place.path().join("venv/bin/python")).unwrap();
    let identity =
        Identity { user: Some(65534), group: Some(65534), name: "65534".to_owned(), home: "/".to_owned() };
    let site = SiteUser { identity: Some(&identity), ..SiteUser::default() };
    let request = CheckRequest {
        application: "site".to_owned(),
        interface: None,
        path: "/".to_owned(),
        host: None,
        scheme: "https".to_owned(),
        ask: true,
        django: false,
        install: place.path().to_path_buf(),
        expected: vec![200],
        allow: Vec::new(),
        limit: Duration::from_secs(60),
    };
    let error = check(place.path(), place.path(), &request, &site, None, None, &Silent).unwrap_err();
    assert!(error.to_string().ends_with(" cannot be started by the user 65534"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("run this Python")));
    assert_eq!(error.exit_code(), 1, "which becomes 11 in a deploy");
}

#[test]
fn django_reports_findings_and_pending_migrations() {
    let checked = look("warns").unwrap();
    assert_eq!(checked.answer.unwrap().host, "example.org");
    let finding = |level, id: &str, message: &str, is_allowed| CheckMessage {
        level,
        id: id.to_owned(),
        message: message.to_owned(),
        is_allowed,
    };
    let warning = finding(30, "security.W004", "No HSTS", false);
    let allowed = finding(40, "x.E2", "as it should be", true);
    assert_eq!(allowed.to_string(), "x.E2 as it should be (allowed)");
    let (due, applied) = (vec!["blog.0002".to_owned()], vec!["blog.0001".to_owned()]);
    let said = DjangoReport {
        checks: vec![warning, allowed],
        migrations: due.clone(),
        irreversible: due,
        applied,
        unknown: None,
        broken: None,
        inside: [
            ("MEDIA_ROOT", "site/media", true),
            ("DATABASES.archive", "site/old archive.db", true),
            ("DATABASES.default", "site/db.sqlite3", true),
            ("CACHES.files", "site/cache", false),
            ("SESSION_FILE_PATH", "site/sessions", false),
            ("LOGGING.file", "site/debug.log", false),
        ]
        .map(|(setting, path, is_data)| WriteInRelease {
            setting: setting.to_owned(),
            path: path.to_owned(),
            is_data,
        })
        .into(),
        settings: None,
    };
    assert_eq!(checked.django, Some(said));
    assert_eq!(look("applications:fine").unwrap().django, None);
    // SQLite would make a database that is not there.
    let fresh = look("fresh").unwrap().django.unwrap();
    assert_eq!(fresh.unknown.as_deref(), Some("site/new.db is not there yet"));
    assert!(fresh.migrations.is_empty());
    let error = look("errs").unwrap_err();
    let first = error.lines().next().unwrap_or_default();
    assert_eq!(first, "errs has errors in Django's checks: x.E1 bad ***");
}

#[test]
fn an_answer_has_a_bounded_number_of_findings() {
    let finding = CheckMessage { level: 0, id: String::new(), message: String::new(), is_allowed: false };
    let inside = WriteInRelease { setting: String::new(), path: "x".to_owned(), is_data: true };
    let said = DjangoReport {
        checks: vec![finding; 5000],
        inside: vec![inside; 5000],
        migrations: vec![String::new(); 5000],
        ..DjangoReport::default()
    };
    let bounded = said.bounded();
    assert_eq!((bounded.checks.len(), bounded.inside.len(), bounded.migrations.len()), (1000, 1000, 5000));
}
