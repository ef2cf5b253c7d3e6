//! A site of 106 wheels, installed by us and by pip: the same tree, file by file, with modes.
//!
//! The wheels are 152 MB. `WHEELBARROW_WHEELS106` names a directory that has them; in CI they are fetched into `target/`;
//! elsewhere the test is skipped until they are there.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::wheel::OpenWheel;
use wheelbarrow_base::progress::Silent;
use wheelbarrow_install::{Compile, Existing, Options, Pip, install};
use wheelbarrow_platform::{CompatibleTags, Platform, required_platform};

use crate::{released, site};

const COUNT: usize = 106;

#[test]
fn the_tree_is_the_one_that_pip_leaves() {
    let Some(python) = python() else {
        println!("skipped: there is no Python 3.11");
        return;
    };
    let requirements = workspace().join("benches/site106.txt");
    let Some(wheels) = wheels(&python, &requirements) else {
        println!("skipped: WHEELBARROW_WHEELS106 names no directory of the wheels, and this is not CI");
        return;
    };
    // It takes a gigabyte: where nobody says otherwise, that is on the disk.
    let place = std::env::var_os("TMPDIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let directory = tempfile::tempdir_in(place).unwrap();
    let scripts = install_with_us(&python, &wheels, directory.path());
    install_with_pip(&python, &wheels, &requirements, directory.path());
    let (ours, theirs) = (directory.path().join("ours/venv"), directory.path().join("pips/venv"));
    let differences = compare(&ours, &theirs, &scripts);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// What a path is, with the mode; what is compared of its contents.
#[derive(PartialEq, Eq)]
struct Found {
    kind: &'static str,
    mode: u32,
    contents: Vec<u8>,
}

fn compare(ours: &Path, theirs: &Path, scripts: &BTreeSet<String>) -> Vec<String> {
    let mut left = walk(ours, scripts);
    let mut differences = Vec::new();
    let mut files = 0;
    for (path, theirs) in walk(theirs, scripts) {
        files += usize::from(theirs.kind == "file");
        match left.remove(&path) {
            None => differences.push(format!("{path}: only pip has it")),
            Some(ours) if ours == theirs => {}
            Some(ours) => differences.push(format!(
                "{path}: {} {:o}, {} bytes; pip: {} {:o}, {} bytes",
                ours.kind,
                ours.mode,
                ours.contents.len(),
                theirs.kind,
                theirs.mode,
                theirs.contents.len()
            )),
        }
    }
    differences.extend(left.keys().map(|path| format!("{path}: only we have it")));
    println!("{files} files of pip compared");
    assert!(files > 10_000, "that is not the site: {files} files");
    differences
}

/// Everything below `root`. Where contents may differ, only their being there counts; the virtualenv's own path counts
/// as no difference.
fn walk(root: &Path, scripts: &BTreeSet<String>) -> BTreeMap<String, Found> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs_err::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let metadata = fs_err::symlink_metadata(&path).unwrap();
            let file_name = name.rsplit('/').next().unwrap();
            if name.ends_with(".dist-info/REQUESTED") || name.ends_with(".dist-info/direct_url.json") {
                continue;
            }
            let (kind, contents) = if metadata.is_dir() {
                directories.push(path);
                ("directory", Vec::new())
            } else if metadata.is_symlink() {
                ("link", fs_err::read_link(&path).unwrap().into_os_string().into_encoded_bytes())
            } else if matches!(file_name, "INSTALLER" | "RECORD") || scripts.contains(&name) {
                ("file", Vec::new())
            } else {
                ("file", without_path(fs_err::read(&path).unwrap(), root))
            };
            found.insert(name, Found { kind, mode: metadata.permissions().mode() & 0o7777, contents });
        }
    }
    found
}

