//! Modules that the site needs to start and that an ignore rule leaves out.

use super::{tree, walk_project};

#[test]
fn settings_that_git_ignores_are_named() {
    let place = tree(&[
        (".gitignore", "local.py\nsettings_dev.py\n/secrets/\nlocal_settings.py\n"),
        (
            "site/settings.py",
            "import os\ntry:\n    from .local import *\nexcept ImportError:\n    pass\nfrom secrets.keys import KEY\n",
        ),
        ("site/local.py", ""),
        ("site/settings_dev.py", ""),
        ("site/local_settings.py", ""),
        ("secrets/keys.py", ""),
        ("other/__init__.py", ""),
        ("other/local.py", ""),
    ]);
    let (files, notes) = walk_project(place.path(), &["local_settings.py"]).unwrap();
    assert_eq!(files.len(), 3, "{files:?}");
    let named: Vec<_> = notes.iter().map(|note| note.split(',').next().unwrap()).collect();
    assert_eq!(
        named,
        ["left out secrets/keys.py", "left out site/local.py", "left out site/settings_dev.py"]
    );
    assert!(notes[1].contains("site/settings.py imports it"), "{notes:?}");
    // As the notes say.
    let back = ["!/secrets/keys.py", "!/site/local.py", "!/site/settings_dev.py", "local_settings.py"];
    let (files, notes) = walk_project(place.path(), &back).unwrap();
    assert_eq!((files.len(), notes), (6, Vec::new()), "{files:?}");
}

#[test]
fn a_package_of_settings_that_git_ignores_is_named() {
    for rule in ["settings/", "**/settings/*.py"] {
        let place = tree(&[
            (".gitignore", rule),
            ("manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site.settings')\n"),
            ("site/wsgi.py", ""),
            ("site/settings/__init__.py", "from .base import *\n"),
            ("site/settings/base.py", ""),
            ("web/settings/app.json", "{}"),
            ("web/views.py", ""),
        ]);
        let (files, notes) = walk_project(place.path(), &[]).unwrap();
        assert!(!files.iter().any(|file| file.path.starts_with("site/settings")), "{files:?}");
        let note = "left out site/settings/, which an ignore rule names, and by its name it has settings \
                    (`\"!/site/settings/\"` in `exclude` keeps it)";
        assert_eq!(notes, [note], "{rule}");
        // As the note says.
        let (files, notes) = walk_project(place.path(), &["!/site/settings/"]).unwrap();
        let has = |path: &str| files.iter().any(|file| file.path == path);
        assert!(has("site/settings/__init__.py") && has("site/settings/base.py"), "{rule}: {files:?}");
        assert_eq!(notes, [""; 0], "{rule}");
        // Who leaves it out by a rule of Wheelbarrow's means it.
        assert_eq!(walk_project(place.path(), &["settings/"]).unwrap().1, [""; 0], "{rule}");
    }
}

#[test]
fn modules_of_the_application_that_git_ignores_are_named() {
    let place = tree(&[
        (".gitignore", "/generated/\n/keys.py\n/unused.py\n"),
        ("web/main.py", "import keys\nfrom generated.api import client\n"),
        ("web/other.py", "import unused\n"),
        ("keys.py", ""),
        ("unused.py", ""),
        ("generated/__init__.py", ""),
        ("generated/api/__init__.py", ""),
        ("generated/api/client.py", ""),
    ]);
    let (files, notes) = walk_project(place.path(), &[]).unwrap();
    assert_eq!(files.len(), 3, "{files:?}");
    let why = "which an ignore rule names, and web/main.py imports it";
    let note = |path: &str| format!("left out {path}, {why} (`\"!/{path}\"` in `exclude` keeps it)");
    assert_eq!(notes, [note("generated/"), note("keys.py")]);
    // As the notes say.
    let (files, notes) = walk_project(place.path(), &["!/generated/", "!/keys.py"]).unwrap();
    assert_eq!((files.len(), notes), (7, Vec::new()), "{files:?}");
}

