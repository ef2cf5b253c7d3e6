//! A Django site of several versions: its static files, its migrations, its settings. It needs uv and an index, or a
//! cache that was filled by an earlier run.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Place, Said, wheelbarrow};

const REQUIREMENTS: &str = "Django==4.2.16\nwhitenoise==6.6.0\n";

const MANAGE: &str = r#"
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
"#;

const SETTINGS: &str = r#"
import os
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["www.example.org"]
ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
INSTALLED_APPS = ["django.contrib.staticfiles", "mysite"]
MIDDLEWARE = ["whitenoise.middleware.WhiteNoiseMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "data" / "site.db"}}
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static"
STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
"#;

const URLS: &str = r#"
from django.http import HttpResponse
from django.templatetags.static import static
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse(static("site.css")))]
"#;

const WSGI: &str = r#"
import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = get_wsgi_application()
"#;

/// Asks the release in which it runs for a path; prints the status and the page.
const ASK: &str = "import django, sys; django.setup()
from django.test import Client
answer = Client(HTTP_HOST='www.example.org').get(sys.argv[1])
print(answer.status_code, answer.getvalue().decode())";

pub(crate) fn version(
    place: &Place,
    version: &str,
    settings: &str,
    migrations: &[(&str, &str)],
) -> Option<PathBuf> {
    write(place, version, settings, migrations);
    build(place, version)
}

pub(crate) fn write(place: &Place, version: &str, settings: &str, migrations: &[(&str, &str)]) {
    let _ = fs_err::remove_dir_all(place.path().join("project"));
    place.write("project/requirements.txt", REQUIREMENTS);
    for (path, text) in [
        ("manage.py", MANAGE),
        ("mysite/__init__.py", ""),
        ("mysite/settings.py", SETTINGS),
        ("mysite/urls.py", URLS),
        ("mysite/wsgi.py", WSGI),
        ("mysite/migrations/__init__.py", ""),
    ] {
        place.write(&format!("project/{path}"), text);
    }
    place.write("project/mysite/static/site.css", &format!("body {{ margin: {version}px }}"));
    for (name, operation) in migrations {
        let before = migrations.iter().take_while(|(other, _)| other != name).last();
        let before = before.map(|(before, _)| format!("('mysite', '{before}')")).unwrap_or_default();
        let text = format!(
            "from django.db import migrations\nclass Migration(migrations.Migration):\n    dependencies = [{before}]\n    \
             operations = [{operation}]\n"
        );
        place.write(&format!("project/mysite/migrations/{name}.py"), &text);
    }
    let text = format!(
        "name = 'mysite'\nversion = '{version}'\n[release]\nshared = ['data']\n\
         prepare = ['django-admin collectstatic --noinput', 'django-admin migrate --noinput']\n{settings}\n"
    );
    place.write("project/wheelbarrow.toml", &text);
}

pub(crate) fn build(place: &Place, version: &str) -> Option<PathBuf> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let mut command = wheelbarrow(&place.path());
    let said = place.finish(command.args(["build", "project", "--cache-dir"]).arg(cache));
    if said.err.contains("uv was not found") || said.code == 9 || said.err.contains("Failed to fetch") {
        assert!(std::env::var_os("CI").is_none(), "CI must have uv and an index: {}", said.err);
        println!("skipped: {}", said.err.lines().next().unwrap_or_default());
        return None;
    }
    assert_eq!(said.code, 0, "{}", said.all());
    Some(place.path().join(format!("mysite-{version}.zip")))
}

pub(crate) fn place() -> Place {
    let place = Place::with(&[]);
    place.write("root/shared/environment.json", "{\"SECRET_KEY\": \"a-secret-of-the-test\"}");
    place
}

pub(crate) fn run(place: &Place, words: &[&str]) -> Said {
    place.finish(wheelbarrow(&place.path()).args(words).env("WHEELBARROW_ROOT", "root"))
}

pub(crate) fn deploy(place: &Place, artifact: &Path) {
    let artifact = artifact.display().to_string();
    let words = ["deploy", &artifact, "--without-pip"];
    let said = run(place, &words);
    assert_eq!(said.code, 0, "{}", said.all());
}

/// What a release answers.
fn ask(place: &Place, release: &str, path: &str) -> String {
    let said = run(place, &["exec", "--release", release, "--", "python", "-W", "ignore", "-c", ASK, path]);
    assert_eq!(said.code, 0, "{}", said.all());
    said.out.trim_end().to_owned()
}

/// The URL of the style sheet in the page of a release.
pub(crate) fn style(place: &Place, release: &str) -> String {
    ask(place, release, "/").strip_prefix("200 ").unwrap().to_owned()
}

