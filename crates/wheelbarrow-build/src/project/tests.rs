mod layout;
mod left_out;
mod repositories;
mod secret_files;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fs_err as fs;
use wheelbarrow_base::progress::{Progress, Unit};

use super::*;
use crate::cache::Cache;

/// Makes files: their paths, and what is in them.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for (path, contents) in files {
        let path = place.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    place
}

fn walk_project(root: &Path, exclude: &[&str]) -> Result<(Vec<ProjectFile>, Vec<String>), ProjectError> {
    let exclude = exclude.iter().map(|&pattern| pattern.to_owned()).collect();
    let artifact = Some(root.join("site-2.zip"));
    let (files, told) = walk(&Walk {
        root: root.to_path_buf(),
        rules: WalkRules::Project { exclude },
        artifact,
        cache: None,
    })?;
    Ok((files, told.notes))
}

fn paths(root: &Path, exclude: &[&str]) -> Vec<String> {
    let (files, _) = walk_project(root, exclude).unwrap();
    files.into_iter().map(|file| file.path).collect()
}

#[test]
fn rules_of_the_project_leave_files_out() {
    let place = tree(&[
        (".gitignore", "*.log\n/media/\n!kept.log\nbuilt/\n"),
        ("a.log", ""),
        ("kept.log", ""),
        ("media/photo.jpg", ""),
        ("app/.gitignore", "secret.txt\n"),
        ("app/secret.txt", ""),
        ("app/media/logo.png", ""),
        ("built/site.css", ""),
        (".wheelbarrowignore", "docs/\n!built/\n"),
        ("docs/index.md", ""),
        ("tests/test_a.py", ""),
        (".hidden", ""),
    ]);
    let expected = [
        ".gitignore",
        ".hidden",
        ".wheelbarrowignore",
        "app/.gitignore",
        "app/media/logo.png",
        "built/site.css",
        "kept.log",
    ];
    assert_eq!(paths(place.path(), &["tests/"]), expected);
}

#[test]
fn files_that_git_tracks_are_packed_although_its_rules_name_them() {
    if !wheelbarrow_testing::has("git") {
        return;
    }
    let place = tree(&[
        (".gitignore", "lib/\n*.xml\n.env\n"),
        (".wheelbarrowignore", "left.xml\n"),
        ("app/lib/tracked.js", ""),
        ("app/lib/new.js", ""),
        ("app/schedule.xml", ""),
        ("excluded.xml", ""),
        ("left.xml", ""),
        ("new.xml", ""),
        (".env", ""),
    ]);
    let git = |arguments: &[&str]| {
        let status = std::process::Command::new("git").arg("-C").arg(place.path()).args(arguments).status();
        assert!(status.unwrap().success(), "git {arguments:?}");
    };
    git(&["init", "--quiet"]);
    let tracked = ["app/lib/tracked.js", "app/schedule.xml", "excluded.xml", "left.xml", ".env"];
    git(&[&["add", "--force"], &tracked[..]].concat());
    let expected = [".gitignore", ".wheelbarrowignore", "app/lib/tracked.js", "app/schedule.xml"];
    assert_eq!(paths(place.path(), &["/excluded.xml"]), expected);
    assert_eq!(
        paths(&place.path().join("app"), &[]),
        ["lib/tracked.js", "schedule.xml"],
        "a part of a checkout"
    );
    fs::remove_file(place.path().join("app/schedule.xml")).unwrap();
    assert_eq!(paths(&place.path().join("app"), &[]), ["lib/tracked.js"], "removed and still tracked");
}

#[test]
fn rules_above_count_inside_a_checkout_only() {
    let place = tree(&[(".gitignore", "*.log\n"), ("site/a.log", ""), ("site/b.py", "")]);
    assert_eq!(paths(&place.path().join("site"), &[]), ["a.log", "b.py"]);
    fs::create_dir(place.path().join(".git")).unwrap();
    assert_eq!(paths(&place.path().join("site"), &[]), ["b.py"]);
}

