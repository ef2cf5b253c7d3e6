//! `wheelbarrow init`

mod from_code;

use crate::support::Place;

const SETTINGS: &str = "import os\nSECRET_KEY = os.environ['SECRET_KEY']\n# os.environ['OLD']\nos.environ['TZ'] = 'UTC'\n\
                        NAME = os.environ[\"DATABASE\"]\nDEBUG = os.environ.get('DEBUG')\n";

#[test]
fn a_project_is_inspected() {
    let place = Place::with(&[
        ("requirements/base.txt", "django"),
        ("src/manage.py", ""),
        ("src/site/settings/base.py", SETTINGS),
    ]);
    insta::assert_snapshot!(place.run(&["init", "--dry-run", "."]).all().replace(&name_of(&place), "[NAME]"), @r#"
    exit code: 0
    name = "[NAME]"
    # version = "1.0"
    # dependencies: requirements/base.txt
    # python = ["3.12"]  # the Pythons of the servers; without it, the python3 found here
    # src/ goes on sys.path, since manage.py or src/ is there; to change that:
    # import-path = "src"
    # exclude = ["/docs/", "/tests/"]  # beside what .gitignore names

    [environment]
    required = ["DATABASE", "SECRET_KEY"]  # the settings have no default for them
    "#);
    assert!(!place.path().join("wheelbarrow.toml").exists());
    assert_eq!(place.run(&["init"]).code, 0);
    insta::assert_snapshot!(place.run(&["init"]).all(), @"
    exit code: 8
    error: . has settings already
    hint: edit them: https://wheelbarrow.github.io/wheelbarrow/reference/settings/
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
}

#[test]
fn the_variables_of_an_env_file_are_named() {
    let place =
        Place::with(&[("requirements.txt", ""), ("a.py", ""), (".env", "export KEY='secret'\nDEBUG=1\n")]);
    let said = place.run(&["init", "--dry-run"]).all();
    let comment =
        "\n# .env is not packed; on servers its variables belong into environment.json: DEBUG, KEY\n";
    assert!(said.contains(comment) && !said.contains("secret"), "{said}");
}

#[test]
fn a_pyproject_gets_a_table() {
    let place = Place::with(&[
        ("pyproject.toml", "[project]\nname = \"site\"\nversion = \"1\"\ndependencies = []"),
        ("a.py", ""),
    ]);
    insta::assert_snapshot!(place.run(&["init"]).all(), @"
    exit code: 0
    wrote ./pyproject.toml
    ");
    insta::assert_snapshot!(place.read("pyproject.toml"), @r#"
    [project]
    name = "site"
    version = "1"
    dependencies = []

    [tool.wheelbarrow]
    # dependencies: pyproject.toml
    # python = ["3.12"]  # the Pythons of the servers; without it, the python3 found here
    # exclude = ["/docs/", "/tests/"]  # beside what .gitignore names
    "#);
    assert_eq!(place.run(&["init"]).code, 8);
}

#[test]
fn init_writes_the_settings_it_finds() {
    let place = Place::with(&[
        (
            "pyproject.toml",
            "[project]\nname = \"shop\"\nversion = \"1\"\nrequires-python = \">=3.11,<3.12\"\ndependencies = [\"django\"]\n",
        ),
        ("manage.py", "os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"shop.settings\")\n"),
        ("shop/wsgi.py", "application = get_wsgi_application()\n"),
        ("shop/celery.py", "app = Celery(\"shop\")\n"),
        (
            "shop/settings.py",
            "BASE_DIR = Path(__file__).resolve().parent.parent\nSECRET_KEY = os.environ[\"SECRET_KEY\"]\n\
             DATABASES = {\"default\": {\n    \"NAME\": BASE_DIR / \"data/db.sqlite3\",\n}}\n\
             MEDIA_ROOT = BASE_DIR / \"media\"\nSTATIC_ROOT = os.path.join(BASE_DIR, \"static\")\n",
        ),
    ]);
    assert_eq!(place.run(&["init"]).code, 0);
    let text = place.read("pyproject.toml");
    insta::assert_snapshot!(text.split_once("[tool.wheelbarrow]\n").unwrap().1, @r#"
    # dependencies: pyproject.toml
    python = ["3.11"]
    # exclude = ["/docs/", "/tests/"]  # beside what .gitignore names

    [tool.wheelbarrow.environment]
    required = ["SECRET_KEY"]  # the settings have no default for them

    [tool.wheelbarrow.release]
    settings = "shop.settings"
    application = "shop.wsgi:application"
    prepare = ["django-admin collectstatic --noinput", "django-admin migrate --noinput"]
    shared = ["data", "media"]  # the site writes there
    static_root = "static"
    # Celery workers (shop/celery.py) need a unit of their own: celery -A shop worker
    "#);
    let told = place.run(&["build", "--dry-run", "--offline", "--python", "9.9"]);
    assert!(!told.err.contains("pyproject.toml, line"), "what it writes can be read: {}", told.all());
}

#[test]
fn a_flask_application_is_found() {
    let place = Place::with(&[
        (".python-version", "3.11.4\n"),
        ("requirements.txt", "flask"),
        ("web/__init__.py", "from flask import Flask\napp = Flask(__name__)\n"),
        ("alembic.ini", ""),
        ("export.py", "from web import create_app\napp = create_app()\n"),
    ]);
    let text = place.run(&["init", "--dry-run"]).out;
    assert!(text.contains("\npython = [\"3.11\"]\n") && text.contains("application = \"web:app\""), "{text}");
    assert!(text.contains("prepare = [\"alembic upgrade head\"]"), "{text}");
    fs_err::write(place.path().join("wsgi.py"), "from web import create_app\napp = create_app()\n").unwrap();
    let text = place.run(&["init", "--dry-run"]).out;
    assert!(text.contains("application = \"wsgi:app\""), "what servers are given: {text}");
}

/// A script that uses the application looks like the module of a server.
#[test]
fn the_factory_of_a_package_comes_before_scripts() {
    let script = "from web import create_app\napp = create_app()\n";
    let place = Place::with(&[
        ("requirements.txt", "flask"),
        ("export.py", script),
        ("update_accounts.py", script),
        ("web/__init__.py", "def create_app(config=None):\n    return Flask(__name__)\n"),
    ]);
    let text = place.run(&["init", "--dry-run"]).out;
    assert!(text.contains("application = \"web:create_app()\""), "{text}");
    place.write("web/__init__.py", "def create_app(config):\n    return Flask(__name__)\n");
    let text = place.run(&["init", "--dry-run"]).out;
    let several = "\n# application = one of [\"export:app\", \"update_accounts:app\"]\n";
    assert!(text.contains(several) && !text.contains("\napplication ="), "{text}");
}

#[test]
fn the_application_that_servers_are_given_comes_first() {
    let place = Place::with(&[
        ("requirements.txt", "flask"),
        ("shop/__init__.py", "def create_app(config='dev'):\n    return Flask(__name__)\n"),
        ("serve.py", "from shop import create_app\napp = create_app('production')\n"),
    ]);
    let application = || {
        let text = place.run(&["init", "--dry-run"]).out;
        let line =
            text.lines().find(|line| line.starts_with("application = ")).unwrap_or_default().to_owned();
        (line, text)
    };
    let (line, text) = application();
    assert_eq!(line, "application = \"shop:create_app()\"", "{text}");
    let remark =
        "# serve.py calls the factory with arguments: if servers use that one, application = \"serve:app\"";
    assert!(text.contains(remark), "{text}");
    for (file, contents, expected) in [
        (".flaskenv", "FLASK_DEBUG=1\nFLASK_APP=serve.py\n", "serve:app"),
        (".flaskenv", "export FLASK_APP=\"shop:create_app\"\n", "shop:create_app()"),
        (
            "Procfile",
            "release: flask db upgrade\nweb: gunicorn -w 4 -b :8000 serve:app --log-file -\n",
            "serve:app",
        ),
        ("Procfile", "web: waitress-serve --call shop:create_app\n", "shop:create_app()"),
        ("Procfile", "web: gunicorn elsewhere:app\n", "shop:create_app()"),
    ] {
        place.write(file, contents);
        let (line, text) = application();
        assert_eq!(line, format!("application = \"{expected}\""), "{text}");
    }
}

#[test]
fn the_members_of_a_workspace_are_named() {
    let member = "[project]\nname = 'x'\nversion = '1'\n";
    let place = Place::with(&[
        (
            "pyproject.toml",
            "[tool.uv.workspace]\nmembers = ['backend', './packages/*']\nexclude = ['packages/old']\n",
        ),
        ("backend/pyproject.toml", member),
        ("backend/app/main.py", "app = FastAPI()\n"),
        ("packages/a/pyproject.toml", member),
        ("packages/old/pyproject.toml", member),
        ("packages/empty/a.py", ""),
    ]);
    let said = place.run(&["init", "--dry-run"]);
    let members = "the project is a uv workspace: a site that is one of its members has its settings there, by \
                   `wheelbarrow init MEMBER`. The members: backend, packages/a\n";
    assert!(said.code == 0 && said.err.contains(members), "{}", said.all());
    assert!(!said.out.contains("application ="), "its code is imported as `app`: {}", said.all());
    let said = place.run(&["init", "--dry-run", "backend"]);
    assert!(!said.err.contains("workspace"), "{}", said.all());
    assert!(said.out.contains("application = \"app.main:app\""), "{}", said.all());
}

#[test]
fn a_project_with_test_in_its_name_is_inspected() {
    let place = Place::with(&[
        ("requirements.txt", "django"),
        ("manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'contest.settings')\n"),
        ("contest/wsgi.py", "application = get_wsgi_application()\n"),
        ("contest/tests/wsgi.py", "other = get_wsgi_application()\n"),
        (
            "contest/settings.py",
            "BASE_DIR = Path(__file__).resolve().parent.parent\nMEDIA_ROOT = BASE_DIR / 'media'\n",
        ),
    ]);
    let text = place.run(&["init", "--dry-run"]).out;
    assert!(text.contains("\napplication = \"contest.wsgi:application\"\n"), "{text}");
    assert!(text.contains("\nshared = [\"media\"]"), "{text}");
}

/// Layout of cookiecutter-django and Two Scoops of Django: manage.py is for developers, wsgi.py for servers.
#[test]
fn the_settings_that_serve_are_read_with_what_they_import() {
    let names = |module: &str| {
        format!("os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings.{module}')\n")
    };
    let place = Place::with(&[
        ("requirements.txt", "django"),
        ("manage.py", &format!("def main():\n    {}", names("local"))),
        ("config/__init__.py", "import os\nLANGUAGE = os.environ['LANGUAGE']\n"),
        ("config/asgi.py", &format!("{}application = get_asgi_application()\n", names("local"))),
        ("config/wsgi.py", &format!("{}application = get_wsgi_application()\n", names("production"))),
        (
            "config/settings/base.py",
            "import environ\nfrom config.paths import *\nenv = environ.Env()\n\
             BASE_DIR = Path(__file__).resolve().parent.parent.parent\nAPPS_DIR = BASE_DIR / 'shop'\n\
             DEBUG = env.bool('DEBUG', False)\nMEDIA_ROOT = str(APPS_DIR / 'media')\nSTATIC_ROOT = str(BASE_DIR / 'static')\n",
        ),
        ("config/paths.py", "import os\nDATA = os.environ['DATA']\n"),
        (
            "config/settings/production.py",
            "from .base import *  # noqa\nfrom .base import env\nSECRET_KEY = env('DJANGO_SECRET_KEY')\n\
             DATABASES = {'default': env.db('DATABASE_URL')}\n",
        ),
        ("config/settings/heroku.py", "from .base import *\nX = os.environ['DYNO']\n"),
        (
            "config/settings/local.py",
            "from .base import *\nX = os.environ['LOCAL']\nMEDIA_ROOT = BASE_DIR / 'local'\n",
        ),
    ]);
    insta::assert_snapshot!(release_of(&place), @r#"
    [environment]
    required = ["DATA", "DATABASE_URL", "DJANGO_SECRET_KEY", "LANGUAGE"]  # the settings have no default for them

    [release]
    settings = "config.settings.production"
    application = "config.wsgi:application"
    prepare = ["django-admin collectstatic --noinput", "django-admin migrate --noinput"]
    shared = ["shop/media"]  # the site writes there
    static_root = "static"
    "#);
    // The settings of the application that serves, also if that is asgi.py.
    place.write("config/wsgi.py", "");
    let text = place.run(&["init", "--dry-run"]).out;
    assert!(
        text.contains("\nsettings = \"config.settings.local\"\napplication = \"config.asgi:application\"\n"),
        "{text}"
    );
    assert!(
        text.contains("\nrequired = [\"DATA\", \"LANGUAGE\", \"LOCAL\"]") && text.contains("[\"local\"]"),
        "{text}"
    );
    // Several, and none that is known.
    place.write("config/asgi.py", &format!("if X:\n    {}else:\n    {}", names("a"), names("b")));
    let text = place.run(&["init", "--dry-run"]).out;
    assert!(
        text.contains("\n# settings = one of [\"config.settings.a\", \"config.settings.b\"]\n"),
        "{text}"
    );
    assert!(text.contains("\nrequired = [\"DATA\", \"LANGUAGE\"]"), "what all of them need: {text}");
    place.write(
        "config/asgi.py",
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', f'config.settings.{NAME}')\n",
    );
    let text = place.run(&["init", "--dry-run"]).out;
    assert!(!text.contains("settings ="), "{text}");
}

#[test]
fn only_paths_that_are_certain_are_written() {
    let release = |settings: &str| {
        let settings = format!("BASE_DIR = Path(__file__).resolve().parent.parent\n{settings}");
        let place = Place::with(&[
            ("requirements.txt", "django"),
            ("mysite/wsgi.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n"),
            ("mysite/settings.py", &settings),
        ]);
        let text = release_of(&place);
        text.lines()
            .filter(|line| line.contains("shared") || line.contains("_ROOT") || line.contains("static"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    insta::assert_snapshot!(release("MEDIA_ROOT = BASE_DIR / 'media'  # don't move: \"nginx\" serves it\n"), @r#"shared = ["media"]  # the site writes there"#);
    insta::assert_snapshot!(release("STATIC_ROOT = os.path.join(BASE_DIR, 'static') if DEBUG else '/var/www/static'\n"), @r#"
    prepare = ["django-admin collectstatic --noinput", "django-admin migrate --noinput"]
    # STATIC_ROOT could not be read: if it is below the code, name it as `static_root`
    "#);
    insta::assert_snapshot!(release("if DEBUG:\n    STATIC_ROOT = BASE_DIR / 'a'\nelse:\n    STATIC_ROOT = BASE_DIR / 'b'\n"), @r#"
    prepare = ["django-admin collectstatic --noinput", "django-admin migrate --noinput"]
    # STATIC_ROOT can be a: if it is on the servers, name it as `static_root`
    # STATIC_ROOT can be b: if it is on the servers, name it as `static_root`
    "#);
    insta::assert_snapshot!(release("if not DEBUG:\n    STATIC_ROOT = BASE_DIR / 'static'\n"), @r#"
    prepare = ["django-admin collectstatic --noinput", "django-admin migrate --noinput"]
    static_root = "static"
    "#);
    insta::assert_snapshot!(release("STATIC_ROOT = BASE_DIR.parent / 'static'\nMEDIA_ROOT = BASE_DIR.parent / 'media'\n"), @"
    # MEDIA_ROOT is ../media, outside the code, which cannot be shared: name a path below the code
    # STATIC_ROOT is ../static, outside the code: name a directory below the code
    ");
    insta::assert_snapshot!(release("MEDIA_ROOT = env('MEDIA_ROOT')\nSTATIC_ROOT = None\n"), @"# MEDIA_ROOT could not be read: if it is below the code, add it to `shared`");
    insta::assert_snapshot!(release(
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': BASE_DIR / 'var' / 'db.sqlite3'}}\n\
         MEDIA_ROOT = BASE_DIR / 'var/media'\n"
    ), @r#"shared = ["var"]  # the site writes there"#);
    insta::assert_snapshot!(release(
        "DATABASES = {'default': {'NAME': BASE_DIR / 'db.sqlite3', 'TEST': {'NAME': BASE_DIR / 'test.sqlite3'}}}\n\
         if PRODUCTION:\n    DATABASES['default'] = dj_database_url.config()\n"
    ), @"# a database can be db.sqlite3: if it is on the servers, add db.sqlite3 to `shared`");
    // The definition before the line counts.
    insta::assert_snapshot!(release(
        "BASE_DIR = BASE_DIR / 'old'\nBASE_DIR = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n\
         MEDIA_ROOT = os.path.join(BASE_DIR, 'media')\nBASE_DIR = None\n"
    ), @r#"shared = ["data/media"]  # the site writes there"#);
    insta::assert_snapshot!(release("MEDIA_ROOT = BASE_DIR / 'a'\nMEDIA_ROOT = '/srv/media'\n"), @"");
}

#[test]
fn the_database_and_the_instance_folder_of_a_flask_site_are_found() {
    let place = Place::with(&[
        ("requirements.txt", "flask"),
        (
            "web/__init__.py",
            "from flask_migrate import Migrate\nfrom flask_sqlalchemy import SQLAlchemy\n\
             def create_app():\n    app = Flask(__name__)\n    app.config['SQLALCHEMY_DATABASE_URI'] = 'sqlite:///web.db'\n",
        ),
        ("migrations/env.py", ""),
        ("migrations/script.py.mako", ""),
    ]);
    insta::assert_snapshot!(release_of(&place), @r#"
    [release]
    application = "web:create_app()"
    prepare = ["flask --app web:create_app db upgrade"]
    # a database can be in instance: if it is on the servers, add instance to `shared`
    "#);
    place.write(
        "web/__init__.py",
        "def create_app():\n    return Flask(__name__, instance_relative_config=True)\n",
    );
    insta::assert_snapshot!(release_of(&place), @r#"
    [release]
    application = "web:create_app()"
    shared = ["instance"]  # the site writes there
    "#);
    place.write("web/__init__.py", "def create_app():\n    return Flask(__name__)\n");
    place.write(
        "web/config.py",
        "class Config:\n    URL = os.environ.get('URL') or 'sqlite:///' + os.path.join(basedir, 'app.db')\n",
    );
    insta::assert_snapshot!(release_of(&place), @r#"
    [release]
    application = "web:create_app()"
    # a database can be web/app.db: if it is on the servers, add web/app.db to `shared`
    "#);
}

/// What is proposed for `[environment]` and `[release]`.
fn release_of(place: &Place) -> String {
    let text = place.run(&["init", "--dry-run"]).out;
    text.split_once("\n\n").map(|(_, tables)| tables.to_owned()).unwrap_or_default()
}

/// `3.11`, of the `python3` on PATH.
fn python_here() -> String {
    let ask = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = std::process::Command::new("python3").args(["-c", ask]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_python_of_the_project_is_used() {
    // What a build would take, not the newest there is.
    let python_here = python_here();
    let project = |python: &str| {
        format!("[project]\nname = 'x'\nversion = '1'\ndependencies = []\nrequires-python = '{python}'\n")
    };
    for (file, text, python) in [
        ("pyproject.toml", project("<3.12,>=3.11"), "3.11"),
        ("pyproject.toml", project(">=3.14"), "3.14"),
        ("pyproject.toml", project(">=3.6"), python_here.as_str()),
        ("pyproject.toml", "[tool.poetry.dependencies]\npython = '~3.10'\n".to_owned(), "3.10"),
        ("setup.cfg", "[options]\npython_requires = ~=3.12.0\n".to_owned(), "3.12"),
        ("Pipfile", "[requires]\npython_version = '3.11'\n".to_owned(), "3.11"),
        (".python-version", "cpython-3.13.2\n".to_owned(), "3.13"),
    ] {
        let place = Place::with(&[(file, &text), ("requirements.txt", ""), ("a.py", "")]);
        let said = place.run(&["init", "--dry-run"]);
        assert!(said.out.contains(&format!("\npython = [\"{python}\"]\n")), "{text}: {}", said.all());
    }
}

#[test]
fn what_init_writes_can_be_built() {
    let settings = "BASE_DIR = Path(__file__).resolve().parent.parent\n\
                    DATABASES = {\n    \"default\": {\n        \"NAME\": BASE_DIR / \"data/db.sqlite3\",\n    },\n    \"log\": {\n        \"NAME\": BASE_DIR / \"log.sqlite3\",\n    }\n}\n\
                    MEDIA_ROOT = BASE_DIR / \"media\"\n";
    let place = Place::with(&[
        ("日本/requirements.txt", ""),
        ("日本/site/settings.py", settings),
        ("日本/data/.gitignore", "*\n!.gitignore\n"),
        ("日本/log.sqlite3", ""),
        ("日本/media/.gitkeep", ""),
        ("日本/media/logo.svg", "<svg/>"),
    ]);
    assert_eq!(place.run(&["init", "日本"]).code, 0);
    let text = place.read("日本/wheelbarrow.toml");
    for line in [
        "name = \"mysite\"  # that of the directory has no letter that is allowed",
        "exclude = [\"/data/\", \"/log.sqlite3\"]  # beside what .gitignore names; the site writes there",
        "shared = [\"data\", \"log.sqlite3\"]  # the site writes there",
        "# the site writes to media, which has files of the project (media/logo.svg): before it can be in `shared`, move them",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    let said = place.run(&["build", "日本", "--dry-run", "--offline"]);
    assert!(!said.err.contains("`shared`") && !said.err.contains("name of a site"), "{}", said.all());
}

#[test]
fn a_django_site_that_names_its_settings_elsewhere_is_migrated() {
    let place = Place::with(&[
        ("requirements.txt", "django"),
        ("manage.py", "load_dotenv()\n"),
        ("shop/wsgi.py", "load_dotenv()\napplication = get_wsgi_application()\n"),
        (
            "shop/settings.py",
            "BASE_DIR = Path(__file__).resolve().parent.parent\nSTATIC_ROOT = BASE_DIR / 'static'\n",
        ),
    ]);
    let text = place.run(&["init", "--dry-run"]).out;
    let prepare = "prepare = [\"django-admin collectstatic --noinput\", \"django-admin migrate --noinput\"]";
    assert!(text.contains(prepare) && !text.contains("settings ="), "{text}");
}

#[test]
fn a_lock_that_is_not_supported_gives_its_export_after_init_too() {
    let place = Place::with(&[
        ("pyproject.toml", "[tool.poetry]\nname = 'site'\n[tool.poetry.dependencies]\npython = '*'\n"),
        ("poetry.lock", "[metadata]\nlock-version = '2.1'\n"),
        ("a.py", ""),
    ]);
    assert_eq!(place.run(&["init"]).code, 0);
    insta::assert_snapshot!(place.run(&["build", "--dry-run"]).all(), @"
    exit code: 8
    error: the input ./requirements.txt does not exist
    hint: write it with `poetry export -f requirements.txt -o requirements.txt`, from poetry.lock
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
}

#[test]
fn workers_of_every_library_are_named() {
    let place = Place::with(&[
        ("requirements.txt", "django"),
        ("manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"),
        (
            "shop/settings.py",
            "INSTALLED_APPS = [\n    'huey.contrib.djhuey',\n    'django_rq',\n    'django_dramatiq',\n]\n",
        ),
        ("shop/other.py", "# app = Celery('shop')\n"),
    ]);
    let said = place.run(&["init", "--dry-run"]);
    for worker in [
        "huey workers (shop/settings.py) need a unit of their own: django-admin run_huey",
        "RQ workers (shop/settings.py) need a unit of their own: django-admin rqworker",
        "Dramatiq workers (shop/settings.py) need a unit of their own: django-admin rundramatiq",
    ] {
        assert!(said.out.contains(worker), "{}", said.all());
    }
    assert!(!said.out.contains("Celery"), "a comment is no worker: {}", said.all());
}

fn name_of(place: &Place) -> String {
    place.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned()
}
