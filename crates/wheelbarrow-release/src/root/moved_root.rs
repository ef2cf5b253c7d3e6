//! A site root that was moved or copied: the scripts of its virtualenvs have the old path.
//!
//! The receipt of a release has the path of the store, and so of the site root at that time. [`repair`]
//! writes the new paths into scripts and `pyvenv.cfg`, then updates RECORD, the sums and, last, the receipt.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::{LARGEST_TEXT, beneath, json, read_regular, write_atomic};
use wheelbarrow_wheel::script::rewrite_shebang;

use crate::root::receipt::RECEIPT_PATH;
use crate::root::release::CompleteRelease;
use crate::{ReleaseError, Root};

const SUMS_PATH: &str = ".wheelbarrow/SHA256SUMS";

/// Where the root was when the release was made; none if it is there still, under whatever name, or the release does not say.
pub(crate) fn origin(root: &Root, release: &CompleteRelease) -> Option<PathBuf> {
    let receipt: Value =
        json::from_slice(&read_regular(&release.path().join(RECEIPT_PATH), LARGEST_TEXT).ok()?).ok()?;
    let made_in = Path::new(receipt["store"]["path"].as_str()?).parent()?.to_path_buf();
    let inode = |path: &Path| beneath::found(path).ok().map(|(_, stat)| (stat.st_dev, stat.st_ino));
    let is_here =
        made_in == root.path() || inode(&made_in).is_some_and(|made| Some(made) == inode(root.path()));
    (!is_here).then_some(made_in)
}

/// Refuses a release whose scripts lead to where the root was.
pub(crate) fn check(release: &CompleteRelease) -> Result<(), ReleaseError> {
    let root = Root::at(release.path().ancestors().nth(2).unwrap_or(release.path()));
    match origin(&root, release) {
        Some(from) => Err(ReleaseError::Moved { root: root.path().to_path_buf(), from }),
        None => Ok(()),
    }
}

/// Makes the release one of the root where it is now. Done a second time, it does what is left.
pub(crate) fn repair(root: &Root, release: &CompleteRelease, from: &Path) -> Result<(), ReleaseError> {
    let inside = |root: &Path| root.join("releases").join(release.id().to_string()).display().to_string();
    let paths = ReleasePaths { old: inside(from), new: inside(root.path()) };
    let read = |path: &Path| read_regular(path, LARGEST_TEXT).map_err(ReleaseError::io("read", path));
    let sums_path = release.path().join(SUMS_PATH);
    let sums = String::from_utf8_lossy(&read(&sums_path)?).into_owned();

    // What was rewritten, by its path in the release. What somebody has altered is left for `verify` to find.
    let mut changed: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let lines = sums.lines().filter_map(|line| line.split_once("  "));
    for (sum, path) in lines.clone().filter(|(_, path)| is_rewritten(path)) {
        let text = read(&release.path().join(path))?;
        let was = replace(&text, paths.new.as_bytes(), paths.old.as_bytes());
        if [&text, &was].iter().any(|text| Sha256::of(text).to_string() == sum) {
            changed.insert(path.to_owned(), paths.in_file(&text));
        }
    }
    for (sum, path) in lines.filter(|(_, path)| path.ends_with(".dist-info/RECORD")) {
        let text = read(&release.path().join(path))?;
        let record = record_of(&String::from_utf8_lossy(&text), &changed).into_bytes();
        if record == text || Sha256::of(&text).to_string() == sum {
            changed.insert(path.to_owned(), record);
        }
    }
    for (path, text) in &changed {
        rewrite(&release.path().join(path), text)?;
    }
    let sums: String = sums.lines().map(|line| sum_of(line, &changed)).collect();
    rewrite(&sums_path, sums.as_bytes())?;

    let receipt_path = release.path().join(RECEIPT_PATH);
    let misread = |error| ReleaseError::io("understand", &receipt_path)(std::io::Error::other(error));
    let mut receipt: Value = json::from_slice(&read(&receipt_path)?).map_err(misread)?;
    receipt["store"]["path"] = root.store().display().to_string().into();
    // A bundled Python lies in the release.
    if let Some(python) = receipt["interpreter"]["executable"].as_str() {
        receipt["interpreter"]["executable"] = python.replacen(&paths.old, &paths.new, 1).into();
    }
    receipt["sums_sha256"] = Sha256::of(sums.as_bytes()).to_string().into();
    let misread = |error| ReleaseError::io("write", &receipt_path)(std::io::Error::other(error));
    let mut text = serde_json::to_vec_pretty(&receipt).map_err(misread)?;
    text.push(b'\n');
    rewrite(&receipt_path, &text)
}

fn is_rewritten(path: &str) -> bool {
    path.starts_with("venv/bin/") || path == "venv/pyvenv.cfg"
}

/// The release's own path, as it was and as it is.
struct ReleasePaths {
    old: String,
    new: String,
}

impl ReleasePaths {
    fn in_file(&self, text: &[u8]) -> Vec<u8> {
        // A first line that names the interpreter may have to be another kind of line for a longer path.
        let first = format!("#!{}/venv/bin/python", self.old);
        let script = text.strip_prefix(first.as_bytes()).and_then(|rest| {
            rewrite_shebang(&[b"#!python", rest].concat(), &format!("{}/venv/bin/python", self.new))
        });
        replace(&script.unwrap_or_else(|| text.to_vec()), self.old.as_bytes(), self.new.as_bytes())
    }
}

fn replace(text: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.windows(old.len()).position(|window| window == old) {
        replaced.extend_from_slice(&rest[..place]);
        replaced.extend_from_slice(new);
        rest = &rest[place + old.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

/// The rows of scripts with their new hashes and sizes.
fn record_of(text: &str, changed: &BTreeMap<String, Vec<u8>>) -> String {
    let row = |line: &str| {
        let mut fields = line.split(',');
        let name = fields.next()?.rsplit_once("/bin/")?.1;
        let script = changed.get(&format!("venv/bin/{name}"))?;
        let (path, rest) = line.split_once(',')?;
        (!rest.starts_with(','))
            .then(|| format!("{path},{},{}", Sha256::of(script).to_record(), script.len()))
    };
    text.lines().map(|line| format!("{}\n", row(line).unwrap_or_else(|| line.to_owned()))).collect()
}

fn sum_of(line: &str, changed: &BTreeMap<String, Vec<u8>>) -> String {
    let path = line.split_once("  ").map(|(_, path)| path);
    match path.and_then(|path| Some((path, changed.get(path)?))) {
        Some((path, text)) => format!("{}  {path}\n", Sha256::of(text)),
        None => format!("{line}\n"),
    }
}

/// Nothing is written where nothing differs. Mode and time stay.
fn rewrite(path: &Path, text: &[u8]) -> Result<(), ReleaseError> {
    if read_regular(path, LARGEST_TEXT).is_ok_and(|now| now == text) {
        return Ok(());
    }
    let metadata = fs::metadata(path).map_err(ReleaseError::io("look at", path))?;
    Ok(write_atomic(path, text, metadata.permissions().mode() & 0o7777)?)
}
