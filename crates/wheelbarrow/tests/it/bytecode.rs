//! Bytecode that travels, through the programs themselves: the same bytes wherever it is made, what Python does with it, and
//! what pip would have compiled.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use serde_json::Value;
use wheelbarrow_artifact::manifest::Sha256;

use crate::site::is_built;
use crate::support::{Place, wheelbarrow};
use crate::wheels::{Wheel, lock};

/// What the order of hashes, addresses and the names that a process has seen before could show in.
const SETS: &str = "
NAMES = {'alpha', 'beta', 'gamma', None, b'x', 1.5}
def f(x):
    return x in {None, 'a', 1, (None, 2, ('b', ...)), ...} or x in {'alpha', 'beta', 'gamma', None, b'x', 1.5}
def g(x, names={'id', 'name', 'alpha'}):
    return [name for name in ('id', 'name', 'never seen before') if x in {name, None, 8}]
class C:
    def __init__(self):
        self.one = self.two = self.three = None
";

/// One Python of each minor version from 3.8 on.
pub(crate) fn pythons() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let versions = fs::read_dir(Path::new(&home).join(".pyenv/versions")).into_iter().flatten().flatten();
    let mut found: Vec<((u32, u32), PathBuf)> = versions
        .filter_map(|version| {
            let name = version.file_name().into_string().ok()?;
            let mut numbers = name.split('.').map_while(|number| number.parse().ok());
            Some(((numbers.next()?, numbers.next()?), version.path().join("bin/python")))
        })
        .filter(|(version, python)| *version >= (3, 8) && python.exists())
        .collect();
    if found.is_empty() {
        println!("skipped: pyenv's Pythons; there is the system's only");
        return vec!["python3".into()];
    }
    found.sort();
    found.dedup_by_key(|(version, _)| *version);
    println!("with {found:?}");
    found.into_iter().map(|(_, python)| python).collect()
}

/// A site with a wheel of all that matters.
fn site() -> Place {
    let place = Place::with(&[
        ("project/app.py", "import pack.sets, pack.deep.module\nNAMES = {'x', 'y', None}\n"),
        ("project/templates/app.py", "class {{ name }}:\n"),
        ("project/old.py", "print 'Python 2'\n"),
    ]);
    let mut wheel = Wheel::begin(&place.path(), "pack");
    wheel.add("pack/__init__.py", b"");
    wheel.add("pack/sets.py", SETS.as_bytes());
    wheel.add("pack/latin.py", b"# -*- coding: latin-1 -*-\nx = '\xe4'\n");
    wheel.add("pack/deep/module.py", b"def where():\n    return where.__code__.co_filename\n");
    wheel.add("pack/templates/app.py", b"class {{ name }}:\n");
    wheel.add("pack/old.py", b"print 'Python 2'\n");
    wheel.add("pack/nul.py", b"x = '\0'\n");
    wheel.finish();
    lock(&place.path().join("pylock.toml"), &["pack"]);
    place
}

/// Builds in the place with settings of its own; gives the artifact, or none where that was not possible here.
fn build(place: &Place, settings: &[(&str, &str)], umask: &str, words: &[String]) -> Option<PathBuf> {
    let ours = wheelbarrow(&place.path());
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask \"$1\"; shift; exec \"$@\"", "sh", umask]).arg(ours.get_program());
    shell.args([
        "build",
        "project",
        "--name",
        "site",
        "--lock",
        "pylock.toml",
        "-o",
        "site.zip",
        "--cache-dir",
        "cache",
    ]);
    shell.args(words).current_dir(place.path());
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    for (name, value) in settings {
        shell.env(name, value.replace("[PLACE]", place.path().to_str().unwrap()));
    }
    is_built(&place.finish(&mut shell)).then(|| place.path().join("site.zip"))
}

/// For each of these Pythons, and all or nothing.
fn for_pythons(pythons: &[PathBuf]) -> Vec<String> {
    let mut words = vec!["--bytecode=always".to_owned()];
    words.extend(
        pythons.iter().flat_map(|python| ["--python".to_owned(), python.to_str().unwrap().to_owned()]),
    );
    words
}