#[test]
fn some_files_are_never_packed() {
    let place = tree(&[
        (".git/config", ""),
        ("__pycache__/a.cpython-312.pyc", ""),
        ("b.pyc", ""),
        ("vendor/x/x.egg-info/PKG-INFO", ""),
        ("virtual/pyvenv.cfg", ""),
        ("virtual/bin/python", ""),
        ("root/.wheelbarrow/journal.jsonl", ""),
        ("root/shared/upload.jpg", ""),
        ("installed/.wheelbarrow/receipt.json", ""),
        ("installed/app.py", ""),
        ("made/CACHEDIR.TAG", ""),
        ("made/x", ""),
        (".env", "KEY=1"),
        (".env.local", "KEY=1"),
        (".env.example", "KEY="),
        ("environment.json", "{}"),
        ("db.sqlite3", "SQLite format 3\0 and more"),
        ("db.sqlite3-journal", ""),
        ("site-2.zip", "whatever"),
        (".site-2.zip.wheelbarrow-0a1b2c3d", "unfinished"),
        (".pylock.site.toml.wheelbarrow-0a1b2c3d", "unfinished"),
        ("site-data.zip", "PK"),
        ("node_modules/x/y.js", ""),
        ("manage.py", ""),
    ]);
    let (files, notes) = walk_project(place.path(), &[]).unwrap();
    let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, [".env.example", "manage.py", "site-data.zip"]);
    assert_eq!(notes.len(), 3, "{notes:?}");
}

#[test]
fn the_cache_of_the_build_is_not_packed() {
    let place = tree(&[("app.py", ""), ("own/pip/x", "")]);
    Cache::open(Some(&place.path().join("new"))).unwrap();
    let cache = place.path().join("own");
    Cache::open(Some(&cache)).unwrap();
    assert!(!cache.join(".gitignore").exists(), "it is not for this program alone");
    let of = |cache| {
        let walked = walk(&Walk { root: place.path().to_path_buf(), cache, ..Walk::default() });
        walked.unwrap().0.into_iter().map(|file| file.path).collect::<Vec<_>>()
    };
    assert_eq!(of(Some(cache)), ["app.py"]);
    assert_eq!(of(None), ["app.py", "own/lock", "own/pip/x"]);
}

#[test]
fn what_git_ignores_by_rules_of_its_own_is_left_out() {
    let place =
        tree(&[("app.py", ""), ("local.py", ""), (".git/info/exclude", "/local.py\n"), (".git/HEAD", "")]);
    assert_eq!(paths(place.path(), &[]), ["app.py"]);
}

