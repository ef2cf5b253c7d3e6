//! `--compile`: an artifact without bytecode, installed both ways by every Python of this machine.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use serde_json::json;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::MemberKind;
use wheelbarrow_base::Explain;
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_install::store::{LinkMode, StoreOptions};
use wheelbarrow_install::{
    Bytecode, Compile, Existing, InstallError, Installed, Options, Pip, install, virtualenv,
};

use crate::site::{self, Node, told, wheel_members};
use crate::zips::{Member, zip};

const WHEEL: &str = "pack-1-py3-none-any.whl";
const NOBODY: u32 = 65534;

/// Runs the second way as `__main__.py` would, but from the real files.
const BOOTSTRAP: &str = "
import json, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import bootstrap
sys.exit(bootstrap.install(**json.load(sys.stdin)))
";

/// Remembers what was said; asks to stop when something has been compiled for a while, if it is told to.
#[derive(Default)]
struct Listener {
    notes: Mutex<Vec<String>>,
    stops: bool,
    begun: Mutex<Option<Instant>>,
}

impl Progress for Listener {
    fn begin(&self, what: &str, _total: u64, _unit: Unit) {
        if self.stops && what == "compiling" {
            *self.begun.lock().unwrap() = Some(Instant::now());
        }
    }
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn note(&self, message: &str) {
        self.notes.lock().unwrap().push(message.to_owned());
    }
    fn is_cancelled(&self) -> bool {
        self.begun.lock().unwrap().is_some_and(|begun| begun.elapsed().as_millis() > 300)
    }
}

/// Every CPython from 3.6 on that pyenv or the system has.
pub(crate) fn pythons() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let versions = fs_err::read_dir(Path::new(&home).join(".pyenv/versions")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin/python")).collect();
    found.push("/usr/bin/python3".into());
    found.retain(|python| Interpreter::probe(python, None).is_ok_and(|facts| facts.version >= [3, 6, 0]));
    found.sort();
    println!("with {found:?}");
    found
}

/// Everybody may look into it.
pub(crate) fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs_err::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    place
}

/// Modules enough for two batches, some that do not compile, and one that brings its own bytecode.
fn write_artifact(path: &Path, facts: &Interpreter, packs: &[(&str, &[u8])]) {
    let large = "x = [\n".to_owned() + &"    {1, 2, 'a', None},\n".repeat(40_000) + "]\n";
    let own = format!("pack/__pycache__/own.{}.pyc", facts.cache_tag);
    let files = [
        Member::new("pack/__init__.py", "from pack import own, deep\n"),
        Member::new("pack/deep/__init__.py", "def f():\n    return f.__code__.co_filename\n"),
        Member::new("pack/large.py", large.clone()),
        Member::new("pack/large_too.py", large),
        Member::new("pack/old.py", "print 'Python 2'\n"),
        Member::new("pack/templates/app.py", "class {{ name }}:\n"),
        Member::new("pack/own.py", "x = 1\n"),
        Member::new(&own, "its own"),
        Member::new("pack-1.data/purelib/pure.py", "x = 1\n"),
        Member::new("pack-1.data/scripts/script.py", "x = 1\n"),
        Member::new("pack-1.data/data/data.py", "x = 1\n"),
    ];
    let pack = zip(&wheel_members("pack", &files));
    let other =
        zip(&wheel_members("other", &[Member::new("pack/own.py", "x = 1\n"), Member::new("é.py", "")]));
    let code = [
        ("code/app.py", MemberKind::File, "x = 1\n"),
        ("code/broken.py", MemberKind::File, "(\n"),
        ("code/link.py", MemberKind::Link, "app.py"),
        ("static.in/0/a.py", MemberKind::File, "x = 1\n"),
        ("loadenv.py", MemberKind::File, "x = 1\n"),
        ("test-site.pth", MemberKind::File, "../../../../code\n"),
    ];
    let wheels = [(WHEEL, &pack[..]), ("other-1-py3-none-any.whl", &other)];
    let target = (facts.minor_version(), facts.abi.clone());
    site::write_site_with_bytecode(path, (&target.0, &target.1), &code, &wheels, packs);
}

pub(crate) fn facts(python: &Path, destination: &Path) -> Interpreter {
    Interpreter::probe(python, Some(&virtualenv(destination))).unwrap()
}