/// Whether the live release has the file of a URL, as nginx would find it by `alias ROOT/current/mysite/static/`, and
/// serves it.
pub(crate) fn is_served(place: &Place, live: &str, url: &str) -> bool {
    let file = place.path().join("root/current/mysite").join(url.trim_start_matches('/'));
    let answer = ask(place, live, url);
    assert_eq!(file.exists(), answer.starts_with("200 body"), "{answer}");
    file.exists()
}

#[test]
fn static_files_of_the_version_before_stay_reachable() {
    let place = place();
    let mut urls = Vec::new();
    for number in ["1", "2", "3"] {
        let Some(artifact) = version(&place, number, "", &[]) else { return };
        deploy(&place, &artifact);
        urls.push(style(&place, number));
        let reachable: Vec<bool> = urls.iter().map(|url| is_served(&place, number, url)).collect();
        let expected = if number == "3" { vec![false, true, true] } else { vec![true; urls.len()] };
        assert_eq!(reachable, expected, "{urls:?}");
    }
    assert!(urls[0].starts_with("/static/site.") && urls[0] != urls[1], "{urls:?}");

    // Another environment is no other version.
    place.write("secret", "another-secret-of-the-test");
    let secret = fs_err::File::open(place.path().join("secret")).unwrap().into_parts().0;
    let mut set = wheelbarrow(&place.path());
    let said = place.finish(set.args(["env", "set", "SECRET_KEY", "--root", "root"]).stdin(secret));
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(style(&place, "4"), urls[2]);
    assert!(is_served(&place, "4", &urls[1]) && is_served(&place, "4", &urls[2]));

    // Back to 2 by 3: its own, and what the browsers have of 3.
    for to in ["3", "2"] {
        let said = run(&place, &["rollback"]);
        assert_eq!(said.code, 0, "{}", said.all());
        assert!(is_served(&place, to, &urls[1]) && is_served(&place, to, &urls[2]), "{to}");
    }
    let Some(artifact) = version(&place, "5", "keep_static = 0", &[]) else { return };
    deploy(&place, &artifact);
    assert!(!is_served(&place, "5", &urls[1]));
}

#[test]
fn a_rollback_is_refused_after_irreversible_migrations() {
    let place = place();
    let first = ("0001_first", "migrations.RunSQL('CREATE TABLE a (x)', 'DROP TABLE a')");
    let second = ("0002_second", "migrations.RunSQL('CREATE TABLE b (x)', 'DROP TABLE b')");
    let third = ("0003_third", "migrations.RunSQL('DROP TABLE a')");
    let steps = [vec![first], vec![first, second], vec![first, second, third]];
    for (number, migrations) in ["1", "2", "3"].iter().zip(&steps) {
        let Some(artifact) = version(&place, number, "", migrations) else { return };
        deploy(&place, &artifact);
        if *number == "2" {
            // What can be taken back stands in nobody's way, and is not taken back.
            let said = run(&place, &["rollback"]);
            let kept = "the database keeps migrations that were applied since 1-";
            assert!(said.code == 0 && said.err.contains(kept), "{}", said.all());
            assert!(said.err.contains("was live: mysite.0002_second\n"), "{}", said.all());
            assert_eq!(run(&place, &["activate", "2"]).code, 0);
        }
    }
    let said = run(&place, &["rollback"]);
    assert!(said.code == 16 && said.err.contains("mysite.0003_third"), "{}", said.all());
    assert!(!said.err.contains("0002_second"), "{}", said.all());
    assert_eq!(run(&place, &["rollback", "--dry-run"]).code, 16);
    let said = run(&place, &["rollback", "--force"]);
    assert!(said.code == 0 && said.out.starts_with("2-"), "{}", said.all());
    // Only what was applied since counts.
    assert_eq!(run(&place, &["rollback"]).code, 16, "1 was live before 3");
    let said = run(&place, &["exec", "--", "django-admin", "showmigrations", "--plan"]);
    assert!(said.code == 0 && said.out.contains("0002_second"), "{}", said.all());
}

#[test]
fn other_settings_for_commands_than_for_the_application_are_noted() {
    let place = place();
    let other = "settings = 'django.conf.global_settings'";
    let Some(artifact) = version(&place, "1", other, &[]) else { return };
    let artifact = artifact.display().to_string();
    let words = ["deploy", &artifact, "--without-pip"];
    let note = "the application uses the settings mysite.settings, commands use django.conf.global_settings";
    let said = run(&place, &words);
    assert!(said.code == 12 && said.err.contains(note), "{}", said.all());
    let both = "{\"SECRET_KEY\": \"a-secret-of-the-test\", \"DJANGO_SETTINGS_MODULE\": \"mysite.settings\"}";
    place.write("root/shared/environment.json", both);
    let said = run(&place, &words);
    assert!(said.code == 0 && !said.err.contains("the application uses"), "{}", said.all());
}

