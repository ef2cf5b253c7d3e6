//! The native installer and `bootstrap.py` follow one page, `docs/reference/format.md`: here both install the same artifacts.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wheelbarrow_artifact::manifest::MemberKind;
use wheelbarrow_install::Pip;

use crate::released;
use crate::site::{self, Node};
use crate::zips::{Member, zip};

/// What is where.
pub(crate) type Tree = BTreeMap<String, Node>;

/// Runs the second way as `__main__.py` would, but from the real files. What it installs is moved beside the artifact, so
/// that all can have one destination.
const PROGRAM: &str = "
import io, json, os, sys, traceback
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import bootstrap
codes = []
for request in json.load(io.TextIOWrapper(sys.stdin.buffer, 'utf-8')):
    sys.stderr.write('\\n%s\\n' % os.path.basename(request['artifact']))
    try:
        code = bootstrap.install(**request)
    except Exception:
        traceback.print_exc()
        code = 255
    destination = request['options']['destination']
    assert os.path.lexists(destination) == (code == 0), request['artifact']
    if code == 0:
        os.rename(destination, request['artifact'] + '.installed')
    codes.append(code)
print(json.dumps(codes))
";

/// Installs each artifact to `destination` with `bootstrap.py`, on the machine's own Python: the facts it gets are those
/// of the tests' interpreter. Gives the trees, and all that was said.
fn install_with_bootstrap(
    artifacts: &[PathBuf],
    destination: &Path,
    pip: Pip,
) -> (Vec<Option<Tree>>, String) {
    let (results, said) = bootstrap_on("python3".as_ref(), artifacts, destination, pip);
    assert!(!said.contains("Traceback"), "{said}");
    (results.into_iter().map(Result::ok).collect(), said)
}

/// The same on any Python, with the exit code instead of a tree where the artifact is refused.
pub(crate) fn bootstrap_on(
    python: &Path,
    artifacts: &[PathBuf],
    destination: &Path,
    pip: Pip,
) -> (Vec<Result<Tree, u8>>, String) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wheelbarrow-artifact/python");
    let options = json!({"destination": destination, "replace": false, "pip": pip == Pip::With, "compile": "never", "quiet": true, "json": false});
    let facts = json!(site::interpreter(destination));
    let request = |artifact| json!({"artifact": artifact, "facts": facts, "options": options});
    let requests: Value = artifacts.iter().map(request).collect();
    let mut child = Command::new(python)
        .args(["-I", "-c", PROGRAM])
        .arg(sources)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(requests.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let codes: Vec<u8> = serde_json::from_slice(&output.stdout).unwrap();
    let tree = |(artifact, code): (&PathBuf, &u8)| {
        let mut installed = artifact.clone().into_os_string();
        installed.push(".installed");
        if *code == 0 { Ok(take_tree(Path::new(&installed))) } else { Err(*code) }
    };
    (artifacts.iter().zip(&codes).map(tree).collect(), said)
}

/// Installs every artifact the second way. Each must be refused or leave `expected`; gives how many are not refused.
pub(crate) fn refused_or_the_same(artifacts: &[PathBuf], destination: &Path, expected: &Tree) -> usize {
    if !site::has_python() {
        return 0;
    }
    let (trees, _) = install_with_bootstrap(artifacts, destination, Pip::Without);
    trees.iter().flatten().map(|tree| assert_same(expected, tree)).count()
}

/// Installs `artifact` both ways to the same destination, one after the other. Gives the tree, or what the native way
/// says; panics where the ways differ.
pub(crate) fn install(artifact: &Path, destination: &Path) -> Result<Tree, String> {
    install_with(artifact, destination, Pip::Without)
}