fn install_natively(
    artifact: &Path,
    facts: &Interpreter,
    destination: &Path,
    compile: Compile,
    listener: &Listener,
) -> Result<Installed, InstallError> {
    let artifact = Artifact::open(artifact)?;
    let destination = destination.to_path_buf();
    let (existing, pip) = (Existing::Refuse, Pip::Without);
    let options = Options { destination, existing, pip, compile, store: None };
    install(artifact, facts, &options, listener)
}

pub(crate) fn install_with_bootstrap(
    artifact: &Path,
    facts: &Interpreter,
    destination: &Path,
    pip: Pip,
) -> String {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wheelbarrow-artifact/python");
    let options = json!({
        "destination": destination, "replace": false, "pip": pip == Pip::With, "compile": "auto", "quiet": false,
        "json": false,
    });
    let request = json!({"artifact": artifact, "facts": facts, "options": options});
    let mut child = Command::new(&facts.executable)
        .args(["-I", "-c", BOOTSTRAP])
        .arg(sources)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// The tree, with the times of the install in bytecode gone.
fn tree_without_times(destination: &Path) -> BTreeMap<String, Node> {
    let mut tree = site::tree(destination);
    for (path, node) in &mut tree {
        match node {
            Node::File { contents, .. } if path.ends_with(".pyc") && contents.len() > 16 => {
                contents[4..12].fill(0)
            }
            Node::File { contents, .. } if path == ".wheelbarrow/receipt.json" => {
                let text = String::from_utf8(contents.clone()).unwrap();
                assert!(text.contains("\"bytecode\": \"compiled\""), "{text}");
                *contents = text.replace("\"bootstrap\"", "\"native\"").into_bytes();
            }
            _ => {}
        }
    }
    tree
}

/// The virtualenv's Python, run so that it cannot write below `destination`.
fn without_rights(destination: &Path) -> Command {
    let python = destination.join("venv/bin/python");
    let mut nobody = Command::new(&python);
    nobody.uid(NOBODY);
    if nobody.arg("--version").output().is_ok_and(|output| output.status.success()) {
        let mut command = Command::new(&python);
        command.uid(NOBODY);
        return command;
    }
    // An interpreter in a directory of root's: root itself, without its power over the files of others.
    let given = Command::new("chown").args(["-R", "65534"]).arg(destination).output();
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-dac_override,-dac_read_search,-fowner");
    let has_setpriv = command.arg("true").output().is_ok_and(|output| output.status.success());
    if !has_setpriv || !given.is_ok_and(|output| output.status.success()) {
        println!("with the right to write: this is not root, or there is no setpriv");
        return Command::new(python);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-dac_override,-dac_read_search,-fowner", "--"]).arg(python);
    command
}

/// Imports as a user who may not write there; what `python -v` says of modules below `destination`.
fn import(destination: &Path, code: &str) -> (String, Vec<String>) {
    let mut command = without_rights(destination);
    command.args(["-v", "-c", code]).current_dir("/").env_clear();
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().rfind(|line| !line.starts_with('#') && !line.starts_with("import "));
    assert!(output.status.success(), "{last:?}");
    let lines = said.lines().filter(|line| line.contains(destination.to_str().unwrap())).map(str::to_owned);
    (String::from_utf8(output.stdout).unwrap(), lines.collect())
}

#[test]
fn both_installers_write_bytecode_that_python_loads() {
    for python in pythons() {
        let place = place();
        let (artifact, destination) = (place.path().join("site.zip"), place.path().join("a site é"));
        let facts = facts(&python, &destination);
        write_artifact(&artifact, &facts, &[]);
        let listener = Listener::default();
        let installed = install_natively(&artifact, &facts, &destination, Compile::Auto, &listener).unwrap();
        assert_eq!(installed.bytecode, Bytecode::Compiled);
        let note = format!(
            "the artifact has no bytecode for Python {}; compiling 11 modules here",
            facts.minor_version()
        );
        assert_eq!(listener.notes.into_inner().unwrap(), std::slice::from_ref(&note));

        let compiled =
            "import pack.deep, pure, app; print(pack.deep.f()); import pack.large; print(pack.large.x[7])";
        let (out, lines) = import(&destination, compiled);
        let site_packages = destination.join("venv").join(&facts.site_packages);
        assert_eq!(
            out.lines().next().unwrap(),
            site_packages.join("pack/deep/__init__.py").to_str().unwrap()
        );
        // All but the one with bytecode that is none.
        let from_sources: Vec<_> = lines.iter().filter(|line| line.contains("code object from /")).collect();
        assert!(from_sources.iter().all(|line| line.ends_with("/pack/own.py")), "{from_sources:?}");
        assert!(!lines.iter().any(|line| line.contains("# wrote")), "{lines:?}");

        fs_err::OpenOptions::new()
            .append(true)
            .open(site_packages.join("pack/deep/__init__.py"))
            .unwrap()
            .write_all(b"f = lambda: 'edited'\n")
            .unwrap();
        assert_eq!(import(&destination, "import pack.deep; print(pack.deep.f())").0, "edited\n");

        fs_err::remove_dir_all(&destination).unwrap();
        install_natively(&artifact, &facts, &destination, Compile::Auto, &Listener::default()).unwrap();
        let native = tree_without_times(&destination);
        fs_err::remove_dir_all(&destination).unwrap();
        assert_eq!(
            install_with_bootstrap(&artifact, &facts, &destination, Pip::Without).trim_end(),
            format!("note: {note}")
        );
        let second = tree_without_times(&destination);
        let differ = native.keys().chain(second.keys()).find(|path| native.get(*path) != second.get(*path));
        assert_eq!(differ, None, "{python:?}");
        assert_record(&native, &facts);
    }
}

/// RECORD has what compiled, without hash and size, and nothing that did not.
fn assert_record(tree: &BTreeMap<String, Node>, facts: &Interpreter) {
    let record = format!("venv/{}/pack-1.dist-info/RECORD", facts.site_packages);
    let Node::File { contents, .. } = &tree[&record] else { panic!("no RECORD") };
    let text = String::from_utf8_lossy(contents).replace(&facts.cache_tag, "TAG");
    let rows: Vec<&str> = text.lines().filter(|row| row.contains(".pyc") && !row.contains("own")).collect();
    assert_eq!(
        rows,
        [
            "__pycache__/pure.TAG.pyc,,",
            "pack/__pycache__/__init__.TAG.pyc,,",
            "pack/__pycache__/large.TAG.pyc,,",
            "pack/__pycache__/large_too.TAG.pyc,,",
            "pack/deep/__pycache__/__init__.TAG.pyc,,",
        ]
    );
    let bytecode = tree.keys().filter(|path| path.ends_with(".pyc")).count();
    assert_eq!(bytecode, rows.len() + "own é app loadenv".split(' ').count());
    assert!(
        !tree.keys().any(|path| path.contains("templates/__pycache__") || path.contains("static.in/0/__"))
    );
}

#[test]
fn bytecode_of_another_magic_number_is_not_installed() {
    for python in pythons() {
        let place = place();
        let (artifact, destination) = (place.path().join("site.zip"), place.path().join("site"));
        let facts = facts(&python, &destination);
        if facts.magic == site::interpreter(&destination).magic {
            continue;
        }
        write_artifact(&artifact, &facts, &[(WHEEL, b"never opened")]);
        let listener = Listener::default();
        let installed = install_natively(&artifact, &facts, &destination, Compile::Never, &listener).unwrap();
        assert_eq!(installed.bytecode, Bytecode::None);
        let notes = listener.notes.into_inner().unwrap();
        let wanted = format!(
            "the artifact's bytecode for Python {} has the magic number cb0d0d0a, this Python's has {}; each start \
             compiles what it imports, until a user starts it who may write in DEST",
            facts.minor_version(),
            facts.magic
        );
        assert_eq!(notes, [wanted]);
        let bytecode = site::tree(&destination).into_keys().filter(|path| path.ends_with(".pyc")).count();
        assert_eq!(bytecode, 1, "only the wheel's own");
        fs_err::remove_dir_all(&destination).unwrap();
        let installed =
            install_natively(&artifact, &facts, &destination, Compile::Auto, &Listener::default());
        assert_eq!(installed.unwrap().bytecode, Bytecode::Compiled);
    }
}

/// Installs with a program in place of the interpreter; DEST must be as before.
fn refused(program: &str, stops: bool) -> String {
    let place = place();
    let (artifact, destination) = (place.path().join("site.zip"), place.path().join("site"));
    let mut facts = site::interpreter(&destination);
    write_artifact(&artifact, &facts, &[]);
    facts.executable = place.path().join("python");
    if !program.is_empty() {
        fs_err::write(&facts.executable, program).unwrap();
        fs_err::set_permissions(&facts.executable, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let listener = Listener { stops, ..Listener::default() };
    let error = install_natively(&artifact, &facts, &destination, Compile::Auto, &listener).unwrap_err();
    assert_eq!(error.exit_code(), if stops { 130 } else { 1 });
    assert!(stops || error.hint().unwrap().contains("--compile never"));
    let pid = fs_err::read_to_string(place.path().join("python.pid"));
    assert!(!pid.is_ok_and(|pid| Path::new("/proc").join(pid.trim()).exists()), "a process is left");
    let mut left = fs_err::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.all(|name| name == "site.zip" || name == "python" || name == "python.pid"));
    told(&error).replace(place.path().to_str().unwrap(), "[TEMP]")
}

#[test]
fn a_compiler_that_exits_is_an_error() {
    let killed = refused("#!/bin/sh\nread x\nkill -9 $$\n", false);
    assert!(killed.starts_with("[TEMP]/python cannot compile [TEMP]/site/"), "{killed}");
    assert!(killed.ends_with(": it ended (signal: 9 (SIGKILL))"), "{killed}");
    let failed = refused("#!/bin/sh\necho no encodings >&2\nexit 1\n", false);
    assert!(failed.ends_with(": it ended (exit status: 1): no encodings"), "{failed}");
    let early = refused(
        "#!/bin/sh\nprintf 'Fatal\\nreason\\n\\nCurrent thread 1\\n  <none>\\n' >&2\nexit 1\n",
        false,
    );
    assert!(early.ends_with(": it ended (exit status: 1): reason"), "{early}");
    let short = refused("#!/bin/sh\nprintf '\\005\\000\\000\\000x'\n", false);
    assert!(short.ends_with(": it ended (exit status: 0)"), "{short}");
    let missing = refused("", false);
    assert!(missing.ends_with("No such file or directory (os error 2)"), "{missing}");
}

/// Whoever asks to stop does not wait for a module, and no process stays.
#[test]
fn a_compiler_that_hangs_is_stopped() {
    let program = "#!/bin/sh\necho $$ > \"$0.pid\"\nexec sleep 1000\n";
    assert_eq!(refused(program, true), "stopped, and nothing was changed");
}

/// What is linked has the times of the store, and is nobody's to write.
#[test]
fn out_of_a_store() {
    let Some(python) = pythons().pop() else { return };
    let place = place();
    let (artifact, destination) = (place.path().join("site.zip"), place.path().join("site"));
    let facts = facts(&python, &destination);
    write_artifact(&artifact, &facts, &[]);
    let store = StoreOptions { path: place.path().join("store"), link_mode: LinkMode::Hardlink };
    let mut trees = Vec::new();
    for store in [None, Some(store.clone()), Some(store)] {
        let (existing, pip) = (Existing::Refuse, Pip::Without);
        let options =
            Options { destination: destination.clone(), existing, pip, compile: Compile::Auto, store };
        let installed = install(Artifact::open(&artifact).unwrap(), &facts, &options, &Listener::default());
        assert_eq!(installed.unwrap().bytecode, Bytecode::Compiled);
        let sums = Command::new("sha256sum")
            .args(["--check", "--quiet", ".wheelbarrow/SHA256SUMS"])
            .current_dir(&destination)
            .status();
        assert!(sums.unwrap().success());
        let (_, lines) = import(&destination, "import pack.deep, pure, app, pack.large");
        assert!(!lines.iter().any(|line| line.contains("# wrote")), "{lines:?}");
        let sources = lines.iter().filter(|line| line.contains("code object from /"));
        assert!(
            sources.clone().all(|line| line.ends_with("/pack/own.py")),
            "{:?}",
            sources.collect::<Vec<_>>()
        );
        let mut tree = tree_without_times(&destination);
        tree.retain(|path, _| path.ends_with(".pyc") || path.ends_with("RECORD"));
        trees.push(tree.into_iter().map(|(path, node)| (path, contents(node))).collect::<BTreeMap<_, _>>());
        fs_err::remove_dir_all(&destination).unwrap();
    }
    assert!(trees.windows(2).all(|pair| pair[0] == pair[1]));
}

fn contents(node: Node) -> Vec<u8> {
    match node {
        Node::File { contents, .. } => contents,
        Node::Link { target } => target.into_bytes(),
    }
}