/// The least that is an artifact.
fn artifact(path: &Path, shebang: &str) {
    let file = fs::File::create(path).unwrap().into_parts().0;
    let mut zip =
        wheelbarrow_artifact::zip::ZipWriter::new(file, shebang, wheelbarrow_artifact::zip::DosTime::FIRST)
            .unwrap();
    for member in [".wheelbarrow/manifest.json", ".wheelbarrow/manifest.json.sig"] {
        zip.add(member, wheelbarrow_artifact::manifest::MemberKind::File, b"{}").unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn artifacts_are_never_packed() {
    let place = tree(&[
        ("a.py", ""),
        ("run", "#!/bin/sh\n"),
        ("dist/x", ""),
        ("tool.pyz", "#!/usr/bin/env python3\nPK"),
    ]);
    artifact(&place.path().join("rel1.zip"), "#!/usr/bin/env python3");
    artifact(&place.path().join("dist/deploy"), "#!/opt/python -I");
    symlink("../rel1.zip", place.path().join("dist/latest")).unwrap();
    symlink("../site-2.zip", place.path().join("dist/newest")).unwrap();
    fs::write(place.path().join("site-2.zip"), "the one before").unwrap();
    let rules = WalkRules::Project { exclude: Vec::new() };
    let artifact = Some(place.path().join("site-2.zip"));
    let (files, told) =
        walk(&Walk { root: place.path().to_path_buf(), rules, artifact, cache: None }).unwrap();
    let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["a.py", "dist/x", "run", "tool.pyz"]);
    assert_eq!(told.artifacts, ["dist/deploy", "dist/latest", "dist/newest", "rel1.zip"]);
}

/// Those of earlier builds of the site lie there each time.
#[test]
fn artifacts_of_the_site_are_a_detail() {
    let told = |artifacts: &[&str]| {
        let artifacts = artifacts.iter().map(|path| (*path).to_owned()).collect();
        let told = Told::default();
        WalkNotes { notes: Vec::new(), artifacts }.tell("site", &told);
        told.0.into_inner().unwrap().join("\n")
    };
    assert_eq!(told(&[]), "");
    insta::assert_snapshot!(told(&["dist/site-1.zip", "site.zip"]), @"-v artifacts of Wheelbarrow that were left out: dist/site-1.zip, site.zip");
    insta::assert_snapshot!(told(&["site-1.zip", "sites.zip"]), @"
    left out sites.zip: an artifact of Wheelbarrow
    -v artifacts of Wheelbarrow that were left out: site-1.zip, sites.zip
    ");
    insta::assert_snapshot!(told(&["a", "b", "site-1.zip"]), @"
    left out 2 artifacts of Wheelbarrow; `-v` names them
    -v artifacts of Wheelbarrow that were left out: a, b, site-1.zip
    ");
}

/// Remembers notes and details.
#[derive(Default)]
struct Told(std::sync::Mutex<Vec<String>>);

impl Progress for Told {
    fn begin(&self, _what: &str, _total: u64, _unit: Unit) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn note(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
    fn detail(&self, message: &str) {
        self.0.lock().unwrap().push(format!("-v {message}"));
    }
}

#[test]
fn nothing_is_packed_where_a_release_has_a_link() {
    let place = tree(&[("a.py", ""), ("media/.gitkeep", ""), ("mediator/b.py", ""), ("var", "")]);
    let message = |shared: &str, exclude: &[&str]| {
        let (files, _) = walk_project(place.path(), exclude).unwrap();
        let refused = check_shared(&[shared.to_owned()], &files);
        refused.err().map(|error| format!("{error}; {}", error.hint().unwrap_or_default()))
    };
    let refused = message("media/", &[]).unwrap();
    assert!(
        refused.contains("media/.gitkeep would be packed")
            && refused.contains("add \"/media/\" to `exclude`"),
        "{refused}"
    );
    assert!(message("var/log", &[]).unwrap().contains("var would be packed"));
    for outside in ["/srv/media", "../media", "a/../b", ""] {
        assert!(message(outside, &[]).unwrap().contains("not a path below the project"), "{outside}");
    }
    for own in ["environment.json", "wheelbarrow.toml/"] {
        assert!(message(own, &[]).unwrap().contains("Wheelbarrow's own in ROOT/shared"), "{own}");
    }
    assert_eq!(message("media", &["/media/"]), None);
    assert_eq!(message("data", &[]), None);
}

#[test]
fn the_setting_brings_back_what_git_ignores() {
    let place = tree(&[
        (".gitignore", "/built/\n*.log\n"),
        ("a.py", ""),
        ("built/x/site.css", ""),
        ("b.log", ""),
        (".env", ""),
    ]);
    assert_eq!(paths(place.path(), &["!/built/", "!/.env"]), [".gitignore", "a.py", "built/x/site.css"]);
    assert_eq!(
        paths(place.path(), &["!/built/x/site.css", "!b.log"]),
        [".gitignore", "a.py", "b.log", "built/x/site.css"]
    );
    assert_eq!(paths(place.path(), &["!/built/", "*.css"]), [".gitignore", "a.py"]);
}

#[test]
fn an_exception_packs_a_database() {
    let database = "SQLite format 3\0 and more";
    let files = [("search.db", database), ("search.db-wal", ""), ("data.db", database), ("a.py", "")];
    let place = tree(&files);
    assert_eq!(paths(place.path(), &["!/search.db"]), ["a.py", "search.db"]);
    let (_, notes) = walk_project(place.path(), &["!/data.db"]).unwrap();
    let expected = [
        "left out search.db-wal: it belongs to an SQLite database",
        "left out search.db: an SQLite database (if it belongs to the code, `!/search.db` in .wheelbarrowignore keeps it)",
    ];
    assert_eq!(notes, expected);
    fs::write(place.path().join(".wheelbarrowignore"), "!/search.db\n").unwrap();
    assert_eq!(paths(place.path(), &[]), [".wheelbarrowignore", "a.py", "search.db"]);
}

#[test]
fn static_directories_have_no_gitignore() {
    let place = tree(&[(".gitignore", "*"), ("site.css", ""), ("pages/environment.json", "")]);
    let (files, _) = walk(&Walk { root: place.path().to_path_buf(), ..Walk::default() }).unwrap();
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), [".gitignore", "site.css"]);
}

#[test]
fn file_kinds_are_distinguished() {
    let place = tree(&[("a.py", "12"), ("run.sh", "")]);
    fs::set_permissions(place.path().join("run.sh"), std::fs::Permissions::from_mode(0o700)).unwrap();
    symlink("a.py", place.path().join("link")).unwrap();
    std::os::unix::net::UnixListener::bind(place.path().join("socket")).unwrap();
    let (files, notes) = walk_project(place.path(), &[]).unwrap();
    let contents: Vec<_> = files.into_iter().map(|file| file.content).collect();
    let expected = [
        FileContent::File { size: 2, executable: false },
        FileContent::Link { target: "a.py".to_owned() },
        FileContent::File { size: 0, executable: true },
    ];
    assert_eq!(contents, expected);
    assert_eq!(notes, ["left out socket: neither a file nor a link"]);
}

#[test]
fn links_that_leave_are_refused() {
    for target in ["/etc/hostname", "../x", "a/../../x", "up/../../x"] {
        let place = tree(&[("site/a/b.py", "")]);
        let root = place.path().join("site");
        symlink(".", root.join("up")).unwrap();
        symlink(target, root.join("link")).unwrap();
        let error = walk_project(&root, &[]).unwrap_err();
        assert!(matches!(error, ProjectError::LinkLeaves { .. }), "{target}: {error}");
        assert!(error.to_string().contains(target), "{error}");
        assert!(walk_project(&root, &["/link"]).is_ok(), "{target}");
    }
    // By its text it stays, by the link that it goes through it does not.
    let place = tree(&[("x", ""), ("site/a/b/c.py", "")]);
    let root = place.path().join("site");
    symlink(".", root.join("a/here")).unwrap();
    symlink("a/here/../../x", root.join("link")).unwrap();
    assert!(matches!(walk_project(&root, &[]), Err(ProjectError::LinkLeaves { .. })));
}

#[test]
fn links_are_judged_as_in_the_artifact() {
    let place = tree(&[("site/a/b.py", ""), ("site/left/c.py", ""), ("site/empty/.env", "")]);
    let root = place.path().join("site");
    let refused = |target: &str| {
        let _ = fs::remove_file(root.join("a/link"));
        symlink(target, root.join("a/link")).unwrap();
        walk_project(&root, &["/left"]).err().map(|error| {
            assert_eq!(error.hint(), ProjectError::LinkLeaves { link: "".into(), target: "".into() }.hint());
            format!("{error}: {}", std::error::Error::source(&error).unwrap())
        })
    };
    symlink("a", root.join("to")).unwrap();
    for target in ["b.py", ".", "..", "../a/b.py", "../to/b.py", "../to/../a", "../left/c.py", "gone"] {
        assert_eq!(refused(target), None, "{target}");
    }
    for target in ["../left/../a", "../empty/../a", "gone/../b.py"] {
        let message = refused(target).unwrap();
        let reason = "the link has `..` behind a name that is not a directory of the project";
        let expected =
            format!("the link {}/a/link cannot be packed: a/link -> {target}: {reason}", root.display());
        assert_eq!(
            message.replace(&root.canonicalize().unwrap().display().to_string(), &root.display().to_string()),
            expected
        );
    }
}

#[test]
fn control_characters_in_names_are_refused() {
    for name in ["Icon\r", "a\u{1}b.py", "a\nb/c.py", "\u{202e}.py"] {
        let place = tree(&[("a.py", ""), (name, "")]);
        let error = walk_project(place.path(), &[]).unwrap_err();
        assert!(matches!(error, ProjectError::Control { .. }), "{error}");
        assert!(error.to_string().contains(&name.escape_debug().to_string()), "{error}");
        assert!(error.hint().unwrap().contains("exclude"), "{error}");
        assert!(walk_project(place.path(), &["*", "!/a.py"]).is_ok(), "{name:?}");
    }
    // What is not packed may have any name.
    let place = tree(&[("a.py", ""), ("__pycache__/a\u{1}", "")]);
    assert!(walk_project(place.path(), &[]).is_ok());
}

#[test]
fn a_name_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let place = tree(&[]);
    fs::write(place.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.py")), "").unwrap();
    assert!(matches!(walk_project(place.path(), &[]), Err(ProjectError::Name { .. })));
}

#[test]
fn files_with_logins_of_indexes_are_not_packed() {
    let login = "--extra-index-url https://u:s3cr3t@h/simple\n";
    let toml = "index-url = \"https://u:s3cr3t@h/simple\"\n";
    let place = tree(&[
        ("requirements.txt", "--index-url https://user@h/simple\nx @ https://${U}:${P}@h/x.zip?token=$T\n"),
        ("site/settings.py", "URL = 'http://u:p@localhost'\n"),
        ("ok/requirements/base.txt", "x\n"),
    ]);
    let check = |inputs: &[&Path]| check_logins(&walk_project(place.path(), &[]).unwrap().0, inputs);
    check(&[]).unwrap();
    for (path, text) in [
        ("requirements.txt", login),
        ("deploy/requirements/base.in", login),
        ("wheelbarrow.toml", toml),
        ("sub/pyproject.toml", toml),
        ("pylock.site.toml", toml),
        ("Pipfile", toml),
        ("requirements/tokens.txt", "\nx @ git+https://glpat-s3cr3t@h/x\n"),
        ("pylock.toml", "\n{ url = \"https://h/x.whl?sv=1&sig=s3cr3t\" }\n"),
    ] {
        let path_there = place.path().join(path);
        fs::create_dir_all(path_there.parent().unwrap()).unwrap();
        let before = fs::read(&path_there).ok();
        fs::write(&path_there, text).unwrap();
        let error = check(&[]).unwrap_err();
        let line = if text.starts_with('\n') { 2 } else { 1 };
        let expected = format!(
            "line {line} of {path} has a password or a token in a URL, and the file is packed into the artifact"
        );
        assert_eq!(error.to_string(), expected);
        assert!(!format!("{error} {:?}", error.hint()).contains("s3cr3t"));
        fs::remove_file(&path_there).unwrap();
        before.into_iter().for_each(|text| fs::write(&path_there, text).unwrap());
    }
    for path in ["deps", "Makefile", ".github/workflows/test.yml"] {
        let path = place.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, login).unwrap();
    }
    let note = |path: &str| {
        format!(
            "line 1 of {path} has a password or a token in a URL, and every user of a host can read it in a release: \
             `/{path}` in .wheelbarrowignore leaves it out"
        )
    };
    assert_eq!(check(&[]).unwrap(), [".github/workflows/test.yml", "Makefile"].map(note));
    check(&[&place.path().join("deps")]).unwrap_err();
}

#[test]
fn a_submodule_that_is_not_checked_out_is_named() {
    let modules = "[submodule \"theme\"]\n\tpath = site/theme\n\turl = ../theme\n[submodule \"lib\"]\n\tpath = site/lib\n";
    let place =
        tree(&[(".gitmodules", modules), ("site/a.py", ""), ("site/lib/b.py", ""), (".git/HEAD", "")]);
    fs::create_dir(place.path().join("site/theme")).unwrap();
    let note = |path: &str| {
        format!(
            "{path} is a submodule that is not checked out, so nothing of it is packed: \
             `git submodule update --init {path}` fetches it"
        )
    };
    assert_eq!(walk_project(place.path(), &[]).unwrap().1, [note("site/theme")]);
    assert_eq!(walk_project(&place.path().join("site"), &[]).unwrap().1, [note("theme")]);
    assert_eq!(walk_project(place.path(), &["/site/theme/"]).unwrap().1, [""; 0]);
    fs::remove_dir_all(place.path().join(".git")).unwrap();
    assert_eq!(walk_project(place.path(), &[]).unwrap().1, [""; 0], "an export, which has no submodules");
}
