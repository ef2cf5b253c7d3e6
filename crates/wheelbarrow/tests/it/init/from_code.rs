use super::*;

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
