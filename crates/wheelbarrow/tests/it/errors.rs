//! What failed, why, and what to do: the words, and the exit codes of docs/reference/exit-codes.md.

use std::process::Command;

use wheelbarrow_testing::mounts::Mounted;

use crate::support::{Place, wheelbarrow};

#[test]
fn wrong_usage() {
    let place = Place::with(&[]);
    assert_eq!(place.run(&[]).code, 2);
    assert_eq!(place.run(&["biuld"]).code, 2);
    assert_eq!(place.run(&["build", ".", "requirements.txt"]).code, 2);
    insta::assert_snapshot!(place.run(&["build", "--lock", "a", "-r", "b"]).all(), @"
    exit code: 2
    error: the argument '--lock <FILE>' cannot be used with '--requirements <FILE>'

    Usage: wheelbarrow build --lock <FILE> [PROJECT] [REQUIREMENTS] [BASENAME]

    For more information, try '--help'.
    ");
}

#[test]
fn a_project_without_requirements() {
    insta::assert_snapshot!(Place::with(&[("manage.py", "")]).run(&["build"]).all(), @"
    exit code: 8
    error: no file in [PLACE] names the dependencies of the project
    hint: add a requirements.txt, pylock.toml, uv.lock or pyproject.toml, or name one with -r FILE or --lock FILE
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
}

/// Not another program in its place, nor a value without the name under which it is set.
#[test]
fn variables_that_cannot_be_used_are_named() {
    let place = Place::with(&[("requirements.txt", "six==1.16.0"), ("app.py", "")]);
    let build = |name: &str, value: &str| {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "--upgrade", "--cache-dir", "cache"]).env(name, value);
        place.finish(&mut command)
    };
    insta::assert_snapshot!(build("UV", "/nonexistent").all(), @"
    exit code: 1
    note: dependencies: ./requirements.txt
    error: the uv that UV names, /nonexistent, does not run
    hint: set UV to the path of a uv, or unset it to use the uv on PATH
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-1
    ");
    let said = build("UV", "https://joe:hunter2@h/uv");
    assert!(
        said.err.contains("error: the uv that UV names, https://****@h/uv, does not run"),
        "{}",
        said.all()
    );
    let said = build("TMPDIR", "/nonexistent");
    let hint = "hint: TMPDIR names /nonexistent: set it to a directory that exists and can be written to\n";
    assert!(said.code == 1 && said.err.contains(hint), "{}", said.all());
    let said = build("HTTPS_PROXY", "http://name:hunter2@not a host");
    assert!(said.code == 9 && !said.err.contains("hunter2"), "{}", said.all());
    assert!(said.err.contains("error: HTTPS_PROXY is not the URL of a proxy: "), "{}", said.all());
}

#[test]
fn settings_of_uv_that_are_not_toml_are_refused() {
    let place = Place::with(&[("requirements.txt", ""), ("app.py", ""), ("uv.toml", "a = 1\nsecret = [\n")]);
    insta::assert_snapshot!(place.run(&["build", "--cache-dir", "cache"]).all(), @"
    exit code: 8
    note: dependencies: ./requirements.txt
    error: [PLACE]/uv.toml, line 2: unclosed array, expected `]`
    hint: correct it: uv refuses it too; UV_NO_CONFIG=1 ignores all settings of uv
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
}

/// A log does not show where a command was run.
#[test]
fn a_project_is_named_in_full() {
    let place = Place::with(&[("excluded.py", ""), (".wheelbarrowignore", "*\n")]);
    let said = place.run(&["build"]);
    assert!(said.code == 8 && said.err.contains("error: [PLACE] has no file to pack"), "{}", said.all());
    place.write("one/a.py", "");
    let said = place.run(&["build", "./one", "--import-path", "../x"]);
    assert!(said.err.contains("is not a directory of [PLACE]/one"), "{}", said.all());
}

#[test]
fn a_project_that_is_not_there() {
    insta::assert_snapshot!(Place::with(&[]).run(&["build", "nowhere"]).all(), @"
    exit code: 8
    error: the directory nowhere does not exist
    hint: give the directory of the project: `wheelbarrow build DIR`
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
}

#[test]
fn another_name_of_a_system() {
    let place = Place::with(&[("a-1-py3-none-any.whl", ""), ("requirements.txt", ""), ("app.py", "")]);
    insta::assert_snapshot!(place.run(&["audit", "a-1-py3-none-any.whl", "--target", "rhel8"]).all(), @"
    exit code: 2
    error: invalid target `rhel8`: unknown system `rhel8`
    hint: did you mean `el8`? `wheelbarrow targets` lists all systems
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-2
    ");
    let said = place.run(&["build", "--target", "bookworm:3.12"]);
    assert!(said.code == 2 && said.err.contains("did you mean `debian-12:3.12`?"), "{}", said.all());
}

/// Where a system has several Pythons, and nobody named one.
#[test]
fn the_python_of_a_target_is_named() {
    let place = Place::with(&[("requirements.txt", ""), ("app.py", "")]);
    let build = |words: &[&str]| {
        let said = place.run(&[&["build", "--offline", "--cache-dir", "cache"], words].concat());
        let note = said.err.lines().find(|line| line.contains("packed for Python")).unwrap_or_default();
        note.to_owned()
    };
    let note = "note: the target el8 is packed for Python 3.6, the system's first; `el8:3.12` names another: it has 3.6, 3.8, 3.9, 3.11, 3.12";
    assert_eq!(build(&["--target", "el8"]), note);
    for named in ["el8:3.11", "debian-12", "3.11@manylinux_2_28_x86_64"] {
        assert_eq!(build(&["--target", named]), "");
    }
    place.write("wheelbarrow.toml", "[[target]]\ntarget = 'el8'\n");
    assert_eq!(build(&[]), note);
    assert_eq!(build(&["--python", "3.11"]), "");
    assert_eq!(build(&["--target", "el8:3.9"]), "");
}

#[test]
fn an_unknown_setting() {
    let place = Place::with(&[("wheelbarrow.toml", "name = 'x'\nextra-static = ['a']\nstatics = []\n")]);
    insta::assert_snapshot!(place.run(&["build"]).all(), @"
    exit code: 8
    error: ./wheelbarrow.toml, line 2: unknown setting `extra-static`
    hint: did you mean `static`?
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
}

#[test]
fn a_link_that_leaves() {
    let place = Place::with(&[("requirements.txt", ""), ("manage.py", "")]);
    std::os::unix::fs::symlink("/etc/passwd", place.path().join("users")).unwrap();
    insta::assert_snapshot!(place.run(&["build"]).all(), @"
    exit code: 8
    error: the link [PLACE]/users leads out of the project: its target is /etc/passwd
    hint: copy what it points to into the project, or leave the link out: name it in .wheelbarrowignore or `exclude`
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
}

/// Under any name: what another file includes is read as that is.
#[test]
fn a_login_in_a_file_that_is_included() {
    let place = Place::with(&[
        ("requirements.txt", "-r more/deps.list\n-c more/fixed\n"),
        ("more/deps.list", "six\n--find-links https://joe:hunter2@h.invalid/\n"),
        ("more/fixed", "six==1.16.0 # https://joe:hunter2@h.invalid/\n"),
    ]);
    let said = place.run(&["build", "--cache-dir", "cache"]);
    insta::assert_snapshot!(said.all(), @r#"
    exit code: 8
    error: line 2 of more/deps.list has a password or a token in a URL, and the file is packed into the artifact
    hint: put the login into ~/.netrc, a keyring or variables such as UV_INDEX_URL, and remove it from the URL; or leave the file out of the artifact, which the build uses nevertheless: add "/more/deps.list" to `exclude`
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    "#);
    place.write("more/deps.list", "six\n");
    let said = place.run(&["build", "--cache-dir", "cache"]);
    assert!(said.code == 8 && said.err.contains("line 1 of more/fixed has a password"), "{}", said.all());
}

/// Whether uv fetches a Python, resolves, or asks the index of a build: a script that runs again when the network is back
/// sees one code.
#[test]
fn failures_of_the_network_have_their_own_code() {
    const NOBODY: &str = "http://127.0.0.1:9/simple";
    let place = Place::with(&[("requirements.txt", "a==1\n"), ("app.py", "")]);
    let build = |words: &[&str]| {
        let mut command = crate::support::wheelbarrow(&place.path());
        command.args(["build", "--cache-dir", "cache"]).args(words);
        command.env("UV_CACHE_DIR", place.path().join("uv")).env("UV_HTTP_RETRIES", "0");
        place.finish(command.env("UV_PYTHON_INSTALL_MIRROR", NOBODY))
    };
    for (words, says) in [
        (&["--with-python", "3.12"][..], "error: uv could not fetch Python 3.12:\n"),
        (
            &["--with-python", "3.12", "--offline"],
            "hint: without a network, give an archive: `--with-python FILE`",
        ),
        (&["--index-url", NOBODY], "error: uv could not resolve the requirements:\nFailed to fetch: "),
        (&["--offline"], "hint: run once without --offline"),
    ] {
        let said = build(words);
        assert!(said.code == 9 && said.err.contains(says), "{words:?}: {}", said.all());
    }
    let said = build(&["--with-python", "3.99"]);
    assert!(said.code == 8 && said.err.contains("uv could not fetch Python 3.99:"), "{}", said.all());
    let said = build(&["--no-index"]);
    assert!(said.code == 8 && said.err.contains("could not resolve"), "{}", said.all());
}

/// Any user may have made those of the working directory.
#[test]
fn uv_has_the_settings_of_the_project() {
    let place = Place::with(&[
        ("site/requirements.txt", "a==1\n"),
        ("site/app.py", ""),
        ("here/uv.toml", "broken ="),
    ]);
    let mut command = crate::support::wheelbarrow(&place.path().join("here"));
    command.args(["build", "../site", "--with-python", "3.12", "--offline", "--cache-dir", "cache"]);
    let said = place.finish(command.env("UV_CACHE_DIR", place.path().join("uv")));
    assert!(said.code == 9 && said.err.contains("could not fetch Python"), "{}", said.all());
}

/// Also if uv can still name the address of pip: one trip through the air gap must do.
#[test]
fn offline_all_missing_files_are_listed_at_once() {
    let place = Place::with(&[("requirements.txt", "six==1.17.0\n"), ("app.py", "")]);
    let build = |words: &[&str]| {
        let mut command = crate::support::wheelbarrow(&place.path());
        command.arg("build").args(words).env("UV_CACHE_DIR", place.path().join("uv"));
        place.finish(&mut command)
    };
    if !crate::site::is_built(&build(&["--cache-dir", "full"])) {
        return;
    }
    let said = build(&["--cache-dir", "empty", "--offline"]);
    let list = "the cache lacks:\n  six-1.17.0-py2.py3-none-any.whl\n  pip-";
    assert!(said.code == 9 && said.err.contains(list), "{}", said.all());
}

/// A lock and a directory of its files, as they are carried to a machine without a network.
#[test]
fn offline_a_lock_needs_no_uv() {
    let place = Place::with(&[("requirements.txt", "six==1.17.0\n"), ("app.py", "")]);
    let build = |uv: Option<&str>, words: &[&str]| {
        let mut command = crate::support::wheelbarrow(&place.path());
        command.args(["build", "--name", "site"]).args(words).env("UV_CACHE_DIR", place.path().join("uv"));
        if let Some(uv) = uv {
            command.env("UV", uv);
        }
        place.finish(&mut command)
    };
    if !crate::site::is_built(&build(None, &["--cache-dir", "full", "-o", "site.zip"])) {
        return;
    }
    let without_uv = |words: &[&str]| build(Some("/no/uv"), words);
    let offline = ["--cache-dir", "empty", "--offline", "-o", "site.zip"];
    let said = without_uv(&offline);
    let list = "the cache lacks:\n  six-1.17.0-py2.py3-none-any.whl\n  pip-";
    assert!(said.code == 9 && said.err.contains(list), "{}", said.all());

    let extract = "import sys, zipfile, os\nz = zipfile.ZipFile('site.zip')\nos.mkdir('wheels')\n\
                   for n in z.namelist():\n    if n.endswith('.whl'): open('wheels/' + os.path.basename(n), 'wb').write(z.read(n))";
    let mut python = std::process::Command::new("python3");
    assert!(python.args(["-c", extract]).current_dir(place.path()).status().unwrap().success());
    let said = without_uv(&[&offline[..], &["--find-links", "wheels"]].concat());
    assert_eq!(said.code, 0, "{}", said.all());

    let said = without_uv(&[&offline[..], &["--target", "el8:3.6"]].concat());
    let cause = "  Caused by: [PLACE]/pylock.site.toml does not fit: it is for Python >=3.";
    assert!(said.err.contains(cause) && said.err.contains(", this build for 3.6\n"), "{}", said.all());
    place.write("requirements.txt", "six\n");
    let said = without_uv(&offline);
    assert!(said.err.contains("the requirements, the targets or the indexes have changed"), "{}", said.all());
}

/// Before gigabytes of it are read and copied.
#[test]
fn a_directory_of_the_system_is_no_standalone_python() {
    let place = Place::with(&[("requirements.txt", ""), ("app.py", "")]);
    let said = place.run(&["build", "--with-python", "/usr", "--cache-dir", "cache"]);
    insta::assert_snapshot!(said.all(), @"
    exit code: 8
    error: /usr cannot be bundled as the site's Python: it is a directory of the system, with more than a Python in it (it has sbin)
    hint: give an install_only_stripped archive of python-build-standalone for the target, or a directory that one was unpacked to
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
    assert!(!place.path().join("cache/interpreters").exists());
}

#[test]
fn a_python_that_is_not_there() {
    let place = Place::with(&[("requirements.txt", ""), ("manage.py", "")]);
    let said = place.run(&["build", "--python", "./no-python"]);
    assert_eq!(said.code, 8, "{}", said.all());
    insta::assert_snapshot!(place.run(&["build", "--python", "three"]).all(), @"
    exit code: 2
    error: `three` is neither a Python version such as 3.12 nor the path of an interpreter
    hint: give a version, `--python 3.12`, or a path, `--python /usr/bin/python3.12`
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-2
    ");
}

#[test]
fn a_python_that_the_project_excludes() {
    for (file, text) in [
        (
            "pyproject.toml",
            "[project]\nname = 'x'\nversion = '1'\nrequires-python = '>=3.12'\ndependencies = []\n",
        ),
        ("pyproject.toml", "[tool.poetry.dependencies]\npython = '^3.12'\n"),
        ("setup.cfg", "[options]\npython_requires = >=3.12\n"),
        ("Pipfile", "[requires]\npython_version = '3.12'\n"),
    ] {
        let place = Place::with(&[(file, text), ("requirements.txt", ""), ("manage.py", "")]);
        for words in [&["build", "--python", "3.11"][..], &["build", "--target", "debian-12"]] {
            let said = place.run(words);
            assert!(
                said.code == 8 && said.err.starts_with("error: the project does not allow "),
                "{}",
                said.all()
            );
            assert!(said.err.contains(&format!("/{file} requires Python ")), "{}", said.all());
            assert!(
                said.err.contains("hint: name another Python with --python or --target"),
                "{}",
                said.all()
            );
        }
        let names = fs_err::read_dir(place.path()).unwrap();
        let made: Vec<_> = names
            .map(|it| it.unwrap().file_name())
            .filter(|it| *it != *file && *it != *"requirements.txt" && *it != *"manage.py")
            .collect();
        assert!(made.is_empty(), "{made:?}");
    }
}

#[test]
fn an_artifact_that_is_a_fifo_keeps_no_command_waiting() {
    let place = Place::with(&[]);
    let mut mkfifo = std::process::Command::new("mkfifo");
    assert!(mkfifo.arg("site.zip").current_dir(place.path()).status().unwrap().success());
    for words in [
        "inspect site.zip",
        "install site.zip -d dest",
        "install site.zip -d dest --check",
        "deploy site.zip --root root",
        "find site.zip --root root",
        "audit site.zip",
        "sbom site.zip",
        "sign site.zip --key key",
    ] {
        let ours = crate::support::wheelbarrow(&place.path());
        let mut command = std::process::Command::new("timeout");
        command.arg("20").arg(ours.get_program()).args(words.split(' ')).current_dir(place.path());
        let said = place.finish(&mut command);
        assert_eq!(said.code, 1, "{words}: {}", said.all());
        assert!(said.all().contains("it is a FIFO, not a regular file"), "{words}: {}", said.all());
    }
    let names: Vec<_> = fs_err::read_dir(place.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["site.zip"]);
}

#[test]
fn a_shebang_that_starts_nothing() {
    let place = Place::with(&[("requirements.txt", ""), ("manage.py", "")]);
    insta::assert_snapshot!(place.run(&["build", "--shebang", "#!python3"]).all(), @r##"
    exit code: 8
    error: the shebang "#!python3" cannot be used: no absolute path follows the #!
    hint: it is like `--shebang '#!/opt/python3.12/bin/python3'`
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    "##);
}

#[test]
fn an_invalid_name() {
    let place = Place::with(&[("requirements.txt", ""), ("manage.py", "")]);
    insta::assert_snapshot!(place.run(&["build", "--name=my site"]).all(), @r#"
    exit code: 8
    error: "my site" cannot be the name of a site
    hint: `--name NAME` gives another: letters, digits, -, _ and .
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    "#);
}

#[test]
fn a_file_that_is_not_an_artifact() {
    let place = Place::with(&[("site.zip", "PK"), ("empty.zip", "")]);
    insta::assert_snapshot!(place.run(&["inspect", "site.zip"]).all(), @"
    exit code: 3
    error: site.zip is not a whole artifact
      Caused by: not a zip file, or cut off: no end of central directory
    hint: copy it again from the build machine, and compare `sha256sum` of both
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-3
    ");
    insta::assert_snapshot!(place.run(&["inspect", "missing.zip"]).all(), @"
    exit code: 1
    error: cannot read missing.zip
      Caused by: No such file or directory (os error 2)
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-1
    ");
    assert_eq!(place.run(&["inspect", "empty.zip"]).code, 3);
    for command in ["inspect", "sbom", "audit"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(place.run(&[command, "."]).all(), @"
            exit code: 1
            error: cannot read .
              Caused by: is a directory
            docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-1
            ");
        }
    }
    let said = place.run(&["install", "site.zip", "-d", "dest", "--python", "no-such-python"]);
    insta::assert_snapshot!(said.all(), @"
    exit code: 1
    error: cannot run no-such-python
      Caused by: No such file or directory (os error 2)
    hint: `--python PATH` names another; it must be a CPython, from 3.6 on
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-1
    ");
}

#[test]
fn directories_that_are_not_installs_are_refused() {
    insta::assert_snapshot!(Place::with(&[("dest/file", "")]).run(&["verify", "dest"]).all(), @"
    exit code: 5
    error: [PLACE]/dest holds no install
    hint: name the DEST that an artifact was installed to, the directory that has `venv` in it
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-5
    ");
}

#[test]
fn a_date_that_no_zip_has() {
    let place = Place::with(&[("requirements.txt", ""), ("manage.py", "")]);
    let mut command = crate::support::wheelbarrow(&place.path());
    insta::assert_snapshot!(place.finish(command.arg("build").env("SOURCE_DATE_EPOCH", "0")).all(), @r#"
    exit code: 8
    error: SOURCE_DATE_EPOCH is "0", which is no time between 1980 and 2107 in seconds since 1970
    hint: unset it, or give a time such as `git log -1 --format=%ct` prints
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    "#);
}

/// Paths that lead out of it are found all the same.
#[test]
fn a_working_directory_that_was_removed() {
    let place = Place::with(&[]);
    let run = |root: &str| {
        let mut command = std::process::Command::new("bash");
        let script = r#"mkdir gone && cd gone && rmdir ../gone && exec "$0" status --root "$1""#;
        command.args(["-c", script]).arg(assert_cmd::cargo::cargo_bin!("wheelbarrow")).arg(root);
        place.finish(command.current_dir(place.path())).all()
    };
    insta::assert_snapshot!(run("site"), @"
    exit code: 5
    error: the working directory was removed, and site is relative to it
    hint: change to a directory that exists, or use absolute paths
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-5
    ");
    insta::assert_snapshot!(run("../site"), @"
    exit code: 5
    error: [PLACE]/site is not a site root
    hint: `wheelbarrow deploy ARTIFACT --root [PLACE]/site` makes one
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-5
    ");
}

#[test]
fn output_that_cannot_be_written_stops_nothing() {
    let place = Place::with(&[]);
    let command = format!("{} build nothing 2>/dev/full", env!("CARGO_BIN_EXE_wheelbarrow"));
    let said =
        place.finish(std::process::Command::new("sh").args(["-c", &command]).current_dir(place.path()));
    assert_eq!(said.code, place.run(&["build", "nothing"]).code);
}

#[test]
fn a_full_disk() {
    let Some(small) = Mounted::tmpfs("size=64k") else { return };
    let lock = "lock-version = '1.0'\ncreated-by = 'a test'\npackages = []\n";
    let place = Place::with(&[("pylock.toml", lock), ("manage.py", "")]);
    let output = small.point().join("site.zip");
    let said = place.run(&["build", "--output", output.to_str().unwrap()]);
    assert_eq!(said.code, 6, "{}", said.all());
    assert!(!output.exists(), "{}", said.all());
    assert_eq!(place.run(&["build", "--output", "site.zip"]).code, 0);
    let signed = output.to_str().unwrap();
    let words = ["-q", "-t", "ed25519", "-N", "", "-f", "key"];
    place.finish(Command::new("ssh-keygen").current_dir(place.path()).args(words));
    let said = place.run(&["sign", "site.zip", "--key", "key", "--output", signed]);
    assert_eq!(said.code, 6, "{}", said.all());
    assert!(!output.exists(), "{}", said.all());
}
