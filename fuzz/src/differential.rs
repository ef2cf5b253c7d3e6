//! The same inputs for every reader of a format: this program, and the Python files that travel, on every Python found.
//!
//! The two readers of environment.json must say the same. The readers of artifacts must agree on what an artifact holds:
//! what the installers take is read by the Ansible collection, zipfile and zipimport as the same members. The two readers of wheels take the same, and
//! install the same files.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use serde_json::Value;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::manifest::{EnvironmentRules, Sha256};
use wheelbarrow_artifact::wheel::OpenWheel;
use wheelbarrow_base::progress::Silent;
use wheelbarrow_release::environment;
use wheelbarrow_wheel::layout::Destination;

use crate::failures::keep;
use crate::mutate;

/// Inputs of one kind, and what this program says of each.
struct Batch {
    what: &'static str,
    inputs: Vec<Vec<u8>>,
    own: Vec<Value>,
}

/// Compares `count` inputs of each kind. What differs, and how many comparisons were made.
pub(crate) fn compare(corpora: &[Vec<Vec<u8>>; 3], seed: u64, count: u64) -> (Vec<String>, u64) {
    let pythons = pythons();
    if pythons.is_empty() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI brings a Python");
        println!("skipped: no Python was found to compare with");
    }
    let inputs = |what, corpus: &[Vec<u8>]| {
        let input = |number| mutate::input(corpus, &mut mutate::Random::new(seed, what, number));
        corpus.iter().cloned().chain((0..count).map(input)).collect::<Vec<_>>()
    };
    let batch = |what, corpus: &[Vec<u8>], read: fn(&[u8]) -> Value| {
        let inputs = inputs(what, corpus);
        let own = inputs.iter().map(|data| read(data)).collect();
        Batch { what, inputs, own }
    };
    let batches = [
        batch("environment", &corpora[0], judge),
        batch("artifact", &corpora[1], members),
        batch("wheel", &corpora[2], files),
    ];
    let (mut differences, mut comparisons) = (Vec::new(), 0);
    for batch in &batches {
        for python in &pythons {
            let theirs = ask(python, batch);
            assert_eq!(theirs.len(), batch.inputs.len(), "{} has answered everything", python.display());
            comparisons += theirs.len() as u64;
            for ((data, own), theirs) in batch.inputs.iter().zip(&batch.own).zip(&theirs) {
                if let Some(difference) = difference(own, theirs) {
                    let kept = keep(batch.what, data);
                    differences.push(format!("{} {}: {difference}: {kept}", batch.what, python.display()));
                }
            }
        }
    }
    (differences, comparisons)
}

/// Of artifacts an answer is a list: artifact.py, the collection, zipfile and zipimport. An installer may be stricter than the other, but
/// what one of them takes is the same for all that read it.
fn difference(own: &Value, theirs: &Value) -> Option<String> {
    let Some([bootstrap, others @ ..]) = theirs.as_array().map(Vec::as_slice) else {
        return (own != theirs).then(|| format!("{own} is not {theirs}"));
    };
    let taken = [own, bootstrap].into_iter().find(|installer| !installer.is_null())?;
    if !own.is_null() && !bootstrap.is_null() && own != bootstrap {
        return Some(format!("the installers read {own} and {bootstrap}"));
    }
    let other = others.iter().find(|other| *other != taken)?;
    Some(format!("an installer reads {taken}, and Python {other}"))
}

fn judge(data: &[u8]) -> Value {
    match environment::check(data, 0o640, &EnvironmentRules::default(), |_| false) {
        Ok(keys) => format!("sets {}", keys.join(" ")).into(),
        Err(error) => error.to_string().into(),
    }
}

/// A SHA-256 over names and contents, as `differential.py` has it; null if it is refused.
fn members(data: &[u8]) -> Value {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let path = place.join(format!("wheelbarrow-fuzz-{}.zip", std::process::id()));
    let written = fs::write(&path, data);
    let artifact = written.ok().and_then(|()| Artifact::open(&path).ok()?.verify(&Silent).ok());
    let found = artifact.and_then(|artifact| {
        let read = |entry: &wheelbarrow_artifact::zip::Entry| {
            let contents = artifact.archive().read(entry, 1 << 24).ok()?;
            Some((entry.name.clone(), Sha256::of(&contents)))
        };
        let mut members = artifact.archive().entries().iter().map(read).collect::<Option<Vec<_>>>()?;
        Some(digest(&mut members))
    });
    let _ = fs::remove_file(&path);
    found.map_or(Value::Null, Value::from)
}

fn digest(files: &mut [(String, Sha256)]) -> String {
    files.sort();
    let lines: Vec<String> = files.iter().map(|(name, hash)| format!("{name}\0{hash}\n")).collect();
    Sha256::of(lines.concat().as_bytes()).to_string()
}

/// The same for the files and scripts that a wheel installs; null if it is refused.
fn files(data: &[u8]) -> Value {
    installed(data).map_or(Value::Null, |mut files| digest(&mut files).into())
}

fn installed(data: &[u8]) -> Option<Vec<(String, Sha256)>> {
    let wheel = OpenWheel::open("demo-1-py3-none-any.whl", data).ok()?;
    let recorded = wheel.recorded().ok()?;
    let mut files = Vec::new();
    for file in wheel.files() {
        let entry = wheel.entry(file);
        let sha256 = Sha256::of(&wheel.archive().read(entry, 1 << 24).ok()?);
        let row = recorded.get(&entry.name).and_then(|row| row.hash.as_ref());
        let row = row.filter(|(algorithm, _)| algorithm == "sha256");
        if row.is_some_and(|(_, digest)| format!("sha256={digest}") != sha256.to_record()) {
            return None;
        }
        let path = match &file.destination {
            Destination::SitePackages(path) => format!("site-packages/{path}"),
            Destination::Scripts(path) => format!("bin/{path}"),
            Destination::Data(path) => format!("data/{path}"),
            Destination::Headers(path) => format!("headers/{path}"),
        };
        files.push((format!("{}{path}", u8::from(file.executable)), sha256));
    }
    let scripts = wheel.entry_points().iter();
    files.extend(scripts.map(|entry| {
        let object = format!("{}:{}", entry.module, entry.object);
        (entry.name.clone(), Sha256::of(object.as_bytes()))
    }));
    Some(files)
}

fn ask(python: &Path, batch: &Batch) -> Vec<Value> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python);
    command.args(["-I", "-S"]).arg(own.join("differential.py")).arg(batch.what);
    command.arg(own.join("../crates/wheelbarrow-artifact/python"));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = child else { return Vec::new() };
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let answers = std::thread::scope(|scope| {
        scope.spawn(move || {
            let Some(mut stdin) = stdin else { return };
            for data in &batch.inputs {
                let length = u32::try_from(data.len()).unwrap_or(0).to_le_bytes();
                if stdin.write_all(&length).and_then(|()| stdin.write_all(data)).is_err() {
                    return;
                }
            }
        });
        let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
        lines.filter_map(|line| serde_json::from_str(&line.ok()?).ok()).collect()
    });
    let _ = child.wait();
    answers
}

/// The Pythons of pyenv that artifacts run on, and the one on PATH.
fn pythons() -> Vec<PathBuf> {
    let versions = std::env::home_dir().unwrap_or_default().join(".pyenv/versions");
    let entries = fs::read_dir(versions).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path().join("bin/python")).collect();
    found.push("python3".into());
    found.sort();
    let code = "import sys; sys.exit(sys.version_info < (3, 6))";
    found.retain(|python| {
        let asked = Command::new(python).args(["-c", code]).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    });
    found
}
