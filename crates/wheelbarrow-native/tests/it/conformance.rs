//! The wheels and zips that pip, uv, wheel, Go and CPython are tested with; `../shared/conformance/README.md`.
//!
//! Each wheel is checked as the builder does, packed alone into an artifact, installed, and compared with what pip left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::wheel::OpenWheel;
use wheelbarrow_artifact::zip::Archive;
use wheelbarrow_artifact::{Artifact, in_parallel};
use wheelbarrow_platform::{CompatibleTags, Platform};

use crate::both_ways::{self, Tree};
use crate::released::{self, text};
use crate::site::{self, Node, told};

/// What pip installs and we refuse: the wheel, what we say, and why that is right.
const REFUSED: [(&str, &str, &str); 9] = [
    ("pip/license.dist-0.1", "METADATA has 328 bytes", FALSE),
    ("pip/license.dist-0.2", "METADATA has 294 bytes", FALSE),
    ("pip/simplewheel-2.0-1", "does not list simplewheel-2.0.dist-info/DESCRIPTION.rst", FALSE),
    ("wheel_inspect/digest_mismatch", ", not sha256=", FALSE),
    ("wheel_inspect_bad/digest_mismatch", ", not sha256=", FALSE),
    ("wheel_inspect_bad/size_mismatch", "module.py has", FALSE),
    ("wheel_inspect_bad/extra_file", "it does not list", FALSE),
    ("wheel_inspect_bad/missing_file", "which is not there", FALSE),
    ("wheel_inspect_bad/null_entry", "module.py has no hash", FALSE),
];
const FALSE: &str =
    "the specification wants RECORD to be whole and true; none of the three compares it, we do";

/// What pip refuses and we install.
const ACCEPTED: [(&str, &str); 1] = [(
    "pip/require_invalid_version-1.0",
    "its Requires-Dist is no requirement; pip reads that even with --no-deps, here it is uv's to refuse when it locks",
)];

/// Files that differ from pip's in contents, mode or being there at all.
const FILES: [(&str, &str, &str); 6] = [
    (
        "pip/simple.dist-0.1-py2",
        "lib/python3.12/site-packages/simple.dist-0.1.dist-info/RECORD.jws",
        SIGNATURE,
    ),
    ("pip/simple.dist-0.1-py2", "RECORD", SIGNATURE),
    ("pip/script.wheel2-0.1", "bin/testscript2", SCRIPT_MODE),
    ("pip/script.wheel2a-0.1", "bin/testscript1.bat", SCRIPT_MODE),
    ("pip/script.wheel3-0.1", "bin/t1-script.pyw", SCRIPT_MODE),
    ("wheel/test-1.0", "bin/hello.sh", SCRIPT_MODE),
];
const SIGNATURE: &str = "it signs the RECORD of the wheel, and would be wrong beside the new one";
const SCRIPT_MODE: &str =
    "what comes from scripts is executable, as uv makes it: pip leaves the mode of the zip";

#[test]
fn wheels_are_installed_as_pip_does() {
    let Some(shared) = site::shared() else { return };
    let conformance = shared.join("conformance");
    let expected: BTreeMap<String, Value> =
        serde_json::from_slice(&fs_err::read(conformance.join("expected.json")).unwrap()).unwrap();
    let mut known: BTreeSet<String> = REFUSED.iter().map(|(wheel, ..)| (*wheel).to_owned()).collect();
    known.extend(ACCEPTED.iter().map(|(wheel, _)| (*wheel).to_owned()));
    known.extend(FILES.iter().map(|(wheel, path, _)| format!("{wheel} {path}")));
    let mut wrong = Vec::new();
    let wheels: Vec<_> = expected.iter().collect();
    let compare = |(wheel, tools): &(&String, &Value)| {
        compare(&conformance.join("wheels").join(wheel), wheel, &tools["pip"])
    };
    for found in in_parallel(&wheels, compare) {
        wrong.extend(found.into_iter().filter(|difference| {
            let listed = known.iter().find(|known| difference.is(known)).cloned();
            listed.is_none_or(|listed| !known.remove(&listed))
        }));
    }
    let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{} differences that are not listed:\n{}", wrong.len(), wrong.join("\n"));
    assert!(known.is_empty(), "listed differences that are none: {known:?}");
    assert_eq!(expected.len(), 61);
}

