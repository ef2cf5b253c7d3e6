//! The native installer and `bootstrap.py` follow one page, `docs/format.md`: here both install the same artifacts.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::site::{self, Node, told};

/// Runs the second way as `__main__.py` would, but from the real files.
const PROGRAM: &str = "
import json, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import bootstrap
sys.exit(bootstrap.install(**json.load(sys.stdin)))
";

/// Installs with `bootstrap.py`, on the machine's own Python: the facts it gets are those of the tests' interpreter.
fn install_with_bootstrap(artifact: &Path, destination: &Path) -> Result<(), String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wheelbarrow-artifact/python");
    let request = json!({
        "artifact": artifact,
        "facts": site::interpreter(destination),
        "options": {"destination": destination, "replace": false, "pip": false, "quiet": true, "json": false},
    });
    let mut child = Command::new("python3")
        .args(["-I", "-c", PROGRAM])
        .arg(sources)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("Traceback"), "{said}");
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// Installs `artifact` both ways to the same destination, one after the other. Gives the tree, or what the native way
/// says; panics where the ways differ.
pub(crate) fn install(artifact: &Path, destination: &Path) -> Result<BTreeMap<String, Node>, String> {
    let native = site::install_artifact(artifact, destination).map_err(|error| told(&error));
    let native = native.map(|()| take_tree(destination));
    if !site::has_python() {
        return native;
    }
    let second = install_with_bootstrap(artifact, destination);
    assert_eq!(second.is_ok(), destination.exists(), "{second:?}");
    let second = second.map(|()| take_tree(destination));
    match (&native, &second) {
        (Err(_), Err(_)) => {}
        (Ok(native), Ok(second)) => assert_same(native, second),
        (native, second) => panic!(
            "one way installs, the other does not: native {:?}, second {:?}",
            native.as_ref().map(|_| ()),
            second.as_ref().map(|_| ())
        ),
    }
    native
}

fn take_tree(destination: &Path) -> BTreeMap<String, Node> {
    let mut tree = site::tree(destination);
    fs_err::remove_dir_all(destination).unwrap();
    // It says which way it was.
    if let Some(Node::File { contents, .. }) = tree.get_mut(".wheelbarrow/receipt.json") {
        let mut receipt: Value = serde_json::from_slice(contents).unwrap();
        assert!(receipt["method"].take().is_string());
        let mut text = serde_json::to_vec_pretty(&receipt).unwrap();
        text.push(b'\n');
        *contents = text;
    }
    tree
}

fn assert_same(native: &BTreeMap<String, Node>, second: &BTreeMap<String, Node>) {
    let describe = |node: Option<&Node>| match node {
        None => "absent".to_owned(),
        Some(Node::Link { target }) => format!("a link to {target}"),
        Some(Node::File { mode, contents }) => format!("{mode:o} {:?}", String::from_utf8_lossy(contents)),
    };
    let paths: std::collections::BTreeSet<&String> = native.keys().chain(second.keys()).collect();
    for path in paths {
        let (one, other) = (native.get(path), second.get(path));
        assert!(one == other, "{path}\n native: {}\n second: {}", describe(one), describe(other));
    }
}
