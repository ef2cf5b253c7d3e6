use super::*;

#[test]
fn the_outer_application_is_found() {
    let application = |files: &[(&str, &str)]| {
        let text =
            Place::with(&[&[("requirements.txt", "x")], files].concat()).run(&["init", "--dry-run"]).out;
        let line = text.lines().find_map(|line| line.strip_prefix("application = "));
        line.unwrap_or_default().to_owned()
    };
    let channels = "inner = get_asgi_application()\napplication = ProtocolTypeRouter({'http': inner})\n";
    let wsgi = ("chat/wsgi.py", "application = get_wsgi_application()\n");
    let named = |name: &'static str| ("chat/settings.py", name);
    let asgi = ("chat/asgi.py", channels);
    assert_eq!(application(&[asgi]), "\"chat.asgi:application\"");
    assert_eq!(application(&[asgi, wsgi]), "\"chat.wsgi:application\"");
    let only = named("ASGI_APPLICATION = 'chat.asgi.application'\n");
    assert_eq!(application(&[asgi, wsgi, only]), "\"chat.asgi:application\"");
    let both =
        named("ASGI_APPLICATION = 'chat.asgi.application'\nWSGI_APPLICATION = 'chat.wsgi.application'\n");
    assert_eq!(application(&[asgi, wsgi, both]), "\"chat.wsgi:application\"");
    let nowhere = named("ASGI_APPLICATION = 'chat.routing.application'\n");
    assert_eq!(application(&[asgi, wsgi, nowhere]), "\"chat.wsgi:application\"");
    let flask = "web = Flask(__name__)\napp: WSGIApplication = DispatcherMiddleware(web, {})\n";
    assert_eq!(application(&[("main.py", flask)]), "\"main:app\"");
    assert_eq!(
        application(&[("main.py", "web = Flask(__name__)\nif app == web:\n    pass\n")]),
        "\"main:web\""
    );
}

/// Commands of `prepare` run in the import path.
#[test]
fn migrations_are_found_from_the_import_path() {
    let shop = "from flask_migrate import Migrate\napp = Flask(__name__)\n";
    let prepare = |files: &[(&str, &str)]| {
        let all = [&[("requirements.txt", "flask"), ("pyproject.toml", "")], files].concat();
        let text = Place::with(&all).run(&["init", "--dry-run"]).out;
        text.lines().find(|line| line.starts_with("prepare")).unwrap_or_default().to_owned()
    };
    for (env, script, option) in [
        ("migrations/env.py", "migrations/script.py.mako", " -d ../migrations"),
        ("src/migrations/env.py", "src/migrations/script.py.mako", ""),
        ("src/shop/migrations/env.py", "src/shop/migrations/script.py.mako", " -d shop/migrations"),
    ] {
        let prepare = prepare(&[("src/shop/__init__.py", shop), (env, ""), (script, "")]);
        assert_eq!(prepare, format!("prepare = [\"flask --app shop:app db upgrade{option}\"]"));
    }
    let shop = ("src/shop/__init__.py", "app = Flask(__name__)\n");
    assert_eq!(prepare(&[shop, ("src/alembic.ini", "")]), "prepare = [\"alembic upgrade head\"]");
    let above = "prepare = [\"sh -c 'cd .. && alembic upgrade head'\"]";
    assert_eq!(prepare(&[shop, ("alembic.ini", "")]), above);
}

#[test]
fn inputs_have_no_path_of_this_machine() {
    let lock = "version = 1\n[[package]]\nname = \"x\"\nsource = { editable = \"sites/shop\" }\n";
    let place = Place::with(&[
        ("uv.lock", lock),
        ("sites/shop/pyproject.toml", "[project]\nname = 'x'\nversion = '1'\n"),
        ("old/poetry.lock", "[metadata]\nlock-version = '2.1'\ncontent-hash = 'x'\n"),
    ]);
    let first = |project: &str| {
        let project = place.path().join(project).display().to_string();
        place.run(&["init", "--dry-run", &project]).out
    };
    assert!(first("sites/shop").contains("\n# dependencies: ../../uv.lock\n"), "{}", first("sites/shop"));
    assert!(first("old").contains("\n# poetry.lock is not supported: "), "{}", first("old"));
}

#[test]
fn several_projects_below_are_not_mixed() {
    let place = Place::with(&[
        ("blog/requirements.txt", "django"),
        ("blog/manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"),
        ("blog/shop/settings.py", "SECRET_KEY = os.environ['BLOG_KEY']\n"),
        ("wiki/pyproject.toml", "[project]\nname = 'wiki'\ndependencies = ['flask']\n"),
        ("wiki/wsgi.py", "app = Flask(__name__)\n"),
        ("notes.txt", ""),
    ]);
    let said = place.run(&["init", "--dry-run"]).all();
    let note = "note: the directory has several projects: the settings are for blog only. `wheelbarrow init DIRECTORY` \
                proposes settings for another: wiki\n";
    assert!(said.contains(note) && said.contains("BLOG_KEY") && !said.contains("wsgi"), "{said}");
    place.write("requirements.txt", "");
    let said = place.run(&["init", "--dry-run"]).all();
    assert!(!said.contains("several projects"), "{said}");
}

#[test]
fn the_settings_that_servers_are_started_with_count() {
    let uwsgi =
        "[uwsgi]\nmodule = links.wsgi:application\nenv = DJANGO_SETTINGS_MODULE=links.settings.prod\n";
    let line = |file: &str, text: &str| {
        let wsgi = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'links.settings')\n\
                    application = get_wsgi_application()\n";
        let files = [
            ("requirements.txt", "django"),
            ("links/wsgi.py", wsgi),
            ("links/settings/__init__.py", "from .dev import *\n"),
            ("links/settings/dev.py", "DEBUG = True\n"),
            ("links/settings/prod.py", "DEBUG = False\n"),
            (file, text),
        ];
        let text = Place::with(&files).run(&["init", "--dry-run"]).out;
        let line = text.lines().find_map(|line| line.strip_prefix("settings = "));
        let remark = format!("# `settings` is what {file} names, not links.settings");
        (line.unwrap_or_default().to_owned(), text.lines().any(|line| line == remark))
    };
    let prod = ("\"links.settings.prod\"".to_owned(), true);
    assert_eq!(line("uwsgi.ini", uwsgi), prod);
    assert_eq!(line("Dockerfile", "ENV DJANGO_SETTINGS_MODULE links.settings.prod\n"), prod);
    assert_eq!(
        line("deploy/links.service", "Environment=\"DJANGO_SETTINGS_MODULE=links.settings.prod\"\n"),
        prod
    );
    let default = "export DJANGO_SETTINGS_MODULE=\"${DJANGO_SETTINGS_MODULE:-links.settings.prod}\"\n";
    assert_eq!(line("entrypoint.sh", default), prod);
    let own = ("\"links.settings\"".to_owned(), false);
    for (file, text) in [
        ("uwsgi.ini", "env = DJANGO_SETTINGS_MODULE=elsewhere.settings\n"),
        ("Dockerfile.dev", "ENV DJANGO_SETTINGS_MODULE=links.settings.prod\n"),
        (
            "Procfile",
            "web: env DJANGO_SETTINGS_MODULE=links.settings.prod x\nw: DJANGO_SETTINGS_MODULE=links.settings.dev y\n",
        ),
    ] {
        assert_eq!(line(file, text), own, "{file}");
    }
}
