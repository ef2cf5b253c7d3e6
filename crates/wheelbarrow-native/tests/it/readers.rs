//! One file, one meaning: what our readers of artifacts take, Python's own reader understands the same, and all else is refused by
//! all of them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::json;
use sha2::Digest;
use wheelbarrow_artifact::manifest::MemberKind;
use wheelbarrow_artifact::zip::Archive;
use wheelbarrow_artifact::{Artifact, SHEBANG, SHEBANG_PATH};
use wheelbarrow_base::progress::Silent;

use crate::site;

const PROGRAM: &str = ".wheelbarrow/native/linux-x86_64";

/// Reads each file by the artifact's own Python, by the collection's, and by zipfile.
const READERS: &str = "
import hashlib, io, json, sys, zipfile
sys.path[:0] = sys.argv[1:3]
sys.dont_write_bytecode = True
from artifact import Artifact
from failure import Failure
from ansible_collections.wheelbarrow.deploy.plugins.module_utils import artifact as collection

def digest(members):
    told = hashlib.sha256()
    for name, content in sorted(members):
        told.update(name.encode() + b'\\0' + hashlib.sha256(content).digest())
    return told.hexdigest()

def of_artifact(path):
    with open(path, 'rb') as file:
        artifact = Artifact(file, path)
        artifact.verify()
        return digest((name, b''.join(artifact.read(name))) for name in artifact.members)

def of_collection(path):
    return hashlib.sha256(collection.Artifact(path).program('x86_64')).hexdigest()

def of_zipfile(path):
    with zipfile.ZipFile(path) as file:
        return digest((name, file.read(name)) for name in file.namelist())

def told(read, path):
    try:
        return read(path)
    except (Failure, collection.NoArtifact):
        return None
    except Exception:
        assert read is of_zipfile, path
        return None

names = json.load(sys.stdin)
json.dump([[told(read, path) for read in (of_artifact, of_collection, of_zipfile)] for path in names], sys.stdout)
";

/// What each reader understands: SHA-256s in hexadecimal; none where it refuses.
#[derive(Debug, Deserialize)]
pub(crate) struct Understood {
    pub(crate) artifact: Option<String>,
    /// Of the program for x86_64.
    pub(crate) collection: Option<String>,
    zipfile: Option<String>,
}

