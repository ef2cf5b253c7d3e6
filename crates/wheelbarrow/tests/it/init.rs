//! `wheelbarrow init`

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
    required = ["DATABASE", "SECRET_KEY"]  # os.environ[...] in the settings
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
    # requirements = ["requirements.txt"]
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
            "[project]\nname = \"shop\"\nversion = \"1\"\nrequires-python = \">=3.9,<3.12\"\ndependencies = [\"django\"]\n",
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
    required = ["SECRET_KEY"]  # os.environ[...] in the settings

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

#[test]
fn the_python_of_the_project_is_used() {
    let project = |python: &str| {
        format!("[project]\nname = 'x'\nversion = '1'\ndependencies = []\nrequires-python = '{python}'\n")
    };
    for (file, text, python) in [
        ("pyproject.toml", project("<3.12"), "3.11"),
        ("pyproject.toml", project(">=3.14"), "3.14"),
        ("pyproject.toml", "[tool.poetry.dependencies]\npython = '~3.10'\n".to_owned(), "3.10"),
        ("setup.cfg", "[options]\npython_requires = <3.13\n".to_owned(), "3.12"),
        ("Pipfile", "[requires]\npython_version = '3.11'\n".to_owned(), "3.11"),
        (".python-version", "cpython-3.13.2\n".to_owned(), "3.13"),
    ] {
        let place = Place::with(&[(file, &text), ("requirements.txt", ""), ("a.py", "")]);
        let said = place.run(&["init", "--dry-run"]);
        assert!(said.out.contains(&format!("\npython = [\"{python}\"]\n")), "{text}: {}", said.all());
    }
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