#[test]
fn translations_without_their_compiled_form_are_named() {
    let mut files = vec![(".gitignore".to_owned(), "*.mo\n".to_owned())];
    for language in ["de", "fr", "it", "pt"] {
        for form in ["po", "mo"] {
            files.push((format!("site/locale/{language}/LC_MESSAGES/django.{form}"), String::new()));
        }
    }
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let place = tree(&files);
    let (found, notes) = walk_project(place.path(), &[]).unwrap();
    let [note] = &notes[..] else { panic!("{notes:?}") };
    assert!(
        note.contains("site/locale/de/LC_MESSAGES/django.mo, ") && note.contains(" and 1 more"),
        "{note}"
    );
    assert_eq!(found.len(), 5);
    // As the note says, and by a rule that a person made for this.
    let (found, notes) = walk_project(place.path(), &["!*.mo"]).unwrap();
    assert_eq!((found.len(), notes), (9, Vec::new()));
    assert_eq!(walk_project(place.path(), &["*.mo"]).unwrap().1, [""; 0]);
}

#[test]
fn pointers_of_large_files_are_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
    let place = tree(&[("site/logo.png", pointer), ("site/a.py", "")]);
    let (found, notes) = walk_project(place.path(), &[]).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(
        notes,
        ["packed as a pointer of Git LFS, without the contents: site/logo.png; `git lfs pull` fetches them"]
    );
}

#[test]
fn what_the_front_end_made_is_named() {
    let place = tree(&[
        (".gitignore", "dist/\nnode_modules/\nwebpack-stats.json\n/static/\n"),
        (
            "web/settings.py",
            "STATICFILES_DIRS = [BASE_DIR / 'node_modules']\nSTATS = BASE_DIR / 'webpack-stats.json'\n",
        ),
        ("web/views.py", ""),
        ("web/static/dist/js/bundle.js", ""),
        ("web/static/logo.svg", ""),
        ("static/dist/collected.js", ""),
        ("docs/dist/a.js", ""),
        ("webpack-stats.json", "{}"),
        ("node_modules/b/dist/b.css", ""),
        ("node_modules/b/node_modules/c.js", ""),
    ]);
    let (files, notes) = walk_project(place.path(), &[]).unwrap();
    assert_eq!(files.len(), 4, "{files:?}");
    let note = |path: &str, why: &str| {
        format!(
            "left out {path}, which an ignore rule names, and {why} (`\"!/{path}\"` in `exclude` keeps it)"
        )
    };
    let names = "web/settings.py names it";
    let mut expected = [
        note("node_modules/", names),
        note("web/static/dist/", "it has scripts or styles of the site"),
        note("webpack-stats.json", names),
    ];
    expected.sort();
    assert_eq!(notes, expected);
    // As the notes say.
    let back = ["!/node_modules/", "!/web/static/dist/", "!/webpack-stats.json"];
    let (files, notes) = walk_project(place.path(), &back).unwrap();
    assert_eq!((files.len(), notes), (8, Vec::new()), "{files:?}");
    let (files, _) = walk_project(place.path(), &["!/node_modules/b/dist/"]).unwrap();
    assert_eq!(files.len(), 5, "{files:?}");
    // A rule that does not name it brings nothing of it back.
    let (files, _) = walk_project(place.path(), &["!*.css", "!dist/"]).unwrap();
    assert!(!files.iter().any(|file| file.path.contains("node_modules")), "{files:?}");
}

#[test]
fn the_variables_of_a_left_out_env_file_are_named() {
    let site = |rules: &str| {
        let place = tree(&[
            (".env", "SECRET_KEY=abc\nDATABASE_URL=\"postgres://a:b@c/d\"\n"),
            ("backend/.env", "DEBUG=1\n"),
            ("backend/empty/.env", "A=1\n"),
            ("backend/empty/a.py", ""),
            (".wheelbarrowignore", rules),
        ]);
        walk_project(place.path(), &[]).unwrap().1
    };
    assert_eq!(
        site(""),
        [
            "left out .env: on servers its variables belong into environment.json: DATABASE_URL, SECRET_KEY",
            "left out backend/.env: on servers its variables belong into environment.json: DEBUG",
        ]
    );
    assert_eq!(site(".env\n"), [""; 0]);
}