/// Something in which our install is not pip's.
struct Difference {
    wheel: String,
    /// Of a file, or none where the wheel as a whole is meant.
    path: Option<String>,
    what: String,
}

impl Difference {
    fn is(&self, listed: &str) -> bool {
        match (listed.split_once(' '), &self.path) {
            (Some((wheel, path)), Some(own)) => self.wheel.starts_with(wheel) && path == own,
            (None, None) => {
                let said =
                    REFUSED.iter().find(|(wheel, ..)| *wheel == listed).map_or("", |(_, said, _)| said);
                self.wheel.starts_with(listed) && self.what.contains(said)
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}: {}", self.wheel, self.path.as_deref().unwrap_or_default(), self.what)
    }
}

fn compare(path: &Path, wheel: &str, pip: &Value) -> Vec<Difference> {
    let whole = |what| vec![Difference { wheel: wheel.to_owned(), path: None, what }];
    let directory = tempfile::tempdir().unwrap();
    let destination = directory.path().join("site");
    let installed = check_and_install(path, &directory.path().join("site.zip"), &destination);
    match (installed, pip["ok"].as_bool()) {
        (Err(said), Some(true)) => whole(format!("pip installs it; we say: {said}")),
        (Ok(tree), Some(true)) => {
            let virtualenv = destination.join("venv");
            let mut differences = compare_records(wheel, &tree, &pip["record"]);
            differences.extend(compare_trees(wheel, &virtualenv, tree, &pip["tree"]));
            differences
        }
        (Ok(_), _) => whole("pip refuses it, we do not".to_owned()),
        (Err(_), _) => Vec::new(),
    }
}

/// What the builder does with a wheel, then what the installer does with the artifact. Gives what is there because of the wheel.
fn check_and_install(
    path: &Path,
    artifact: &Path,
    destination: &Path,
) -> Result<BTreeMap<String, Node>, String> {
    if let (Some(program), Some(_)) = (released::program(), released::python()) {
        return build_and_install(&program, path, artifact, destination);
    }
    let filename = path.file_name().unwrap().to_str().unwrap();
    let bytes = fs_err::read(path).unwrap();
    let wheel = OpenWheel::open(filename, &bytes).map_err(|error| told(&error))?;
    let platform = Platform::parse("manylinux_2_36_x86_64").unwrap();
    if let Some(unfit) = CompatibleTags::new((3, 12), "cp312", &platform).explain(&wheel.filename().tags) {
        return Err(unfit.to_string());
    }
    site::check_record(&wheel)?;
    wheel.metadata().map_err(|error| told(&error))?;
    site::artifact(artifact, &[(filename, &bytes)]);
    let mut tree = both_ways::install(artifact, destination)?;
    for own in ["venv/bin/python", "venv/lib64", "venv/pyvenv.cfg"] {
        tree.remove(own).unwrap();
    }
    Ok(tree)
}

/// Installs an artifact by the program and by itself, which leave the same tree, and has the program compare it.
fn install_both_ways(program: &Path, artifact: &Path, destination: &Path) -> Result<Tree, (u8, String)> {
    let options = ["--without-pip", "--compile", "never", "--quiet"];
    let to = ["-d", text(destination)];
    let python = released::python().unwrap();
    let by_program = ["install", text(artifact), "--python", text(python)];
    released::run(program, &[&by_program[..], &to, &options].concat())?;
    released::run(program, &["verify", text(destination)])?;
    let tree = both_ways::take_tree(destination);
    released::run(python, &[&[text(artifact)][..], &to, &options].concat())?;
    assert_eq!(both_ways::difference(&tree, &both_ways::take_tree(destination)), None);
    Ok(tree)
}

/// Builds a site of a wheel, installs it, and gives what is there because of the wheel.
fn build_and_install(
    program: &Path,
    wheel: &Path,
    artifact: &Path,
    destination: &Path,
) -> Result<Tree, String> {
    let told = |(code, said)| format!("exit code {code}: {said}");
    released::build(program, Some(wheel), artifact).map_err(told)?;
    let mut tree = install_both_ways(program, artifact, destination).map_err(told)?;
    static WITHOUT: OnceLock<Tree> = OnceLock::new();
    let without = WITHOUT.get_or_init(|| {
        released::build(program, None, artifact).unwrap();
        install_both_ways(program, artifact, destination).unwrap()
    });
    tree.retain(|path, _| !without.contains_key(path));
    Ok(tree)
}

fn compare_trees(
    wheel: &str,
    virtualenv: &Path,
    tree: BTreeMap<String, Node>,
    pip: &Value,
) -> Vec<Difference> {
    let in_virtualenv = |(path, node): (String, Node)| Some((path.strip_prefix("venv/")?.to_owned(), node));
    let mut ours: BTreeMap<String, Node> = tree.into_iter().filter_map(in_virtualenv).collect();
    let difference =
        |path: &str, what: String| Difference { wheel: wheel.to_owned(), path: Some(path.to_owned()), what };
    let mut differences = Vec::new();
    for (path, theirs) in pip.as_object().unwrap() {
        let Some(Node::File { mode, contents }) = ours.remove(path) else {
            differences.push(difference(path, "pip writes it, we do not".to_owned()));
            continue;
        };
        if theirs["mode"].as_str() != Some(&format!("0o{mode:o}")) {
            differences.push(difference(path, format!("mode {mode:o}, pip's {}", theirs["mode"])));
        }
        let same = match (theirs["sha256"].as_str(), theirs["head"].as_str()) {
            (Some(hash), _) => Sha256::of(&contents).to_string() == hash || path.ends_with("/INSTALLER"),
            (None, Some(head)) => same_script(virtualenv, &contents, head),
            // RECORD, compared by its rows.
            (None, None) => true,
        };
        if !same {
            differences.push(difference(path, "other contents than pip's".to_owned()));
        }
    }
    differences.extend(ours.keys().map(|path| difference(path, "pip does not write it".to_owned())));
    differences
}

/// A script that pip made for an entry point imports and calls the same; any other has the same text.
fn same_script(virtualenv: &Path, contents: &[u8], head: &str) -> bool {
    let ours = String::from_utf8_lossy(contents).replace(virtualenv.to_str().unwrap(), "{VENV}");
    let what_matters = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim);
        lines.filter(|line| !line.starts_with("sys.argv[0]")).map(|line| line.replace('\'', "\"")).collect()
    };
    what_matters(&ours) == what_matters(head)
}