#[test]
fn compiled_bytes_do_not_depend_on_user_and_directory() {
    let words = for_pythons(&pythons());
    let home = std::env::var("HOME").unwrap_or_default();
    let surroundings: [(&[(&str, &str)], &str); 2] = [
        (
            &[
                ("PYTHONHASHSEED", "1"),
                ("PYTHONDONTWRITEBYTECODE", "1"),
                ("PYTHONOPTIMIZE", "2"),
                ("TMPDIR", "[PLACE]/tmp"),
                ("LC_ALL", "C"),
                ("HOME", &home),
            ],
            "077",
        ),
        (
            &[("PYTHONHASHSEED", "random"), ("LC_ALL", "C.UTF-8"), ("TZ", "Asia/Tokyo"), ("HOME", "[PLACE]")],
            "002",
        ),
    ];
    let mut hashes = Vec::new();
    for (settings, umask) in surroundings {
        let place = site();
        fs::create_dir(place.path().join("tmp")).unwrap();
        let Some(artifact) = build(&place, settings, umask, &words) else { return };
        hashes.push(Sha256::of(&fs::read(&artifact).unwrap()));
        let shown = place.run(&["inspect", "--json", "site.zip"]).out;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let targets = shown["manifest"]["targets"].as_array().unwrap();
        assert!(targets.iter().all(|target| target["bytecode"]["magic"].is_string()), "{targets:?}");
        assert_eq!(targets.len() * 2 + 1, words.len());
        let members = shown["manifest"]["members"].as_array().unwrap().iter();
        let packs = members.filter_map(|member| member["path"].as_str()?.strip_suffix(".pack"));
        let of: BTreeSet<_> = packs.filter_map(|path| path.rsplit('/').next()).collect();
        assert_eq!(of.into_iter().collect::<Vec<_>>(), ["pack-1-py3-none-any.whl", "project"]);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[test]
fn python_takes_it_and_sees_edits() {
    let pythons = pythons();
    let place = site();
    let Some(artifact) = build(&place, &[], "022", &for_pythons(&pythons)) else { return };
    for python in &pythons {
        let run = |words: &[&str]| {
            let mut command = Command::new(python);
            command.arg(&artifact).args(["-d", "dest"]).args(words).current_dir(place.path());
            let said = place.finish(command.env_remove("PYTHONDONTWRITEBYTECODE"));
            assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.all());
        };
        run(&["--without-pip"]);
        let code = "import app, pack.latin, pack.deep.module as module; print(module.where())";
        let start = |words: &[&str]| {
            let mut command = Command::new(place.path().join("dest/venv/bin/python"));
            place.finish(command.args(words).env_clear().current_dir("/"))
        };
        let said = start(&["-v", "-c", code]);
        let ours = said.err.lines().filter(|line| line.contains("[PLACE]/dest/"));
        let compiled: Vec<_> = ours
            .filter(|line| line.starts_with("# wrote") || line.starts_with("# code object from [PLACE]"))
            .collect();
        assert_eq!((said.code, compiled), (0, Vec::<&str>::new()), "{python:?}");
        let matches = said.err.lines().filter(|line| line.contains("matches [PLACE]/dest/")).count();
        assert!(matches >= 6, "{python:?}: {matches}");
        let module = said.out.trim().replace("[PLACE]", place.path().to_str().unwrap());
        assert!(module.ends_with("/site-packages/pack/deep/module.py"), "{module}");
        fs::write(&module, "def where():\n    return 'edited'\n").unwrap();
        assert_eq!(start(&["-c", code]).out, "edited\n", "{python:?}");
        fs::remove_dir_all(place.path().join("dest")).unwrap();
        // The door is compiled for the first Python; the others compile it themselves, and say where it is.
        for module in ["__main__", ".wheelbarrow/python/interpreter"] {
            let code = "import sys, zipimport\n\
                        archive, name = sys.argv[1].rsplit(':', 1)\n\
                        directory, name = ('/' + name).rsplit('/', 1)\n\
                        print(zipimport.zipimporter(archive + directory).get_code(name).co_filename)";
            let mut command = Command::new(python);
            let said =
                place.finish(command.args(["-c", code]).arg(format!("{}:{module}", artifact.display())));
            let is_compiled = said.out.trim() == format!("{module}.py");
            assert_eq!(is_compiled, python == &pythons[0], "{python:?}: {}", said.all());
        }
    }
}

/// Compiled are those modules that pip compiles of the same wheels: Django's, with its templates, and ours.
#[test]
fn bytecode_is_made_for_the_modules_that_pip_compiles() {
    let place = site();
    let mut pip = clean("python3");
    pip.args(["-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "-d", "."]);
    pip.args(["Django==4.2.16", "asgiref==3.8.1", "sqlparse==0.5.1", "PyYAML==6.0.2"]);
    let said = place.finish(pip.current_dir(place.path()));
    if said.code != 0 {
        assert!(std::env::var_os("CI").is_none(), "CI must have an index: {}", said.err);
        return println!("skipped: {}", said.err.lines().last().unwrap_or_default());
    }
    let entries = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path());
    let wheels: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "whl")).collect();
    let mut text = "lock-version = \"1.0\"\ncreated-by = \"test\"\n".to_owned();
    for wheel in &wheels {
        let file = wheel.file_name().unwrap().to_str().unwrap();
        let (name, rest) = file.split_once('-').unwrap();
        text.push_str(&format!(
            "[[packages]]\nname = \"{}\"\nversion = \"{}\"\n[[packages.wheels]]\npath = \"{file}\"\nhashes = {{sha256 = \"{}\"}}\n",
            name.to_lowercase(), rest.split('-').next().unwrap(), Sha256::of(&fs::read(wheel).unwrap())
        ));
    }
    fs::write(place.path().join("pylock.toml"), text).unwrap();
    let Some(artifact) = build(&place, &[], "022", &["--bytecode=always".to_owned()]) else { return };
    let done = |command: &mut Command| {
        let said = place.finish(command.current_dir(place.path()));
        assert_eq!(said.code, 0, "{}", said.all());
    };
    done(clean("python3").arg(&artifact).args(["-d", "ours", "--without-pip"]));
    done(clean("python3").args(["-m", "venv", "theirs"]));
    let mut pip = clean(place.path().join("theirs/bin/python").to_str().unwrap());
    pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index"])
        .args(&wheels);
    done(&mut pip);
    let (ours, theirs) = (compiled(&place, "ours/venv"), compiled(&place, "theirs"));
    let theirs: BTreeSet<_> = theirs
        .into_iter()
        .filter(|path| {
            !["pip/", "setuptools/", "_distutils_hack/", "pkg_resources/"]
                .iter()
                .any(|own| path.starts_with(own))
        })
        .collect();
    let ours: BTreeSet<_> =
        ours.into_iter().filter(|path| !path.starts_with("__pycache__/loadenv.")).collect();
    assert!(theirs.len() > 800, "{}", theirs.len());
    assert_eq!(ours.symmetric_difference(&theirs).collect::<Vec<_>>(), Vec::<&String>::new());
    let version = clean(place.path().join("ours/venv/bin/python").to_str().unwrap())
        .args(["-v", "-c", "import django.db.models, django.contrib.admin, yaml, pack.sets"])
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&version.stderr).into_owned();
    assert!(version.status.success() && !said.contains("# wrote"), "{said}");
    let site = place.path().join("ours").display().to_string();
    let from_sources = said.lines().find(|line| line.starts_with(&format!("# code object from {site}")));
    assert_eq!(from_sources, None);
}