fn install_with(artifact: &Path, destination: &Path, pip: Pip) -> Result<Tree, String> {
    let native = released::install(artifact, destination, pip).map_err(|(_, said)| said);
    let native = native.map(|()| take_tree(destination));
    if !site::has_python() {
        return native;
    }
    let (mut trees, said) = install_with_bootstrap(&[artifact.to_path_buf()], destination, pip);
    let second = trees.remove(0).ok_or(said);
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

pub(crate) fn take_tree(destination: &Path) -> Tree {
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

fn assert_same(native: &Tree, second: &Tree) {
    assert_eq!(difference(native, second), None);
}

/// The first path in which two trees differ.
pub(crate) fn difference(native: &Tree, second: &Tree) -> Option<String> {
    let describe = |node: Option<&Node>| match node {
        None => "absent".to_owned(),
        Some(Node::Link { target }) => format!("a link to {target}"),
        Some(Node::File { mode, contents }) => format!("{mode:o} {:?}", String::from_utf8_lossy(contents)),
    };
    let paths: std::collections::BTreeSet<&String> = native.keys().chain(second.keys()).collect();
    let path = paths.into_iter().find(|path| native.get(*path) != second.get(*path))?;
    let [one, other] = [native, second].map(|tree| describe(tree.get(path)));
    Some(format!("{path}\n native: {one}\n second: {other}"))
}

/// Two wheels that write three paths differently, and who wins them.
pub(crate) fn write_colliding(path: &Path) {
    let wheel = |name: &str| {
        let points = format!("[console_scripts]\nrun = {name}:main\n");
        zip(&site::wheel_members(
            name,
            &[
                Member::new("tests/__init__.py", format!("# {name}\n")),
                Member::new(&format!("tests/{name}.py"), "x = 1\n"),
                Member::new("LICENSE", format!("of {name}\n")),
                Member::new(&format!("{name}-1.data/data/share/x"), format!("of {name}\n")),
                Member::new(&format!("{name}-1.dist-info/entry_points.txt"), points),
            ],
        ))
    };
    let (one, two) = (wheel("one"), wheel("two"));
    let names = ["one-1-py3-none-any.whl", "two-1-py3-none-any.whl"];
    let modules = ["tests/__init__.py", "tests/one.py", "tests/two.py"];
    let packs =
        [[modules[0], modules[1]], [modules[0], modules[2]]].map(|modules| crate::store::pack(&modules));
    let winners = [
        ("tests/__init__.py", names[0]),
        ("LICENSE", names[1]),
        ("../../../bin/run", names[1]),
        ("../../../share/x", names[0]),
    ];
    site::write_colliding_site(
        path,
        &[(names[0], &one[..]), (names[1], &two[..])],
        &[(names[0], &packs[0][..]), (names[1], &packs[1][..])],
        &winners,
    );
}

/// Checks what [`write_colliding`] gives.
pub(crate) fn check_winners(tree: &Tree) {
    let site_packages = "venv/lib/python3.12/site-packages";
    let text = |path: &str| match &tree[path] {
        Node::File { contents, .. } => String::from_utf8_lossy(contents).into_owned(),
        Node::Link { .. } => panic!("{path} is a link"),
    };
    assert_eq!(text(&format!("{site_packages}/tests/__init__.py")), "# one\n");
    assert_eq!(text(&format!("{site_packages}/LICENSE")), "of two\n");
    assert_eq!(text("venv/share/x"), "of one\n");
    assert!(text("venv/bin/run").contains("from two import main"));
    let record = |name: &str| text(&format!("{site_packages}/{name}-1.dist-info/RECORD"));
    let lists =
        |name: &str, path: &str| record(name).lines().any(|line| line.starts_with(&format!("{path},")));
    for (path, winner) in [
        ("tests/__init__.py", "one"),
        ("LICENSE", "two"),
        ("../../../bin/run", "two"),
        ("../../../share/x", "one"),
    ] {
        assert_eq!([lists("one", path), lists("two", path)], [winner == "one", winner == "two"], "{path}");
    }
    assert!(lists("one", "tests/one.py") && lists("two", "tests/two.py"));
    assert!(!record("two").contains("tests/__pycache__/__init__"), "{}", record("two"));
}

#[test]
fn the_manifest_decides_colliding_paths() {
    let directory = tempfile::tempdir().unwrap();
    let (artifact, destination) = (directory.path().join("site.zip"), directory.path().join("dest"));
    write_colliding(&artifact);
    site::install_artifact(&artifact, &destination, Pip::Without).unwrap();
    let native = take_tree(&destination);
    check_winners(&native);
    if site::has_python() {
        let (trees, said) = install_with_bootstrap(&[artifact], &destination, Pip::Without);
        check_winners(trees[0].as_ref().expect(&said));
    }
}

#[test]
fn a_site_with_all_that_a_site_can_have() {
    let directory = tempfile::tempdir().unwrap();
    let (artifact, destination) =
        (directory.path().join("site.zip"), directory.path().join("it's a \"site\" é"));
    let points = "[console_scripts]\npack = pack.main:App.run [extra]\n# said\nboth = pack:one # said\n\
        [gui_scripts]\nboth = pack:two\n";
    let files = [
        Member::new("pack/__init__.py", ""),
        Member::new("pack/two,\"quoted\".py", "x"),
        Member { mode: 0o100_755, ..Member::new("pack/tool.sh", "#!/bin/sh\n") },
        Member { mode: 0o040_755, method: 0, ..Member::new("pack/empty/", "") },
        Member::new("pack-1.data/purelib/pack/pure.py", "pure"),
        Member::new("other.data/platlib/pack/native.so", "native"),
        Member::new("pack-1.data/scripts/run", "#!pythonw -u\r\nprint()\r\n"),
        Member::new("pack-1.data/scripts/pack-script.py", "#!python\n"),
        Member::new("pack-1.data/scripts/binary", vec![0, 255, 10]),
        Member::new("pack-1.data/data/etc/pack.conf", "data"),
        Member::new("pack-1.data/data/lib64/pack.so", "lib64"),
        Member::new("pack-1.data/headers/pack.h", "headers"),
        Member::new("pack-1.dist-info/entry_points.txt", points),
        Member::new("pack-1.dist-info/RECORD.jws", "signature"),
        Member::new("shared.py", "same"),
        Member::new("early.pth", "import pack\n"),
        Member { method: 0, ..Member::new("ünicode/é.py", "x") }.utf8(),
    ];
    let pack = zip(&site::wheel_members("pack", &files));
    let other = zip(&site::wheel_members("other", &[Member::new("shared.py", "same")]));
    let wheels = [("pack-1-py3-none-any.whl", &pack[..]), ("other-1-py3-none-any.whl", &other)];
    let code = [
        ("code/manage.py", MemberKind::Executable, "#!/usr/bin/env python\n"),
        ("code/site/settings.py", MemberKind::File, "DEBUG = False\n"),
        ("code/site/link.py", MemberKind::Link, "settings.py"),
        ("code/up", MemberKind::Link, "site/../manage.py"),
        ("static.in/0/a.css", MemberKind::File, "a {}\n"),
        ("loadenv.py", MemberKind::File, "x = 1\n"),
        ("loadenv-init.pth", MemberKind::File, "import loadenv\n"),
        ("loadenv.start", MemberKind::File, "loadenv:load\n"),
        ("test-site.pth", MemberKind::File, "../../../../code\n"),
        (".wheelbarrow/python/bootstrap.py", MemberKind::File, "stays\n"),
        ("__main__.py", MemberKind::File, "stays\n"),
    ];
    site::write_site(&artifact, ("3.12", "cp312"), &code, &wheels);
    let tree = install(&artifact, &destination).unwrap();
    let listing: Vec<String> = tree
        .iter()
        .map(|(path, node)| match node {
            Node::File { mode, .. } => format!("{mode:o} {path}"),
            Node::Link { target } => format!("link {path} -> {target}"),
        })
        .collect();
    insta::assert_snapshot!(listing.join("\n"), @r#"
    644 .wheelbarrow/SHA256SUMS
    644 .wheelbarrow/manifest.json
    644 .wheelbarrow/receipt.json
    755 code/manage.py
    link code/site/link.py -> settings.py
    644 code/site/settings.py
    link code/up -> site/../manage.py
    644 static.in/0/a.css
    755 venv/bin/binary
    755 venv/bin/both
    755 venv/bin/pack
    link venv/bin/python -> /usr/bin/python3.12
    755 venv/bin/run
    644 venv/etc/pack.conf
    644 venv/include/site/python3.12/pack/pack.h
    644 venv/lib/pack.so
    644 venv/lib/python3.12/site-packages/0-loadenv-init.pth
    644 venv/lib/python3.12/site-packages/early.pth
    644 venv/lib/python3.12/site-packages/loadenv-init.pth
    644 venv/lib/python3.12/site-packages/loadenv.py
    644 venv/lib/python3.12/site-packages/loadenv.start
    644 venv/lib/python3.12/site-packages/other-1.dist-info/INSTALLER
    644 venv/lib/python3.12/site-packages/other-1.dist-info/METADATA
    644 venv/lib/python3.12/site-packages/other-1.dist-info/RECORD
    644 venv/lib/python3.12/site-packages/other-1.dist-info/REQUESTED
    644 venv/lib/python3.12/site-packages/other-1.dist-info/WHEEL
    644 venv/lib/python3.12/site-packages/pack-1.dist-info/INSTALLER
    644 venv/lib/python3.12/site-packages/pack-1.dist-info/METADATA
    644 venv/lib/python3.12/site-packages/pack-1.dist-info/RECORD
    644 venv/lib/python3.12/site-packages/pack-1.dist-info/REQUESTED
    644 venv/lib/python3.12/site-packages/pack-1.dist-info/WHEEL
    644 venv/lib/python3.12/site-packages/pack-1.dist-info/entry_points.txt
    644 venv/lib/python3.12/site-packages/pack/__init__.py
    644 venv/lib/python3.12/site-packages/pack/native.so
    644 venv/lib/python3.12/site-packages/pack/pure.py
    755 venv/lib/python3.12/site-packages/pack/tool.sh
    644 venv/lib/python3.12/site-packages/pack/two,"quoted".py
    644 venv/lib/python3.12/site-packages/shared.py
    644 venv/lib/python3.12/site-packages/test-site.pth
    644 venv/lib/python3.12/site-packages/ünicode/é.py
    link venv/lib64 -> lib
    644 venv/pyvenv.cfg
    "#);
    let text = |path: &str| match &tree[path] {
        Node::File { contents, .. } => {
            String::from_utf8_lossy(contents).replace(directory.path().to_str().unwrap(), "[TEMP]")
        }
        Node::Link { target } => target.clone(),
    };
    insta::assert_snapshot!(text("venv/bin/run"), @r#"
    #!/bin/sh
    '''exec' '[TEMP]/it'"'"'s a "site" é/venv/bin/python' -u "$0" "$@"
    ' '''
    print()
    "#);
    insta::assert_snapshot!(text("venv/bin/both"), @r#"
    #!/bin/sh
    '''exec' '[TEMP]/it'"'"'s a "site" é/venv/bin/python' "$0" "$@"
    ' '''
    import sys
    from pack import two
    if __name__ == "__main__":
        sys.exit(two())
    "#);
    // Hashes of scripts change with the path.
    let record = text(&format!("venv/{}/pack-1.dist-info/RECORD", site::SITE_PACKAGES));
    let of_bin = |row: &&str| !row.starts_with("../../../bin/");
    insta::assert_snapshot!(record.lines().filter(of_bin).collect::<Vec<_>>().join("\n"), @r#"
    ../../../etc/pack.conf,sha256=Om6weQ85rIfJTzhWst0sXREOaBFgImGpqSPTuyOtyLc,4
    ../../../include/site/python3.12/pack/pack.h,sha256=N483sfsz-k2vumUZpI4GRH7KpYrykHKcw9NXvK3Zkmw,7
    ../../../lib/pack.so,sha256=9oQNCA-D8URNiKWHAiMh6qrfODvhHmrLwFxi-kgkYE0,5
    early.pth,sha256=oJ8ki4gtcBbR9EecnT79r_ELzehTFXBuZtU2JTZ0dmE,12
    pack-1.dist-info/INSTALLER,sha256=V0IdNsZlBcH0-71uQrRIWhS_Wyb8qj8oQD7T-fBwyjg,12
    pack-1.dist-info/METADATA,sha256=dHeIQLQoo8zBGLJI18Fa2oQreWIJHTM8-yeJZBb_jJ8,44
    pack-1.dist-info/RECORD,,
    pack-1.dist-info/REQUESTED,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
    pack-1.dist-info/WHEEL,sha256=pOC2U1k6hCf_vkZe7h2snGRWx-C20Xjuc3a02KQn2OY,41
    pack-1.dist-info/entry_points.txt,sha256=diussTzyaB9k_dVqnJjJU20aApOIA_QyKZfpPIRdT8w,111
    pack/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
    pack/native.so,sha256=vvMtLDFaKJV28qaCjSftsWuzFqTYXCcfLXlARfPqZo0,6
    pack/pure.py,sha256=uLoux-kHE8EEN3gWSvMlCCCUPCFlyfGfopmH4Baq5d0,4
    pack/tool.sh,sha256=qAdtPSjSHgIBKyDq99v3VAmmJ3E0Q5Al8oLjaOMwWr8,10
    "pack/two,""quoted"".py",sha256=LXEWQrcmsEQBYnyp-6wy9chTD7GQPMTbAiWHF5IaSIE,1
    shared.py,sha256=CWcRXygTo1Qervd96dnVdz8cDAQxSwu_5P87OxxVtdU,4
    ünicode/é.py,sha256=LXEWQrcmsEQBYnyp-6wy9chTD7GQPMTbAiWHF5IaSIE,1
    "#);
}

#[test]
fn a_site_that_depends_on_pip_gets_the_pip_that_it_names() {
    let directory = tempfile::tempdir().unwrap();
    let (artifact, destination) = (directory.path().join("site.zip"), directory.path().join("site"));
    let points = "[console_scripts]\npip = pip.main:main\n";
    let points = Member::new("pip-1.dist-info/entry_points.txt", points);
    let pip = zip(&site::wheel_members("pip", &[Member::new("pip/main.py", "def main(): pass\n"), points]));
    // The one that the artifact bundles is not even a zip.
    site::artifact(&artifact, &[("pip-1-py3-none-any.whl", &pip)]);
    let tree = install_with(&artifact, &destination, Pip::With).unwrap();
    assert!(tree.contains_key(&format!("venv/{}/pip-1.dist-info/REQUESTED", site::SITE_PACKAGES)));
    assert!(tree.contains_key("venv/bin/pip") && !tree.contains_key("venv/bin/pip3"));
}
