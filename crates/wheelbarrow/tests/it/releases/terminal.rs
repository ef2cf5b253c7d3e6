//! What is printed of an artifact: names, versions and paths may hold anything, and a terminal obeys control characters.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wheelbarrow_artifact::interpreter::Interpreter;

use super::root::Place;
use super::site::{self, Site};
use crate::support::Said;

/// Writes to the clipboard, clears the screen, overwrites its line, and turns the direction of what follows.
const HOSTILE: &str = "1\u{1b}]52;c;eA==\u{7}\u{9b}2J\r\u{7f}\u{202e}";
const ESCAPED: &str = r"1\x1b]52;c;eA==\x07\x9b2J\x0d\x7f\u202e";
/// Of that what a virtualenv has in its path.
const NAME: &str = "\u{1b}]52;c;eA==\u{7}\u{7f}";

fn check(said: &Said, about: &[&str]) {
    let is_obeyed = |character: char| character.is_control() && character != '\n' || character == '\u{202e}';
    assert!(!said.out.contains(is_obeyed) && !said.err.contains(is_obeyed), "{about:?}: {:?}", said.all());
    if about.contains(&"--json") && !said.out.is_empty() {
        serde_json::from_str::<Value>(&said.out).unwrap();
    }
}

/// An artifact with one module, whose file has the version in its name.
fn artifact(place: &Place, module: &str) -> PathBuf {
    let release = toml::from_str("check = false").unwrap();
    let code = vec![(module, String::new())];
    Site { version: HOSTILE, release, code }.write(&place.path())
}

/// The standalone binary that artifacts of this build carry.
fn installer(place: &Place) -> PathBuf {
    let deflated = concat!(env!("OUT_DIR"), "/installer-").to_owned() + std::env::consts::ARCH + ".deflated";
    let path = place.path().join("installer");
    let code = "import sys, zlib; open(sys.argv[2], 'wb').write(zlib.decompress(open(sys.argv[1], 'rb').read(), -15))";
    let made = Command::new("python3").args(["-c", code, &deflated]).arg(&path).status().unwrap();
    assert!(made.success());
    fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// Runs it as `__main__.py` does.
fn start(place: &Place, installer: &Path, artifact: &Path, options: &[&str]) -> Said {
    let destination = place.path().join(NAME);
    let has = |option| options.contains(&option);
    let request = json!({"artifact": artifact, "options": {
        "destination": destination, "pip": false, "compile": "never", "check": has("--check"), "json": has("--json"),
        "replace": has("--replace"),
    }});
    let facts = Interpreter::probe("python3".as_ref(), Some(&destination.join("venv"))).unwrap();
    let mut command = Command::new(installer);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{request}\n{}\n", json!(facts)).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(place.path().to_str().unwrap(), "[PLACE]");
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn the_standalone_binary_escapes_control_characters() {
    let place = Place::new();
    let (artifact, installer) = (artifact(&place, "app.py"), installer(&place));
    let said = |options: &[&str], code| {
        let said = start(&place, &installer, &artifact, options);
        check(&said, options);
        assert_eq!(said.code, code, "{options:?}: {}", said.all());
        said
    };
    assert!(said(&["--check"], 0).out.contains(&format!("ok: site {ESCAPED} can be installed")));
    said(&["--check", "--json"], 0);
    assert!(said(&[], 0).out.contains(&format!("installed site {ESCAPED} in")));
    let json: Value = serde_json::from_str(&said(&["--replace", "--json"], 0).out).unwrap();
    assert_eq!(json["version"], HOSTILE);
    assert!(said(&[], 5).err.contains(r"\x1b"));
    assert!(said(&["--check"], 5).out.contains(r"\x1b"));
    let findings: Value = serde_json::from_str(&said(&["--check", "--json"], 5).out).unwrap();
    assert!(findings["findings"][0]["what"].as_str().unwrap().contains(NAME), "{findings}");
    // Such a member is refused.
    self::artifact(&place, "\u{1b}[31m.py");
    assert!(said(&["--replace"], 3).err.contains(r"\x1b"));
}

#[test]
fn commands_escape_control_characters() {
    let place = Place::new();
    let artifact = artifact(&place, "app.py").display().to_string();
    let python = site::interpreter().executable.display().to_string();
    let install = ["install", &artifact, "-d", NAME, "--without-pip", "--python", &python];
    let deploy = ["deploy", &artifact, "--without-pip", "--python", &python];
    for (words, code) in [
        (&["inspect", artifact.as_str()][..], 0),
        (&["inspect", &artifact, "--json"], 0),
        (&["audit", &artifact], 3), // its pip is none
        (&["audit", &artifact, "--json"], 3),
        (&[&install[..], &["--check"]].concat(), 0),
        (&install, 0),
        (&install, 5),
        (&[&install[..], &["--check", "--json"]].concat(), 5),
        (&[&install[..], &["--replace", "--json"]].concat(), 0),
        (&["verify", NAME], 0),
        (&deploy, 0),
        (&["status"], 0),
        (&["list"], 0),
        (&["history"], 0),
        (&["doctor"], 0),
        (&["rollback"], 5), // it is the first
        (&["unit", "--application", "app:application"], 0),
    ] {
        let said = place.run(words);
        check(&said, words);
        assert_eq!(said.code, code, "{words:?}: {}", said.all());
    }
    for words in [&["activate", NAME][..], &["remove", NAME], &["exec", "--", NAME]] {
        let said = place.run(words);
        check(&said, words);
        assert!(said.code != 0 && said.err.contains(r"\x1b]52;"), "{words:?}: {}", said.all());
    }
    fs_err::write(place.path().join(NAME).join("code/\u{1b}[31m"), "").unwrap();
    fs_err::write(place.path().join(NAME).join("code/app.py"), "1").unwrap();
    let said = place.run(&["verify", NAME]);
    check(&said, &[]);
    assert!(said.code == 10 && said.out.contains(r"\u{1b}[31m"), "{}", said.all());
}