/// Below site-packages.
fn compiled(place: &Place, virtualenv: &str) -> BTreeSet<String> {
    let mut find = Command::new("find");
    find.arg(place.path().join(virtualenv).join("lib")).args(["-name", "*.pyc", "-print"]);
    let said = place.finish(&mut find);
    said.out.lines().filter_map(|line| Some(line.split_once("/site-packages/")?.1.to_owned())).collect()
}

/// A program without what this machine is used to.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, value) in wheelbarrow(Path::new("/")).get_envs() {
        if value.is_none() {
            command.env_remove(name);
        }
    }
    command
}

#[test]
fn bytecode_is_optional_and_shown_by_inspect() {
    let place = site();
    let shown = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        build(&place, &[], "022", &words)?;
        Some(place.run(&["inspect", "site.zip"]).out)
    };
    let line =
        |text: String| text.lines().find(|line| line.contains("bytecode")).unwrap_or_default().to_owned();
    let Some(never) = shown(&["--bytecode=never"]) else { return };
    insta::assert_snapshot!(line(never), @"");
    let auto = line(shown(&[]).unwrap());
    assert!(auto.contains("cpython-"), "{auto}");
    // A Python that nobody has yet.
    let other = ["build", "project", "--lock", "pylock.toml", "--target", "3.19@manylinux_2_28_x86_64"];
    let said = place.run(&[&other[..], &["--dry-run", "--cache-dir", "cache"]].concat());
    assert!(said.err.contains("no bytecode for 3.19"), "{}", said.all());
    let said = place.run(&[&other[..], &["--bytecode=always", "--cache-dir", "cache"]].concat());
    insta::assert_snapshot!(said.all(), @"
    exit code: 8
    note: dependencies: pylock.toml
    error: no Python 3.19 on this machine to compile with
    hint: install a Python 3.19, or leave `--bytecode=always` away: its bytecode is not bundled then
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
}

/// Also if the bytecode is in the cache. The code may be for a newer Python; templates do not compile either.
#[test]
fn modules_that_do_not_compile_are_named() {
    let place = site();
    let build = || {
        let mut command = wheelbarrow(&place.path());
        let words = ["build", "project", "--lock", "pylock.toml", "-o", "a.zip", "--cache-dir", "cache"];
        place.finish(command.args(words))
    };
    // In the working directory, which any user may be able to write to.
    for module in ["struct.py", "warnings.py"] {
        fs::write(place.path().join(module), "open('ran', 'w')\n").unwrap();
    }
    if !is_built(&build()) {
        return;
    }
    let said = build();
    assert!(!place.path().join("ran").exists());
    let notes: Vec<_> = said.err.lines().filter(|line| line.contains("does not compile")).collect();
    let [old, template] = notes[..] else { panic!("{}", said.all()) };
    assert!(
        old.contains("note: old.py does not compile for Python 3.") && old.contains(": line 1: "),
        "{old}"
    );
    assert!(template.starts_with("note: templates/app.py does not compile for Python 3."), "{template}");
}