/// Paths, hashes and sizes; hashes of files that have other contents on purpose are not looked at.
fn compare_records(wheel: &str, tree: &BTreeMap<String, Node>, pip: &Value) -> Vec<Difference> {
    let record = tree.iter().find(|(path, _)| path.ends_with(".dist-info/RECORD")).map(|(_, node)| node);
    let Some(Node::File { contents, .. }) = record else { panic!("{wheel}: no RECORD") };
    let text = String::from_utf8(contents.clone()).unwrap();
    let rows = |path: &str, hash: &str, size: &str| {
        let own = path.ends_with("/INSTALLER") || path.starts_with("../../../bin/");
        let (hash, size) = if own { ("", "") } else { (hash, size) };
        (path.to_owned(), hash.to_owned(), size.to_owned())
    };
    let ours: BTreeSet<_> = csv_rows(&text).iter().map(|[path, hash, size]| rows(path, hash, size)).collect();
    let field = |row: &Value, index: usize| row[index].as_str().unwrap_or_default().to_owned();
    let theirs: BTreeSet<_> = pip
        .as_array()
        .unwrap()
        .iter()
        // pip keeps the rows of what it leaves out, and of directories.
        .filter(|row| !field(row, 0).contains(".data/scripts/") && !field(row, 0).ends_with('/'))
        .map(|row| rows(&field(row, 0), &field(row, 1), &field(row, 2)))
        .collect();
    let difference =
        |what: String| Difference { wheel: wheel.to_owned(), path: Some("RECORD".to_owned()), what };
    let more = ours.difference(&theirs).map(|row| difference(format!("pip has no row {row:?}")));
    more.chain(theirs.difference(&ours).map(|row| difference(format!("only pip has the row {row:?}"))))
        .collect()
}