pub(crate) fn read_with_python(paths: &[PathBuf]) -> Vec<Understood> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let collections = tempfile::tempdir().unwrap();
    let namespace = collections.path().join("ansible_collections/wheelbarrow");
    fs_err::create_dir_all(&namespace).unwrap();
    fs_err::os::unix::fs::symlink(top.join("ansible"), namespace.join("deploy")).unwrap();
    let mut child = Command::new("python3")
        .args(["-I", "-c", READERS])
        .args([&top.join("crates/wheelbarrow-artifact/python"), collections.path()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(json!(paths).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The digest of all members, as the Python above makes it, and that of the program.
pub(crate) fn read_here(path: &Path) -> Option<(String, String)> {
    let artifact = Artifact::open(path).ok()?.verify(&Silent).ok()?;
    let archive = artifact.archive();
    let mut members: Vec<_> = archive
        .entries()
        .iter()
        .map(|entry| (entry.name.as_str(), archive.read(entry, u64::MAX).unwrap()))
        .collect();
    members.sort();
    let mut hash = sha2::Sha256::new();
    let mut program = String::new();
    for (name, contents) in members {
        let digest = sha2::Sha256::digest(&contents);
        hash.update([name.as_bytes(), b"\0", &digest[..]].concat());
        if name == PROGRAM {
            program = data_encoding::HEXLOWER.encode(&digest);
        }
    }
    Some((data_encoding::HEXLOWER.encode(&hash.finalize()), program))
}

fn artifact(program: &str, line: &str) -> Vec<u8> {
    with_members(program, line, &[])
}

fn with_members(program: &str, line: &str, more: &[(&str, MemberKind)]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.zip");
    let long = "x = 1\n".repeat(100);
    let mut code = vec![
        ("__main__.py", MemberKind::File, "raise SystemExit\n"),
        (PROGRAM, MemberKind::Executable, program),
        (SHEBANG_PATH, MemberKind::File, line),
        ("code/é.py", MemberKind::File, &long),
        ("code/link.py", MemberKind::Link, "é.py"),
    ];
    code.extend(more.iter().map(|(name, kind)| (*name, *kind, "gone")));
    site::write_site(&path, ("3.12", "cp312"), &code, &[]);
    fs_err::read(path).unwrap()
}

/// An artifact in parts; the offsets are made when it is put together.
#[derive(Clone)]
struct Parts {
    line: Vec<u8>,
    members: Vec<Part>,
    behind: Vec<u8>,
    zip64: bool,
    comment: Vec<u8>,
}

#[derive(Clone)]
struct Part {
    local: Vec<u8>,
    data: Vec<u8>,
    behind: Vec<u8>,
    central: Vec<u8>,
}

impl Parts {
    fn of(whole: &[u8]) -> Self {
        let archive = Archive::parse(whole).unwrap();
        let line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let (mut at, mut directory) = (line, crate::zips::directory_of(whole));
        let mut members = Vec::new();
        for entry in archive.entries() {
            let central = 46 + entry.name.len();
            members.push(Part {
                local: whole[at..entry.data.start].to_vec(),
                data: whole[entry.data.clone()].to_vec(),
                behind: Vec::new(),
                central: whole[directory..directory + central].to_vec(),
            });
            (at, directory) = (entry.data.end, directory + central);
        }
        Self { line: whole[..line].to_vec(), members, behind: Vec::new(), zip64: false, comment: Vec::new() }
    }

    fn whole(&self) -> Vec<u8> {
        let (mut out, mut directory) = (self.line.clone(), Vec::new());
        for Part { local, data, behind, central } in &self.members {
            directory.extend(&central[..42]);
            directory.extend((out.len() as u32).to_le_bytes());
            directory.extend(&central[46..]);
            [local, data, behind].into_iter().for_each(|part| out.extend(part));
        }
        out.extend(&self.behind);
        let (offset, length) = (out.len() as u32, directory.len() as u32);
        let count = (self.members.len() as u16).to_le_bytes();
        out.extend(&directory);
        if self.zip64 {
            let at = out.len() as u64;
            out.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
            for value in [self.members.len() as u64, self.members.len() as u64, length.into(), offset.into()]
            {
                out.extend(value.to_le_bytes());
            }
            out.extend(b"PK\x06\x07\0\0\0\0");
            out.extend(at.to_le_bytes());
            out.extend(1u32.to_le_bytes());
        }
        out.extend(b"PK\x05\x06\0\0\0\0");
        [count, count].into_iter().for_each(|count| out.extend(count));
        [length, offset].into_iter().for_each(|value| out.extend(value.to_le_bytes()));
        out.extend((self.comment.len() as u16).to_le_bytes());
        out.extend(&self.comment);
        out
    }
}

fn changed(whole: &[u8], change: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let mut parts = Parts::of(whole);
    change(&mut parts);
    parts.whole()
}

/// Another zip's directory behind this one's, found by those who read zip64 records, or who do not.
fn two_directories(whole: &[u8], other: &[u8]) -> Vec<u8> {
    let (end, directory) = (whole.len() - 22, crate::zips::directory_of(other));
    let mut out = whole[..end].to_vec();
    let at = out.len() as u64;
    out.extend(&other[directory..other.len() - 22]);
    let record = out.len() as u64;
    out.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
    let count = u64::from(u16::from_le_bytes(other[other.len() - 12..other.len() - 10].try_into().unwrap()));
    for value in [count, count, record - at, at] {
        out.extend(value.to_le_bytes());
    }
    out.extend(b"PK\x06\x07\0\0\0\0");
    out.extend(record.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(&whole[end..]);
    out
}

/// Each of another form than an artifact has.
fn other_forms(whole: &[u8], other: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let both = |part: &mut Part, at: usize, value: u8| {
        part.local[at] = value;
        part.central[at + 2] = value;
    };
    vec![
        ("a zip in the comment", changed(whole, |parts| parts.comment = other.to_vec())),
        ("a comment", changed(whole, |parts| parts.comment = b"said".to_vec())),
        ("zip64", changed(whole, |parts| parts.zip64 = true)),
        ("two directories", two_directories(whole, other)),
        ("a zip in front", [other, whole].concat()),
        ("a zip behind", [whole, other].concat()),
        ("a byte behind", [whole, b"\0"].concat()),
        (
            "a script in front",
            changed(whole, |parts| parts.line = b"#!/bin/sh\nexit\n#!/usr/bin/python3\n".to_vec()),
        ),
        ("a line in front that is not counted", [b"#!/bin/sh\n", whole].concat()),
        ("another first line of the same length", {
            let mut other = whole.to_vec();
            other[..SHEBANG.len()].copy_from_slice(b"#!/usr/bin/env bash #3");
            other
        }),
        ("no first line", changed(whole, |parts| parts.line.clear())),
        ("bytes between members", changed(whole, |parts| parts.members[1].behind = b"between".to_vec())),
        ("a member that the directory does not have", {
            let hidden = &Parts::of(other).members[0];
            changed(whole, |parts| parts.members[1].behind = [&hidden.local[..], &hidden.data].concat())
        }),
        ("bytes in front of the directory", changed(whole, |parts| parts.behind = b"behind".to_vec())),
        ("a data descriptor", {
            changed(whole, |parts| {
                let part = &mut parts.members[1];
                part.behind = [&b"PK\x07\x08"[..], &part.local[14..26]].concat();
                both(part, 6, 8);
                part.local[14..26].fill(0);
            })
        }),
        ("an extra field in a local header", {
            changed(whole, |parts| {
                parts.members[1].local[28] = 4;
                parts.members[1].local.extend(b"\xca\xfe\0\0");
            })
        }),
        ("an extra field in the directory", {
            changed(whole, |parts| {
                parts.members[1].central[30] = 4;
                parts.members[1].central.extend(b"\xca\xfe\0\0");
            })
        }),
        ("a comment of a member", {
            changed(whole, |parts| {
                parts.members[1].central[32] = 4;
                parts.members[1].central.extend(b"said");
            })
        }),
        ("members in another order", changed(whole, |parts| parts.members.rotate_right(1))),
        ("a member twice", changed(whole, |parts| parts.members.insert(0, parts.members[0].clone()))),
        ("another version", changed(whole, |parts| both(&mut parts.members[1], 4, 45))),
        ("made elsewhere", changed(whole, |parts| parts.members[1].central[5] = 0)),
        ("a flag", changed(whole, |parts| both(&mut parts.members[1], 7, 8))),
        ("another time in front", changed(whole, |parts| parts.members[1].local[10] = 1)),
        ("a mode of DOS", changed(whole, |parts| parts.members[1].central[38] = 1)),
        ("a mode that no member has", changed(whole, |parts| parts.members[1].central[40] ^= 2)),
        ("another name in front", changed(whole, |parts| parts.members[1].local[31] ^= 1)),
        ("bytes behind what is inflated", {
            changed(whole, |parts| {
                let part = parts.members.iter_mut().rfind(|part| part.local[8] == 8).unwrap();
                part.data.extend(b"PK\x03\x04");
                let length = (part.data.len() as u32).to_le_bytes();
                part.local[18..22].copy_from_slice(&length);
                part.central[20..24].copy_from_slice(&length);
            })
        }),
        ("cut off", whole[..whole.len() - 1].to_vec()),
    ]
}

#[test]
fn another_form_is_refused_by_every_reader() {
    let (whole, other) = (artifact("good", SHEBANG), artifact("evil", SHEBANG));
    let directory = tempfile::tempdir().unwrap();
    let mut forms = other_forms(&whole, &other);
    forms.push(("none", whole.clone()));
    let paths: Vec<_> = (0..forms.len()).map(|index| directory.path().join(format!("{index}.zip"))).collect();
    forms.iter().zip(&paths).for_each(|((_, bytes), path)| fs_err::write(path, bytes).unwrap());
    assert!(Parts::of(&whole).whole() == whole, "the parts are not the whole");
    let taken: Vec<_> = forms
        .iter()
        .zip(&paths)
        .filter(|(_, path)| read_here(path).is_some())
        .map(|((name, _), _)| *name)
        .collect();
    assert_eq!(taken, ["none"]);
    if site::has_python() {
        let understood = read_with_python(&paths);
        for ((name, _), Understood { artifact, collection, .. }) in forms.iter().zip(understood) {
            assert_eq!(
                (artifact.is_some(), collection.is_some()),
                (*name == "none", *name == "none"),
                "{name}"
            );
        }
    }
}

#[test]
fn members_that_other_programs_read_as_others_are_refused_by_every_reader() {
    let (file, link) = (MemberKind::File, MemberKind::Link);
    let cases: [(&str, &[(&str, MemberKind)]); 8] = [
        ("none", &[("code/a", file), ("code/l", link), ("code/b/c", file)]),
        ("a control character", &[("code/a\u{1}b", file)]),
        ("an end of a line", &[("code/a\nb", file)]),
        ("a character that turns the line", &[("code/\u{202e}", file)]),
        ("a file and a directory", &[("code/a", file), ("code/a/b", file)]),
        ("a directory and a file", &[("code/a/b/c", file), ("code/a", file)]),
        ("a member below a link", &[("code/l", link), ("code/l/b", file)]),
        ("a member below the manifest", &[(".wheelbarrow/manifest.json/a", file)]),
    ];
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..cases.len()).map(|index| directory.path().join(format!("{index}.zip"))).collect();
    for ((name, members), path) in cases.iter().zip(&paths) {
        fs_err::write(path, with_members("good", SHEBANG, members)).unwrap();
        assert_eq!(read_here(path).is_some(), *name == "none", "{name}");
    }
    if site::has_python() {
        for ((name, _), understood) in cases.iter().zip(read_with_python(&paths)) {
            let taken = *name == "none";
            let found = (understood.artifact.is_some(), understood.collection.is_some());
            assert_eq!(found, (taken, taken), "{name}");
        }
    }
}

#[test]
fn all_readers_agree_on_accepted_artifacts() {
    let whole = artifact("good", SHEBANG);
    let directory = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        let path = directory.path().join(format!("{place}.zip"));
        fs_err::write(&path, bytes).unwrap();
        paths.push(path);
    }
    let here: Vec<_> = paths.iter().map(|path| read_here(path)).collect();
    if !site::has_python() {
        return;
    }
    let mut taken = 0;
    for ((path, here), understood) in paths.iter().zip(here).zip(read_with_python(&paths)) {
        let path = path.display();
        match here {
            None => assert_eq!(understood.artifact, None, "{path}"),
            // Deflated in a way that zlib refuses, with the same contents for who does not.
            Some(_) if understood.artifact.is_none() => assert_eq!(understood.zipfile, None, "{path}"),
            Some((members, program)) => {
                taken += 1;
                assert_eq!(understood.artifact.as_ref(), Some(&members), "{path}");
                assert_eq!(understood.zipfile.as_ref(), Some(&members), "{path}");
                assert_eq!(understood.collection.as_ref(), Some(&program), "{path}");
            }
        }
    }
    println!("{} changes, {taken} made no difference", paths.len());
}