#[test]
fn the_applied_migrations_are_reported() {
    let place = place();
    let first = ("0001_first", "migrations.RunSQL('CREATE TABLE a (x)', 'DROP TABLE a')");
    let second = ("0002_second", "migrations.RunSQL('CREATE TABLE b (x)', 'DROP TABLE b')");
    let fingerprint = || {
        let said = run(&place, &["status", "--schema", "--json"]);
        serde_json::from_str::<serde_json::Value>(&said.out).unwrap()["fingerprint"].clone()
    };
    let mut seen = Vec::new();
    for (number, migrations) in [("1", vec![first]), ("2", vec![first, second])] {
        let Some(artifact) = version(&place, number, "", &migrations) else { return };
        deploy(&place, &artifact);
        seen.push(fingerprint());
    }
    let names: Vec<_> = seen[0]["distributions"].as_array().unwrap().iter().collect();
    assert!(names.iter().any(|name| **name == "django==4.2.16"), "{names:?}");
    assert_eq!(seen[0]["dependencies"], seen[1]["dependencies"]);
    assert_ne!(seen[0]["code"], seen[1]["code"]);
    let schema = |place: usize| (&seen[place]["schema"]["applied"], &seen[place]["schema"]["due"]);
    assert_eq!(schema(0), (&serde_json::json!(1), &serde_json::json!([])));
    assert_eq!(schema(1).0, 2);
    assert_ne!(seen[0]["schema"]["sha256"], seen[1]["schema"]["sha256"]);

    // The release before, with the database as it is now; and a database that is behind.
    assert_eq!(run(&place, &["rollback"]).code, 0);
    assert_eq!(fingerprint()["schema"]["sha256"], seen[1]["schema"]["sha256"]);
    assert_eq!(run(&place, &["activate", "2"]).code, 0);
    let said = run(&place, &["exec", "--", "django-admin", "migrate", "mysite", "0001"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(fingerprint()["schema"]["due"], serde_json::json!(["mysite.0002_second"]));
    assert!(
        run(&place, &["status", "--schema"]).out.contains("1 migration applied, pending: mysite.0002_second")
    );
    let said = run(&place, &["migrate", "2", "--json"]);
    assert!(said.code == 0 && said.out.contains("\"mysite.0002_second\""), "{}", said.all());
    assert_eq!(fingerprint()["schema"], seen[1]["schema"]);
}

/// A migration that failed is in no database.
#[test]
fn unapplied_migrations_do_not_stop_a_rollback() {
    let place = place();
    let first = ("0001_first", "migrations.RunSQL('CREATE TABLE a (x)', 'DROP TABLE a')");
    let failing = ("0002_failing", "migrations.RunPython(lambda apps, editor: 1 / 0)");
    for number in ["1", "2"] {
        let Some(artifact) = version(&place, number, "", &[first]) else { return };
        deploy(&place, &artifact);
    }
    let artifact = version(&place, "3", "", &[first, failing]).unwrap().display().to_string();
    for _ in 0..2 {
        let said = run(&place, &["deploy", &artifact, "--without-pip"]);
        assert!(said.code == 12 && said.err.contains("ZeroDivisionError"), "{}", said.all());
    }
    // Where the database cannot be asked, all that was about to be applied counts, once however often it was tried.
    let (data, away) = (place.path().join("root/shared/data"), place.path().join("away"));
    fs_err::rename(&data, &away).unwrap();
    fs_err::write(&data, "").unwrap();
    let said = run(&place, &["rollback", "--dry-run"]);
    assert_eq!(said.code, 16, "{}", said.all());
    let named: Vec<_> = said.err.match_indices("mysite.0002_failing").collect();
    assert_eq!(named.len(), 1, "{}", said.all());
    fs_err::remove_file(&data).unwrap();
    fs_err::rename(&away, &data).unwrap();
    let said = run(&place, &["rollback", "--dry-run"]);
    assert_eq!(said.code, 0, "{}", said.all());
    let said = run(&place, &["rollback"]);
    assert!(said.code == 0 && said.out.starts_with("1-"), "{}", said.all());
}

/// What somebody has taken back is not in the way either; what cannot be known is, and is named once.
#[test]
fn a_rollback_believes_the_database() {
    let place = place();
    let first = ("0001_first", "migrations.RunSQL('CREATE TABLE a (x)', 'DROP TABLE a')");
    let second = ("0002_second", "migrations.RunSQL('CREATE TABLE b (x)')");
    for (number, migrations) in [("1", vec![first]), ("2", vec![first, second])] {
        let Some(artifact) = version(&place, number, "", &migrations) else { return };
        deploy(&place, &artifact);
    }
    assert_eq!(run(&place, &["rollback"]).code, 16);
    let fake = ["exec", "--", "django-admin", "migrate", "--fake", "mysite", "0001"];
    let said = run(&place, &fake);
    assert_eq!(said.code, 0, "{}", said.all());
    let said = run(&place, &["rollback"]);
    assert_eq!(said.code, 0, "{}", said.all());
}

/// A PostgreSQL of its own, that ends with it.
struct Postgres {
    place: tempfile::TempDir,
    bin: PathBuf,
}

impl Postgres {
    fn new() -> Option<Self> {
        let Some(bin) = Self::find() else {
            assert!(std::env::var_os("CI").is_none(), "CI brings PostgreSQL");
            println!("skipped: PostgreSQL is not here");
            return None;
        };
        let postgres = Self { place: tempfile::tempdir_in("/tmp").unwrap(), bin };
        // It does not run as root, and whoever it runs as must own its files.
        fs_err::set_permissions(postgres.place.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let words = ["-D", "data", "-U", "site", "-A", "trust", "--no-sync", "-E", "UTF8"];
        let (made, said) = postgres.command("initdb", &words);
        assert!(made, "{said}");
        postgres.start();
        Some(postgres)
    }

    fn find() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let debian = fs_err::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let debian = debian.map(|version| version.path().join("bin"));
        std::env::split_paths(&path).chain(debian).find(|bin| bin.join("initdb").exists())
    }

    /// Whether it has worked, and what it has said.
    fn command(&self, program: &str, words: &[&str]) -> (bool, String) {
        let program = self.bin.join(program);
        let mut command = Command::new(&program);
        if rustix::process::getuid().is_root() {
            command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        }
        // A pipe would stay open as long as the server.
        let path = self.place.path().join("said");
        let said = fs_err::File::create(&path).unwrap().into_parts().0;
        command.args(words).current_dir(self.place.path()).stdout(said.try_clone().unwrap()).stderr(said);
        let status = command.status().unwrap();
        (status.success(), fs_err::read_to_string(path).unwrap())
    }

    fn start(&self) {
        let options = format!("-k {} -c listen_addresses= -c fsync=off", self.place.path().display());
        let (started, said) =
            self.command("pg_ctl", &["-D", "data", "-w", "-l", "log", "-o", &options, "start"]);
        assert!(started, "{said}");
    }

    fn stop(&self) -> bool {
        self.command("pg_ctl", &["-D", "data", "-w", "-m", "immediate", "stop"]).0
    }

    /// For `DATABASES`.
    fn settings(&self) -> String {
        let host = self.place.path().display();
        format!(
            r#"{{"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "site", "HOST": "{host}"}}"#
        )
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// As on SQLite; here a migration is a transaction, and the connection of the failed one is of no more use.
#[test]
fn a_rollback_believes_postgresql() {
    let Some(postgres) = Postgres::new() else { return };
    let place = place();
    let version = |number: &str, migrations: &[(&str, &str)]| {
        write(&place, number, "", migrations);
        let requirements = format!("{REQUIREMENTS}psycopg2-binary==2.9.10\n");
        place.write("project/requirements.txt", &requirements);
        let sqlite = r#"{"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "data" / "site.db"}"#;
        assert!(SETTINGS.contains(sqlite));
        place.write("project/mysite/settings.py", &SETTINGS.replace(sqlite, &postgres.settings()));
        build(&place, number)
    };
    let first = ("0001_first", "migrations.RunSQL('CREATE TABLE a (x int)', 'DROP TABLE a')");
    let failing =
        ("0002_failing", "migrations.RunPython(lambda apps, editor: editor.execute('SELECT x FROM b'))");
    for number in ["1", "2"] {
        let Some(artifact) = version(number, &[first]) else { return };
        deploy(&place, &artifact);
    }
    let artifact = version("3", &[first, failing]).unwrap().display().to_string();
    for _ in 0..2 {
        let said = run(&place, &["deploy", &artifact, "--without-pip"]);
        assert!(said.code == 12 && said.err.contains("relation \"b\" does not exist"), "{}", said.all());
    }
    assert!(postgres.stop());
    let said = run(&place, &["rollback", "--dry-run"]);
    let named = said.err.matches("mysite.0002_failing").count();
    assert_eq!((said.code, named), (16, 1), "{}", said.all());
    postgres.start();
    let said = run(&place, &["rollback"]);
    assert!(said.code == 0 && said.out.starts_with("1-"), "{}", said.all());
}

#[test]
fn an_exception_is_shown_with_its_traceback() {
    let place = place();
    let view = "def view(request):\n    raise LookupError('no such page')\n";
    let path = "from django.urls import path\nurlpatterns = [path('', view)]\n";
    let urls = [
        ("1", "import no_such_module\n".to_owned(), "ModuleNotFoundError: No module named 'no_such_module'"),
        ("2", format!("{view}{path}"), "LookupError: no such page"),
    ];
    for (number, text, exception) in urls {
        write(&place, number, "", &[]);
        place.write("project/mysite/urls.py", &text);
        let Some(artifact) = build(&place, number) else { return };
        let said = run(&place, &["deploy", &artifact.display().to_string(), "--without-pip"]);
        assert!(said.code == 11 && said.err.contains(exception), "{}", said.all());
        let line = if number == "1" { "line 1, in <module>" } else { "line 2, in view" };
        let has_frame =
            |text: &str| text.lines().any(|it| it.contains("/mysite/urls.py\", line ") && it.ends_with(line));
        assert!(has_frame(&said.err), "{}", said.all());
        let hint = said.err.lines().find(|it| it.starts_with("hint: ")).unwrap();
        let fits = if number == "1" { "is the module in the code" } else { "the exception is in the code" };
        assert!(hint.contains(fits) && !hint.contains("expected"), "{hint}");
        assert!(!said.err.contains("SILENCED_SYSTEM_CHECKS"), "{}", said.all());

        let (_, log) = hint.split_once("the full output of the check is in ").unwrap();
        let log = log.split(';').next().unwrap().replace("[PLACE]", &place.path().display().to_string());
        assert!(log.ends_with("/.wheelbarrow/logs/check.log"), "{log}");
        let log = fs_err::read_to_string(log).unwrap();
        assert!(log.contains("Traceback (most recent call last):\n") && has_frame(&log), "{log}");
        assert!(log.contains(exception) && log.contains("/django/core/"), "{log}");
    }
}

/// Of `startproject`: the database is beside the code.
#[test]
fn a_default_site_keeps_its_database() {
    let place = place();
    let version = |number: &str, shared: &str| {
        let migration = ("0001_first", "migrations.RunSQL('CREATE TABLE a (x)', 'DROP TABLE a')");
        write(&place, number, "", &[migration]);
        let settings = SETTINGS.replace(r#"BASE_DIR / "data" / "site.db""#, r#"BASE_DIR / "db.sqlite3""#);
        place.write("project/mysite/settings.py", &settings);
        let text = place.read("project/wheelbarrow.toml").replace("shared = ['data']", shared);
        place.write("project/wheelbarrow.toml", &text);
        build(&place, number).map(|artifact| artifact.display().to_string())
    };
    let sql = |sql: &str| {
        let script = "import django, sys; django.setup()\nfrom django.db import connection as c\n\
                      cursor = c.cursor(); cursor.execute(sys.argv[1]); print(cursor.fetchall())";
        let said = run(&place, &["exec", "--", "python", "-c", script, sql]);
        assert_eq!(said.code, 0, "{}", said.all());
        said.out.trim_end().to_owned()
    };
    let Some(artifact) = version("1", "") else { return };
    let said = run(&place, &["deploy", &artifact, "--without-pip"]);
    assert!(said.code == 11 && said.err.contains("`shared = [\"db.sqlite3\"]`"), "{}", said.all());
    assert!(!said.err.contains("data-in-release:MEDIA_ROOT"), "{}", said.all());
    let status = run(&place, &["prune", "--json"]);
    assert!(!status.out.contains("db.sqlite3"), "the check has made no database: {}", status.all());

    for number in ["2", "3"] {
        let artifact = version(number, "shared = ['db.sqlite3']").unwrap();
        deploy(&place, Path::new(&artifact));
        if number == "2" {
            assert_eq!(sql("PRAGMA journal_mode=wal"), "[('wal',)]");
        }
        sql(&format!("INSERT INTO a VALUES ({number})"));
    }
    assert_eq!(run(&place, &["rollback"]).code, 0);
    assert_eq!(run(&place, &["prune", "--keep", "1"]).code, 0);
    assert_eq!(sql("SELECT x FROM a ORDER BY x"), "[(2,), (3,)]");
    assert!(place.path().join("root/shared/db.sqlite3").is_file());
}
