//! What no installer takes is neither signed nor verified.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use serde_json::{Value, json};
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, MemberKind, Sha256};
use wheelbarrow_artifact::zip::{DosTime, ZipWriter};

use crate::releases::root::{Place, Version};
use crate::support::{Said, wheelbarrow};

/// A member: its name in the directory of the code, its kind and its content.
type More = (&'static str, MemberKind, &'static str);

/// Writes the artifact anew with more members in the directory of the code, and a manifest that names them.
fn with_members(artifact: &Path, output: &Path, more: &[More]) {
    let artifact = Artifact::open(artifact).unwrap();
    let mut manifest: Value = serde_json::from_slice(artifact.manifest_bytes()).unwrap();
    let file = fs::File::create(output).unwrap().into_parts().0;
    let mut zip = ZipWriter::new(file, artifact.shebang(), DosTime::FIRST).unwrap();
    for entry in artifact.archive().entries().iter().filter(|entry| entry.name != MANIFEST_PATH) {
        zip.copy(entry, artifact.archive().raw(entry)).unwrap();
    }
    for (name, kind, content) in more {
        let path = format!("{}/{name}", artifact.manifest().project.directory);
        zip.add(&path, *kind, content.as_bytes()).unwrap();
        let sha256 = Sha256::of(content.as_bytes());
        let member = json!({"path": path, "size": content.len(), "sha256": sha256, "kind": kind});
        manifest["members"].as_array_mut().unwrap().push(member);
    }
    zip.add(MANIFEST_PATH, MemberKind::File, manifest.to_string().as_bytes()).unwrap();
    zip.finish().unwrap();
}

fn run(place: &Place, words: &[&str]) -> Said {
    let output = wheelbarrow(&place.path()).args(words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A key, and a file that allows it; none without ssh-keygen.
fn key(place: &Place) -> Option<PathBuf> {
    let key = place.path().join("key");
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(&key).stderr(Stdio::null());
    if command.status().is_err() {
        println!("skipped: there is no ssh-keygen to sign with");
        return None;
    }
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    fs::write(place.path().join("allowed"), format!("ours@example.org {public}")).unwrap();
    Some(key)
}

#[test]
fn artifacts_that_cannot_be_installed_are_neither_signed_nor_verified() {
    let place = Place::new();
    let artifact = place.artifact(&Version::good("1"));
    let Some(_) = key(&place) else { return };
    let (file, link) = (MemberKind::File, MemberKind::Link);
    let both = "is both a directory and a file or link";
    let out = "the link leads out of the project";
    let cases: [(&str, &[More]); 6] = [
        (both, &[("sub", file, ""), ("sub/x", file, "")]),
        (both, &[("sub/x", file, ""), ("sub", file, "")]),
        (both, &[("sub", link, "."), ("sub/x", file, "")]),
        (out, &[("sub", link, "../..")]),
        (out, &[("sub", link, "."), ("way", link, "sub/sub/sub/../../../etc")]),
        ("it has a control character in it", &[("a\u{1}", file, "")]),
    ];
    for (said_of_it, members) in cases {
        with_members(&artifact, &place.path().join("bad.zip"), members);
        let before = fs::read(place.path().join("bad.zip")).unwrap();
        for words in [
            &["sign", "bad.zip", "--key", "key"][..],
            &["verify", "bad.zip"],
            &["install", "bad.zip", "-d", "dest"],
        ] {
            let said = run(&place, words);
            assert_eq!(said.code, 3, "{words:?}: {}", said.all());
            assert!(said.err.contains(said_of_it), "{words:?}: {}", said.all());
        }
        assert!(fs::read(place.path().join("bad.zip")).unwrap() == before, "it is as it was");
    }
    let good: [More; 4] = [
        ("sub/x", file, ""),
        ("link", link, "sub"),
        ("way", link, "link/../sub/x"),
        ("gone", link, "later/x"),
    ];
    with_members(&artifact, &place.path().join("good.zip"), &good);
    for words in
        [&["sign", "good.zip", "--key", "key"][..], &["verify", "good.zip", "--allowed-signers", "allowed"]]
    {
        let said = run(&place, words);
        assert_eq!(said.code, 0, "{}", said.all());
    }
}