/// Small text files with the path of the virtualenv replaced, and without the line of pyvenv.cfg that tells how it was
/// made.
fn without_path(contents: Vec<u8>, root: &Path) -> Vec<u8> {
    const LARGEST_SCRIPT: usize = 100_000;
    let path = root.to_str().unwrap();
    match String::from_utf8(contents) {
        Ok(text) if text.len() < LARGEST_SCRIPT && text.contains(path) => {
            let lines = text.lines().filter(|line| !line.starts_with("command = "));
            lines.map(|line| line.replace(path, "[VENV]") + "\n").collect::<String>().into_bytes()
        }
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

/// Installs and gives the paths of the scripts of entry points.
fn install_with_us(python: &Path, wheels: &[PathBuf], directory: &Path) -> BTreeSet<String> {
    let (path, destination) = (directory.join("site.zip"), directory.join("ours"));
    let contents: Vec<(String, Vec<u8>)> = wheels
        .iter()
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs_err::read(path).unwrap()))
        .collect();
    let interpreter = Interpreter::probe(python, Some(&destination.join("venv"))).unwrap();
    let mut scripts = BTreeSet::new();
    let mut names = Vec::new();
    for (filename, bytes) in &contents {
        let wheel = OpenWheel::open(filename, bytes).unwrap();
        site::check_record(&wheel).unwrap();
        scripts.extend(wheel.entry_points().iter().map(|entry| format!("bin/{}", entry.name)));
        names.push(wheel.filename().clone());
    }
    let libc = interpreter.libc;
    let platform = Platform::Linux { machine: interpreter.machine.clone(), libc };
    let tags = CompatibleTags::new((3, 11), &interpreter.abi, &platform);
    let tags_of = names.iter().map(|name| name.tags.as_slice());
    println!("needs {}", required_platform(tags_of, &tags, libc).unwrap());
    let borrowed: Vec<(&str, &[u8])> =
        contents.iter().map(|(filename, bytes)| (filename.as_str(), bytes.as_slice())).collect();
    site::write_site(&path, ("3.11", &interpreter.abi), &[], &borrowed);
    let begun = std::time::Instant::now();
    match released::program() {
        Some(program) => install_with_program(&program, python, wheels, &path, &destination),
        None => {
            let (existing, pip, compile) = (Existing::Refuse, Pip::Without, Compile::Never);
            let options = Options { destination, existing, pip, store: None, compile };
            install(Artifact::open(&path).unwrap(), &interpreter, &options, &Silent).unwrap();
        }
    }
    println!("installed in {:?}", begun.elapsed());
    scripts
}

/// The wheels are what they say, and everything is there after the install.
fn install_with_program(
    program: &Path,
    python: &Path,
    wheels: &[PathBuf],
    artifact: &Path,
    destination: &Path,
) {
    let text = |path: &'_ Path| path.to_str().unwrap().to_owned();
    let [python, artifact, destination] = [python, artifact, destination].map(text);
    let wheels: Vec<String> = wheels.iter().map(|path| text(path)).collect();
    let run = |words: &[&str]| drop(released::run(program, words).unwrap());
    run(&[&["audit", "--quiet"][..], &wheels.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    let options = ["--without-pip", "--compile", "never", "--quiet"];
    run(&[&["install", &artifact, "--python", &python, "-d", &destination][..], &options].concat());
    run(&["verify", &destination]);
}

fn install_with_pip(python: &Path, wheels: &[PathBuf], requirements: &Path, directory: &Path) {
    let virtualenv = directory.join("pips/venv");
    run(child(python).args(["-m", "venv", "--without-pip"]).arg(&virtualenv));
    let mut pip = child(python);
    pip.args(["-m", "pip", "--disable-pip-version-check", "--python"]).arg(virtualenv.join("bin/python"));
    pip.args([
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        "--require-hashes",
        "--no-index",
        "--no-cache-dir",
    ]);
    pip.arg("--find-links").arg(wheels[0].parent().unwrap()).arg("-r").arg(requirements);
    run(&mut pip);
}

/// Python 3.11: pyenv's, or one on PATH.
fn python() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let pyenv = fs_err::read_dir(Path::new(&home).join(".pyenv/versions")).into_iter().flatten().flatten();
    let mut candidates: Vec<PathBuf> = pyenv.map(|version| version.path().join("bin/python3.11")).collect();
    candidates.extend(std::env::split_paths(&std::env::var_os("PATH")?).map(|path| path.join("python3.11")));
    candidates.into_iter().find(|python| {
        python.exists()
            && child(python).args(["-c", "import pip"]).output().is_ok_and(|run| run.status.success())
    })
}

fn wheels(python: &Path, requirements: &Path) -> Option<Vec<PathBuf>> {
    let own = workspace().join("target/wheels106");
    let directory = std::env::var_os("WHEELBARROW_WHEELS106").map_or_else(|| own.clone(), PathBuf::from);
    let list = || -> Vec<PathBuf> {
        let entries = fs_err::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut wheels: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "whl")).collect();
        wheels.sort();
        wheels
    };
    if list().len() < COUNT && directory == own && std::env::var("CI").as_deref() == Ok("true") {
        let mut pip = child(python);
        pip.args([
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
        ]);
        run(pip.arg("--dest").arg(&own).arg("-r").arg(requirements));
    }
    Some(list()).filter(|wheels| wheels.len() == COUNT)
}

/// Python without what this machine tells it, but for what a private network needs.
fn child(python: &Path) -> Command {
    let mut command = Command::new(python);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let own = ["PIP_", "UV_", "PYTHON", "VIRTUAL_ENV"].iter().any(|prefix| text.starts_with(prefix));
        if own && !matches!(&*text, "PIP_CERT" | "PIP_INDEX_URL" | "UV_INDEX_URL") {
            command.env_remove(&name);
        }
    }
    command.env("PIP_CONFIG_FILE", "/dev/null");
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