fn csv_rows(text: &str) -> Vec<[String; 3]> {
    let split = |line: &str| {
        let fields: Vec<&str> = line.rsplitn(3, ',').collect();
        [fields[2].trim_matches('"').to_owned(), fields[1].to_owned(), fields[0].to_owned()]
    };
    text.lines().map(split).collect()
}

#[test]
fn zips_of_other_projects_are_read_or_refused() {
    let Some(shared) = site::shared() else { return };
    let mut said = String::new();
    for group in ["zips-cpython", "zips-go"] {
        let entries = fs_err::read_dir(shared.join("conformance").join(group)).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let mut bytes = fs_err::read(&path).unwrap();
            if path.extension().is_some_and(|extension| extension == "base64") {
                bytes.retain(|byte| !byte.is_ascii_whitespace());
                bytes = data_encoding::BASE64.decode(&bytes).unwrap();
            }
            let name = path.file_name().unwrap().to_str().unwrap();
            said.push_str(&format!("{name}: {}\n", read_all(&bytes)));
            assert!(is_refused(&path), "{name} is not an artifact");
        }
    }
    insta::assert_snapshot!(said, @r"
    zip_cp437_header.zip: filename_with_æoå.txt 5, filename_without.txt 5
    zipdir.zip: a/ 0, a/b/ 0, a/b/c 0
    zipdir_backslash.zip: a\b\c 0, d\e\ 0
    crc32-not-streamed.zip: foo.txt 4, bar.txt 4
    dd.zip: filename 25
    dupdir.zip: a/ 0, a/b 0, a/b/ 0, a/b/c 0
    go-no-datadesc-sig.zip.base64: foo.txt 4, bar.txt 4
    go-with-datadesc-sig.zip: foo.txt 4, bar.txt 4
    gophercolor16x16.png: refused: not a zip file, or cut off: no end of central directory
    readme.notzip: refused: not a zip file, or cut off: no end of central directory
    readme.zip: refused: not a zip file, or cut off: no end of central directory
    subdir.zip: a/ 0, a/b/ 0, a/b/c 0
    symlink.zip: symlink 9
    test-baddirsz.zip: refused: the zip is damaged: the central directory holds something else than members
    test-prefix.zip: refused: not a zip file, or cut off: no end of central directory
    test-trailing-junk.zip: refused: not a zip file, or cut off: no end of central directory
    test.zip: test.txt 26, gophercolor16x16.png 785
    time-22738.zip: file 0
    time-7zip.zip: test.txt 0
    time-go.zip: test.txt 0
    time-infozip.zip: test.txt 0
    time-osx.zip: test.txt 0
    time-win7.zip: test.txt 0
    time-winrar.zip: test.txt 0
    time-winzip.zip: test.txt 0
    unix.zip: hello 8, dir/bar 6, dir/empty/ 0, readonly 12
    utf8-7zip.zip: 世界 0
    utf8-infozip.zip: 世界 0
    utf8-osx.zip: Σ╕ûτòî 0
    utf8-winrar.zip: 世界 0
    utf8-winzip.zip: 世界 0
    winxp.zip: hello 8, dir/bar 6, dir/empty/ 0, readonly 12
    zip64-2.zip: README 36
    zip64.zip: README 36
    ");
}

/// Whether a file is said to be broken, as no artifact is.
fn is_refused(path: &Path) -> bool {
    let Some(program) = released::program() else { return Artifact::open(path).is_err() };
    let path = path.to_str().unwrap();
    ["inspect", "verify"]
        .iter()
        .all(|command| released::run(&program, &[command, path]).is_err_and(|(code, _)| code == 3))
}

/// The members that can be read, or why the zip is refused.
fn read_all(bytes: &[u8]) -> String {
    let archive = match Archive::parse(bytes) {
        Ok(archive) => archive,
        Err(error) => return format!("refused: {}", told(&error)),
    };
    let member = |entry| match archive.read(entry, 1 << 20) {
        Ok(contents) => format!("{} {}", entry.name, contents.len()),
        Err(error) => format!("{} refused: {error}", entry.name),
    };
    archive.entries().iter().map(member).collect::<Vec<_>>().join(", ")
}
