//! A Python that starts only with LD_LIBRARY_PATH, as those of Software Collections do: installed, deployed and started.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::root::{Place, deploy_words};
use super::site::{self, Site};

/// Runs the Python of the tests by another name, as long as the variable is set.
const LAUNCHER: &str = "#!/bin/bash\n[ \"$LD_LIBRARY_PATH\" ] || exit 127\nexec -a \"$0\" PYTHON \"$@\"\n";

/// A Python in `directory`, and the LD_LIBRARY_PATH without which it does not start. It is a copy of the Python of the
/// tests whose shared library has a name that nothing else has; or a program that refuses, if there is no such library.
fn needy(directory: &Path) -> (PathBuf, String) {
    let program = site::interpreter().executable.canonicalize().unwrap();
    let home = program.parent().unwrap().parent().unwrap();
    let minor = format!("python{}", site::interpreter().minor_version());
    let libraries = directory.join("libraries");
    for made in [&directory.join("bin"), &directory.join("lib"), &libraries] {
        fs_err::create_dir_all(made).unwrap();
    }
    symlink(home.join("lib").join(&minor), directory.join("lib").join(&minor)).unwrap();
    let python = directory.join("bin").join(&minor);
    let mut bytes = fs_err::read(&program).unwrap();
    match library(&bytes).filter(|(_, name)| home.join("lib").join(name).exists()) {
        Some((begin, name)) => {
            symlink(home.join("lib").join(&name), libraries.join(name.replace("libpython", "libneeded")))
                .unwrap();
            bytes[begin..begin + "libneeded".len()].copy_from_slice(b"libneeded");
            fs_err::write(&python, bytes).unwrap();
        }
        None => fs_err::write(&python, LAUNCHER.replace("PYTHON", program.to_str().unwrap())).unwrap(),
    }
    fs_err::set_permissions(&python, PermissionsExt::from_mode(0o755)).unwrap();
    (python, libraries.to_str().unwrap().to_owned())
}

/// Where a program names its shared library, and the name, `libpython3.12.so.1.0`.
fn library(program: &[u8]) -> Option<(usize, String)> {
    let begin = program.windows(11).position(|part| part == b"libpython3.")?;
    let end = program[begin..].iter().position(|byte| *byte == 0)?;
    Some((begin, String::from_utf8(program[begin..begin + end].to_vec()).ok()?))
}

fn starts(python: &Path, libraries: Option<&str>) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", "import sys, json"]).env_remove("LD_LIBRARY_PATH");
    command.envs(libraries.map(|path| ("LD_LIBRARY_PATH", path))).output().unwrap().status.success()
}

#[test]
fn a_python_that_needs_a_variable_is_installed_deployed_and_started() {
    let place = Place::new();
    let (python, libraries) = needy(&place.path().join("scl"));
    assert!(starts(&python, Some(&libraries)) && !starts(&python, None), "it is as the test wants it");
    let shown = |text: &str| text.replace(&place.path().display().to_string(), "[PLACE]");
    let variable = shown(&format!("LD_LIBRARY_PATH={libraries}"));
    let note = format!("this Python does not start without {variable}; hint: whatever starts");

    let application =
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return []\n";
    let release = toml::from_str("prepare = [['python', '-c', 'import wsgi']]").unwrap();
    let code = vec![("wsgi.py", application.to_owned())];
    let artifact = Site { version: "1", release, code }.write(&place.path()).display().to_string();
    let python = python.to_str().unwrap();

    // By both installers.
    let mut commands =
        [place.command(&["install", &artifact, "--without-pip", "--python", python]), Command::new(python)];
    commands[1].arg(&artifact).args(["--bootstrap", "--without-pip"]).current_dir(place.path());
    for (number, command) in commands.iter_mut().enumerate() {
        let destination = format!("by-{number}");
        command.args(["-d", &destination]).env("LD_LIBRARY_PATH", &libraries);
        let said = place.finish(command);
        assert!(said.code == 0 && said.err.contains(&format!("note: {note}")), "{}", said.all());
        let venv = place.path().join(&destination).join("venv/bin/python");
        assert!(starts(&venv, Some(&libraries)) && !starts(&venv, None));
        let said = place.finish(command.args(["--check", "--replace"]));
        assert!(said.code == 0 && said.all().contains(&note), "{}", said.all());
    }

    let mut words = deploy_words(artifact.as_ref());
    *words.last_mut().unwrap() = python.to_owned();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    for _ in 0..2 {
        let said = place.finish(place.command(&words).env("LD_LIBRARY_PATH", &libraries));
        assert!(said.code == 0 && said.err.contains(&note), "{}", said.all());
    }
    // What comes later is asked for by people and timers that do not have it.
    let run = |words: &[&str]| {
        let said = place.finish(place.command(words).env_remove("LD_LIBRARY_PATH"));
        assert_eq!(said.code, 0, "{words:?}: {}", said.all());
        said.out
    };
    run(&["rollback"]);
    assert_eq!(place.live(), Some(1));
    run(&["activate", "2"]);
    assert_eq!(run(&["exec", "--", "python", "-c", "print('started')"]), "started\n");
    fs_err::write(place.root().join("shared/environment.json"), "{\"A\": \"1\"}").unwrap();
    run(&["env", "apply"]);
    assert_eq!(place.live(), Some(3));
    run(&["verify"]);

    let unit = run(&["unit"]);
    assert!(unit.contains(&format!("\nEnvironment={variable}\n")), "{unit}");
    let mut server = Command::new(place.root().join("current/venv/bin/python"));
    server.args(["-c", "import wsgi; print(wsgi.application)"]).current_dir("/").env_clear();
    let unit = unit.replace("[PLACE]", &place.path().display().to_string());
    let lines = unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    let said = place.finish(server.envs(lines));
    assert!(said.code == 0 && said.out.starts_with("<function application"), "{}", said.all());
}
