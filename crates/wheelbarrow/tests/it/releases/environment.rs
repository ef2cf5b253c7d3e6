//! The environment of a site, changed while it is live.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::root::{Place, Version, deploy_words};
use super::site::{self, Site};
use super::strace::has_strace;
use crate::support::Said;

const SECRET: &str = "correct-horse-battery";

/// An application that cannot live with some values.
const APPLICATION: &str = r#"
import os
if os.environ["DATABASE_URL"].startswith("nonsense"):
    raise ValueError("cannot parse %s" % os.environ["DATABASE_URL"])
def application(environ, start_response):
    start_response("200 OK", [])
    return []
"#;

fn with_shared(environment: &Value) -> Place {
    let place = Place::new();
    let shared = place.root().join("shared/environment.json");
    fs_err::create_dir_all(shared.parent().unwrap()).unwrap();
    fs_err::write(&shared, environment.to_string()).unwrap();
    fs_err::set_permissions(&shared, PermissionsExt::from_mode(0o640)).unwrap();
    place
}

/// Writes the artifact of a version whose application is looked at.
fn artifact(place: &Place, settings: &str) -> String {
    let code = vec![
        ("app.py", "VERSION = '1.0'\n".to_owned()),
        ("status", "200".to_owned()),
        ("mysite/wsgi.py", APPLICATION.to_owned()),
    ];
    let settings = site::settings(&format!("application = 'mysite.wsgi:application'\n{settings}"));
    let artifact = Site { version: "1.0", release: settings, code }.write(place.directory.path());
    artifact.display().to_string()
}

fn deploy(place: &Place, artifact: &str) -> Said {
    place.run(&["deploy", artifact, "--without-pip"])
}

