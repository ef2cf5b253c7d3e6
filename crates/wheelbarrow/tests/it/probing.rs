//! What a machine says of itself is a target: `--probe` both ways, and back again through `--target` to this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::site::is_built;
use crate::support::{Place, Said, wheelbarrow};

/// The system's Python, and of pyenv's the oldest that pip is bundled for and the newest, with their minor versions.
fn pythons() -> Vec<(String, PathBuf)> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let versions = fs_err::read_dir(Path::new(&home).join(".pyenv/versions")).into_iter().flatten().flatten();
    let mut own: Vec<_> = versions.map(|version| version.path().join("bin/python")).filter_map(ask).collect();
    own.sort_by_key(|(version, _)| {
        version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>()
    });
    own.retain(|(version, _)| version.starts_with("3."));
    let mut found: Vec<_> = ask("/usr/bin/python3".into()).into_iter().collect();
    found.extend(own.pop());
    found.extend(own.into_iter().next());
    println!("with {found:?}");
    found
}

fn ask(python: PathBuf) -> Option<(String, PathBuf)> {
    let code = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = Command::new(&python).args(["-I", "-c", code]).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!version.is_empty()).then_some((version, python))
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.all()))
}

/// Each says what it is; what is built for that installs there, with a compiled wheel; the others refuse it.
#[test]
fn probed_systems_are_valid_targets() {
    let pythons = pythons();
    for (version, python) in &pythons {
        let place = Place::with(&[
            ("project/requirements.txt", "markupsafe\n"),
            ("project/app.py", "import markupsafe._speedups\n"),
        ]);
        let probe = |words: &[&str]| {
            let path = python.to_str().unwrap();
            place.run(&[&["targets", "--probe", "--python", path], words].concat())
        };
        let (text, described) = (probe(&[]), json(&probe(&["--json"])));
        assert_eq!((text.code, text.err.as_str()), (0, ""), "{}", text.all());
        let target = text.out.trim_end();
        assert_eq!(described["target"], target);
        assert!(
            target.ends_with(&format!(":{version}")) || target.starts_with(&format!("{version}@")),
            "{target}"
        );
        assert!(described["python"].as_str().unwrap().starts_with(&format!("{version}.")), "{described}");

        let mut build = wheelbarrow(&place.path());
        build.args([
            "build",
            "project",
            "--name",
            "site",
            "-o",
            "site.zip",
            "--target",
            target,
            "--shebang",
            &format!("#!{}", python.display()),
            "--cache-dir",
        ]);
        build.arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
        if !is_built(&place.finish(&mut build)) {
            return;
        }
        let run = |python: &Path, words: &[&str]| {
            place.finish(Command::new(python).arg("site.zip").args(words).current_dir(place.path()))
        };
        let asked = run(python, &["--probe"]);
        assert_eq!((asked.code, asked.out.as_str(), asked.err.as_str()), (0, text.out.as_str(), ""));
        assert_eq!(json(&run(python, &["--probe", "--json"])), described);

        for (other, python) in pythons.iter().filter(|(other, _)| other != version) {
            let refused = run(python, &["-d", "dest"]);
            assert_eq!(refused.code, 4, "{version} on {other}: {}", refused.all());
            assert_eq!(run(python, &["--probe"]).code, 0, "any Python may ask");
        }
        let installed = run(python, &["-d", "dest"]);
        assert_eq!(installed.code, 0, "{target}: {}", installed.all());
        let code = "import sys, app; print('%d.%d' % sys.version_info[:2])";
        let ran = place.finish(Command::new(place.path().join("dest/venv/bin/python")).args(["-c", code]));
        assert_eq!(ran.out.trim_end(), version, "{}", ran.all());
        // The host's program takes the Python that the artifact names too, not that of PATH.
        let root = place.path().join("root");
        for words in [["install", "site.zip", "-d", "again"], ["deploy", "site.zip", "--stage", "--root"]] {
            let words: Vec<_> = words.into_iter().chain((words[0] == "deploy").then_some("root")).collect();
            let said = place.run(&words);
            assert_eq!(said.code, 0, "{target}: {}", said.all());
        }
        let release = fs_err::read_dir(root.join("releases")).unwrap().next().unwrap().unwrap().path();
        for install in [place.path().join("again"), release] {
            let ran = place.finish(Command::new(install.join("venv/bin/python")).args(["-c", code]));
            assert_eq!(ran.out.trim_end(), version, "{}", ran.all());
        }
        println!("{target}: probed, built for, installed");
    }
}

#[test]
fn invalid_targets_are_reported() {
    let place = Place::with(&[("python", "#!/bin/sh\necho 'no such thing' >&2\nexit 3\n")]);
    let python = place.path().join("python");
    fs_err::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let said = |python: &str| place.run(&["targets", "--probe", "--python", python]).all();
    insta::assert_snapshot!(said("./python"), @r"
    exit code: 1
    error: ./python does not run as a Python 3: no such thing
    hint: `--python PATH` names another; it must be a CPython, from 3.6 on
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-1
    ");
    // Another program repeats its arguments.
    place.write("python", "#!/bin/sh\nprintf %s \"$*\" >&2\nexit 3\n");
    assert!(said("./python").len() < 700, "{}", said("./python"));
    insta::assert_snapshot!(said("./nothing"), @r"
    exit code: 1
    error: cannot run ./nothing
      Caused by: No such file or directory (os error 2)
    hint: `--python PATH` names another; it must be a CPython, from 3.6 on
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-1
    ");
    // PyPy's facts, told by a program that is none.
    let facts = r#"{"abi": "cp310", "cache_tag": "pypy310", "executable": "/opt/pypy/bin/pypy3", "headers": "", "implementation": "pypy", "libc": {"name": "glibc", "version": [2, 36]}, "machine": "x86_64", "magic": "00000000", "site_packages": "", "version": [3, 10, 14]}"#;
    place.write("python", &format!("#!/bin/sh\necho '{facts}'\n"));
    insta::assert_snapshot!(said("./python"), @r"
    exit code: 4
    error: this Python cannot be a target: /opt/pypy/bin/pypy3 (cp310) is no CPython that wheels are made for
    hint: give the CPython that the site will run on: --python PATH
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-4
    ");
}
