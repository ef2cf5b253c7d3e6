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
                    DATABASES = {\n    \"default\": {\n        \"NAME\": BASE_DIR / \"data/db.sqlite3\",\n    }\n}\n\
                    MEDIA_ROOT = BASE_DIR / \"media\"\n";
    let place = Place::with(&[
        ("日本/requirements.txt", ""),
        ("日本/site/settings.py", settings),
        ("日本/data/.gitignore", "*\n!.gitignore\n"),
        ("日本/media/.gitkeep", ""),
        ("日本/media/logo.svg", "<svg/>"),
    ]);
    assert_eq!(place.run(&["init", "日本"]).code, 0);
    let text = place.read("日本/wheelbarrow.toml");
    for line in [
        "name = \"mysite\"  # that of the directory has no letter that is allowed",
        "exclude = [\"/data/\"]  # beside what .gitignore names; the site writes there",
        "shared = [\"data\"]  # the site writes there",
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