#[test]
fn an_environment_that_is_not_a_file_is_refused() {
    let place = Place::new();
    let path = place.root().join("shared/environment.json");
    fs_err::create_dir_all(&path).unwrap();
    let artifact = artifact(&place, "");
    let refused = |why: &str| {
        for words in [&["deploy", &artifact, "--without-pip"][..], &["deploy", &artifact, "--dry-run"]] {
            let said = place.run(words);
            assert!(said.code == 7 && said.err.contains(why), "{words:?}: {}", said.all());
            let hint = "hint: it must be a regular file with one JSON object, of at most 1 MB";
            assert!(said.err.contains(hint), "{words:?}: {}", said.all());
        }
    };
    refused("s a directory");
    fs_err::remove_dir(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
    refused("not a regular file");
}

#[test]
fn a_site_does_not_lose_its_environment_unnoticed() {
    let place = with_shared(&json!({"DATABASE_URL": "old-database"}));
    let artifact = artifact(&place, "");
    let said = deploy(&place, &artifact);
    assert_eq!(said.code, 0, "{}", said.all());
    let (shared, aside) = (place.root().join("shared"), place.root().join("aside"));
    fs_err::rename(&shared, &aside).unwrap();
    for words in [&["deploy", &artifact, "--without-pip"][..], &["deploy", &artifact, "--dry-run"]] {
        let said = place.run(words);
        let live = "the live release has an environment";
        assert!(said.code == 7 && said.err.contains(live) && said.err.contains("`cp -p "), "{}", said.all());
    }
    assert_eq!(place.live(), Some(1));
    fs_err::remove_dir_all(&shared).ok();
    fs_err::rename(&aside, &shared).unwrap();
    assert_eq!(deploy(&place, &artifact).code, 0);
}

/// `env WORDS` with this standard input.
fn env(place: &Place, words: &[&str], input: &str) -> Said {
    let mut command = place.command(&[&["env"], words].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may refuse before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&place.path().display().to_string(), "[PLACE]");
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// Files below the directory, environments not among them, that hold the text.
fn holding(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs_err::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            found.extend(holding(&path, text));
        } else if metadata.is_file() && path.file_name().unwrap() != "environment.json" {
            let bytes = fs_err::read(&path).unwrap();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_variable_is_set_verified_and_rolled_back() {
    let place = with_shared(&json!({"WHO": "one", "DATABASE_URL": "old-database"}));
    let _server = place.serve();
    let prepare = "prepare = [['python', '-c', 'import os; print(os.environ)']]";
    let first = artifact(&place, prepare);
    assert_eq!(deploy(&place, &first).code, 0);
    let (root, current) = (place.root(), place.root().join("current"));
    let shared = root.join("shared/environment.json");

    let said = env(&place, &["set", "DATABASE_URL"], &format!("{SECRET}\n"));
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(said.out.starts_with("~ DATABASE_URL\n2-"), "{}", said.all());
    let new = json!({"WHO": "one", "DATABASE_URL": SECRET});
    assert_eq!((read(&shared), read(&current.join("environment.json"))), (new.clone(), new));
    assert_eq!(place.live(), Some(2));
    for file in [&shared, &current.join("environment.json")] {
        assert_eq!(fs_err::metadata(file).unwrap().permissions().mode() & 0o777, 0o640);
    }
    assert_eq!(place.run(&["verify", "--root", "site"]).code, 0, "the code is the same");
    assert_eq!(fs_err::read_to_string(current.join("code/app.py")).unwrap(), "VERSION = '1.0'\n");
    let log = fs_err::read_to_string(current.join(".wheelbarrow/logs/prepare-1.log")).unwrap();
    assert!(log.contains("'DATABASE_URL': '***'"), "{log}");

    let said = env(&place, &["set", "DATABASE_URL"], SECRET);
    assert!(said.code == 0 && said.out.starts_with("nothing differs"), "{}", said.all());
    assert_eq!(env(&place, &["list"], "").out, "DATABASE_URL\nWHO\n");
    assert_eq!(env(&place, &["diff", "1", "2"], "").out, "~ DATABASE_URL\n");
    let plan: Value =
        serde_json::from_str(&env(&place, &["unset", "WHO", "--dry-run", "--json"], "").out).unwrap();
    assert_eq!(plan["difference"]["removed"], json!(["WHO"]));

    let said = place.run(&["rollback"]);
    assert!(said.code == 0 && said.err.contains("its environment was restored"), "{}", said.all());
    assert_eq!(read(&current.join("environment.json"))["DATABASE_URL"], "old-database");
    assert_eq!(env(&place, &["diff"], "").out, "~ DATABASE_URL\n");
    let said = env(&place, &["apply"], "");
    assert!(said.code == 0 && said.out.starts_with("3-"), "{}", said.all());
    let told = place.run(&["history"]).out;
    assert!(told.matches("environment").count() == 2, "{told}");

    assert_eq!(holding(&root, SECRET), Vec::<String>::new());
    let all = ["history", "list", "status"].map(|verb| place.run(&[verb, "--json"]).all()).concat();
    assert!(!all.contains(SECRET));
}

#[test]
fn a_value_that_does_not_work_changes_nothing() {
    let place = with_shared(&json!({"DATABASE_URL": "old-database"}));
    let _server = place.serve();
    assert_eq!(deploy(&place, &artifact(&place, "")).code, 0);
    let before = fs_err::read(place.root().join("shared/environment.json")).unwrap();
    let said = env(&place, &["set", "DATABASE_URL"], "nonsense-value");
    assert_eq!(said.code, 11, "{}", said.all());
    assert!(said.err.contains("cannot parse ***") && !said.err.contains("nonsense-value"), "{}", said.all());
    assert_eq!(place.list(), [(1, "live".to_owned()), (2, "bad".to_owned())]);
    assert_eq!(fs_err::read(place.root().join("shared/environment.json")).unwrap(), before);
    assert_eq!(holding(&place.root(), "nonsense-value"), Vec::<String>::new());

    // What somebody has altered is not made a release of.
    fs_err::write(place.root().join("current/code/app.py"), "VERSION = '6.6'\n").unwrap();
    let said = env(&place, &["set", "DATABASE_URL"], "another-one");
    assert!(said.code == 5 && said.err.contains("code/app.py"), "{}", said.all());
    assert_eq!(place.live(), Some(1));
}

/// As Django's collectstatic does over a STATIC_ROOT that git tracks.
#[test]
fn packed_files_that_collectstatic_replaces_are_not_altered() {
    let place = with_shared(&json!({"DATABASE_URL": "old-database"}));
    let collect = "echo collected > static/1.css; echo new > static/2.css";
    let settings =
        format!("static_root = 'static'\nprepare = [['sh', '-c', '{collect}', 'collectstatic']]\n");
    assert_eq!(place.deploy(&Version::with("1", &settings)).code, 0);
    let style = place.root().join("current/code/static/1.css");
    for value in ["one", "two"] {
        assert_eq!(fs_err::read_to_string(&style).unwrap(), "collected\n");
        let said = place.run(&["verify"]);
        assert_eq!(said.code, 0, "{}", said.all());
        let said = env(&place, &["set", "DATABASE_URL"], value);
        assert_eq!(said.code, 0, "{}", said.all());
    }
    assert_eq!(place.live(), Some(3));
    fs_err::remove_file(place.root().join("current/code/status")).unwrap();
    let said = env(&place, &["set", "DATABASE_URL"], "three");
    assert!(said.code == 5 && said.err.contains("code/status"), "{}", said.all());
}

#[test]
fn values_do_not_stand_in_commands_and_names_are_names() {
    let place = with_shared(&json!({}));
    for words in [&["set", "KEY=hunter2"][..], &["set", "KEY", "hunter2"], &["set", "KEY", "--", "hunter2"]] {
        let said = env(&place, words, "");
        assert!(said.code == 2 && !said.err.contains("hunter2"), "{}", said.all());
    }
    assert_eq!(env(&place, &["set", "A-B"], "x").code, 2);
    assert_eq!(env(&place, &["set", "KEY"], "x").code, 5, "there is no root");
    // A root in which nothing is live: the file is changed, and the first release takes it.
    assert_eq!(place.deploy(&Version::with("1", "prepare = ['false']")).code, 12);
    let said = env(&place, &["set", "KEY"], "x\n\n");
    assert!(said.code == 0 && said.out.contains("no release is live"), "{}", said.all());
    assert_eq!(read(&place.root().join("shared/environment.json")), json!({"KEY": "x\n"}));
    let said = env(&place, &["set", "KEY"], "with\0nul");
    assert!(said.code == 7 && said.err.contains("NUL"), "{}", said.all());
}

#[test]
fn no_program_that_is_started_is_given_a_value() {
    if !has_strace() {
        return;
    }
    let place = with_shared(&json!({"DATABASE_URL": "old-database"}));
    let _server = place.serve();
    let prepare = "prepare = [['python', '-c', 'import os; print(os.environ[\"DATABASE_URL\"])']]";
    assert_eq!(deploy(&place, &artifact(&place, prepare)).code, 0);
    let (log, value) = (place.path().join("execve"), place.path().join("value"));
    fs_err::write(&value, SECRET).unwrap();
    let ours = place.command(&["env", "set", "DATABASE_URL"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-v", "-s", "9999", "-qq", "-e", "trace=execve", "-o"]).arg(&log);
    strace.arg(ours.get_program()).args(ours.get_args()).current_dir(place.path());
    strace.env("WHEELBARROW_ROOT", "site").stdin(fs_err::File::open(&value).unwrap().into_parts().0);
    let said = place.finish(&mut strace);
    assert_eq!(said.code, 0, "{}", said.all());
    let started = fs_err::read_to_string(&log).unwrap();
    assert!(started.matches("execve(").count() >= 3 && !started.contains(SECRET), "{started}");
}

/// Types at a terminal, and shows what that showed.
const TYPIST: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown = b""
while b": " not in shown:
    shown += os.read(terminal, 1024)
os.write(terminal, sys.argv[1].encode().decode("unicode_escape").encode())
try:
    while True:
        shown += os.read(terminal, 1024)
except OSError:
    pass
print(shown.decode())
sys.exit(os.waitpid(pid, 0)[1] >> 8)
"#;

#[test]
fn a_terminal_prompts_without_echo() {
    let place = with_shared(&json!({}));
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let type_in = |keys: &str| {
        let ours = place.command(&["env", "set", "KEY"]);
        let mut typist = Command::new("python3");
        typist.args(["-c", TYPIST, keys]).arg(ours.get_program()).args(ours.get_args());
        place.finish(typist.current_dir(place.path()).env("WHEELBARROW_ROOT", "site"))
    };
    let said = type_in("hunter3\\x7f2\\r");
    assert!(said.code == 0 && said.out.contains("value of KEY: \r\n"), "{}", said.all());
    assert!(!said.out.contains("hunter"), "{}", said.all());
    assert_eq!(read(&place.root().join("current/environment.json")), json!({"KEY": "hunter2"}));
    let said = type_in("oops\\x03");
    assert_eq!(said.code, 130, "{}", said.all());
    assert_eq!(place.live(), Some(2));
}

#[test]
fn a_deploy_names_the_variables_that_differ() {
    let place = with_shared(&json!({"DB": SECRET, "KEY": "1"}));
    let version = Version::good("1");
    let shared = place.root().join("shared/environment.json");
    assert!(!place.deploy(&version).out.contains("environment"));
    fs_err::write(&shared, json!({"KEY": SECRET, "NEW": "1"}).to_string()).unwrap();
    let right = |said: &Said| {
        let is_named =
            |line: &str| line.trim().starts_with("environment") && line.ends_with("KEY changed, + NEW, - DB");
        said.code == 0 && said.out.lines().any(is_named) && !said.all().contains(SECRET)
    };
    let words = deploy_words(&place.artifact(&version));
    let run = |flags: &[&str]| {
        place.run(&words.iter().map(String::as_str).chain(flags.iter().copied()).collect::<Vec<_>>())
    };
    let planned = run(&["--dry-run"]);
    assert!(right(&planned), "{}", planned.all());
    let planned = run(&["--dry-run", "--json"]);
    let planned: Value = serde_json::from_str(&planned.out).unwrap();
    assert_eq!(planned["environment"], json!({"added": ["NEW"], "removed": ["DB"], "changed": ["KEY"]}));
    let said = place.deploy(&version);
    assert!(right(&said), "{}", said.all());

    // One that became empty is like one that is missing.
    fs_err::write(&shared, "{}").unwrap();
    for flags in [&[][..], &["--dry-run"]] {
        let refused = run(flags);
        assert!(refused.code == 7 && refused.err.contains("has no variables, but"), "{}", refused.all());
        assert!(refused.err.contains("env apply"), "{}", refused.all());
    }
    assert_eq!(place.run(&["env", "apply"]).code, 0);
    assert_eq!(place.deploy(&version).code, 0);
}
