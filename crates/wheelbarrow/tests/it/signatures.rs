//! Who may sign what a host takes, compared with ssh-keygen; and that nothing happens with anything else.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use wheelbarrow_artifact::zip::Archive;
use wheelbarrow_artifact::{Artifact, SIGNATURE_PATH};

use crate::releases::root::{Place as Root, Version};
use crate::site::{cache, is_built};
use crate::support::{Said, wheelbarrow};
use crate::wheels::{Wheel, lock};

/// A root, an artifact beside it, and keys.
struct Place {
    root: Root,
    artifact: PathBuf,
}

impl Place {
    /// None without ssh-keygen.
    fn new() -> Option<Self> {
        if Command::new("ssh-keygen").arg("-?").stderr(Stdio::null()).status().is_err() {
            println!("skipped: there is no ssh-keygen to sign with");
            return None;
        }
        let root = Root::new();
        let artifact = root.artifact(&Version::good("1"));
        let place = Self { root, artifact };
        place.key("ours", &["-t", "ed25519"]);
        place.key("strangers", &["-t", "ed25519"]);
        place.allow(&format!("ours@example.org {}", place.public("ours")));
        Some(place)
    }

    /// An artifact that installs itself; whether one can be built here.
    fn build(&mut self) -> bool {
        fs::create_dir(self.path("project")).unwrap();
        fs::write(self.path("project/app.py"), "").unwrap();
        fs::write(self.path("project/wheelbarrow.toml"), "[release]\ncheck = false\n").unwrap();
        let mut wheel = Wheel::begin(&self.root.path(), "dependency");
        wheel.add("dependency.py", b"x = 1\n");
        wheel.finish();
        lock(&self.path("pylock.toml"), &["dependency"]);
        self.artifact = self.path("built.zip");
        let mut build = wheelbarrow(&self.root.path());
        build
            .args(["build", "project", "--lock", "pylock.toml", "-o", "built.zip", "--cache-dir"])
            .arg(cache());
        is_built(&self.finish(&mut build))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn key(&self, name: &str, kind: &[&str]) {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", "a comment", "-f"]).arg(self.path(name)).args(kind);
        assert!(command.status().unwrap().success());
    }

    fn public(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap()
    }

    fn allow(&self, text: &str) {
        fs::write(self.path("allowed"), text).unwrap();
    }

    fn run(&self, words: &[&str]) -> Said {
        self.finish(wheelbarrow(&self.root.path()).args(words))
    }

    fn finish(&self, command: &mut Command) -> Said {
        let output = command.output().unwrap();
        let place = self.root.path().display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&place, "[PLACE]");
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    fn sign(&self, key: &str, output: &str) -> PathBuf {
        let artifact = self.artifact.display().to_string();
        let said = self.run(&["sign", &artifact, "--key", key, "-o", output]);
        assert_eq!(said.code, 0, "{}", said.all());
        self.path(output)
    }

    fn verify(&self, artifact: &Path) -> Said {
        self.run(&["verify", &artifact.display().to_string(), "--allowed-signers", "allowed"])
    }

    /// What stands in the place, whatever it is.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The artifact with another signature, made by ssh-keygen itself.
    fn with_signature(&self, output: &str, message: &[u8], namespace: &str) -> PathBuf {
        fs::write(self.path("message"), message).unwrap();
        let _ = fs::remove_file(self.path("message.sig"));
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f", "ours", "message"]);
        assert!(command.current_dir(self.root.path()).stderr(Stdio::null()).status().unwrap().success());
        let signature = fs::read(self.path("message.sig")).unwrap();
        let file = fs::File::create(self.path(output)).unwrap().into_parts().0;
        Artifact::open(&self.artifact).unwrap().write_signed(&signature, file).unwrap();
        self.path(output)
    }
}

fn manifest(artifact: &Path) -> Vec<u8> {
    Artifact::open(artifact).unwrap().manifest_bytes().to_vec()
}

/// What ssh-keygen says of the members.
fn ssh_keygen_verifies(place: &Place, artifact: &Path, principal: &str) -> bool {
    let zip = Archive::parse(fs::read(artifact).unwrap()).unwrap();
    let signature = zip.read(zip.find(SIGNATURE_PATH).unwrap(), 1 << 20).unwrap();
    fs::write(place.path("signature"), signature).unwrap();
    fs::write(place.path("manifest"), manifest(artifact)).unwrap();
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-n", "wheelbarrow", "-f", "allowed", "-I", principal, "-s", "signature"]);
    command.stdin(fs::File::open(place.path("manifest")).unwrap().into_file());
    command.current_dir(place.root.path()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().success()
}

#[test]
fn ssh_keygen_agrees_on_every_kind_of_key() {
    let Some(place) = Place::new() else { return };
    let kinds: [(&str, &[&str]); 5] = [
        ("ed25519", &["-t", "ed25519"]),
        ("rsa", &["-t", "rsa", "-b", "3072"]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
    ];
    let mut lines = String::from("# Who signs\n\n");
    for (name, kind) in kinds {
        place.key(name, kind);
        lines.push_str(&format!("{name}@example.org namespaces=\"wheelbarrow\" {}", place.public(name)));
    }
    place.allow(&lines);
    for (name, _) in kinds {
        let signed = place.sign(name, &format!("{name}.zip"));
        let said = place.verify(&signed);
        assert_eq!(said.code, 0, "{}", said.all());
        assert!(said.out.contains(&format!("signed by {name}@example.org (")), "{}", said.all());
        assert!(ssh_keygen_verifies(&place, &signed, &format!("{name}@example.org")), "{name}");
    }
    // What was signed before is signed anew, and nothing else changes.
    let again = place.path("rsa.zip");
    let said = place.run(&["sign", "rsa.zip", "--key", "p256", "--json"]);
    assert!(said.out.contains("ecdsa-sha2-nistp256"), "{}", said.all());
    assert!(ssh_keygen_verifies(&place, &again, "p256@example.org"));
    assert_eq!(manifest(&again), manifest(&place.artifact));
    let ed25519 = fs::read(place.path("ed25519.zip")).unwrap();
    place.run(&["sign", "rsa.zip", "--key", "ed25519"]);
    assert!(fs::read(&again).unwrap() == ed25519, "a second signature leaves something of the first");
}

#[test]
fn a_file_of_roots_says_to_every_user_who_signs() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let Some(place) = Place::new() else { return };
    let signed = place.sign("ours", "signed.zip");
    let verify = wheelbarrow(&place.root.path());
    fs::copy(verify.get_program(), place.path("program")).unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    mode(&place.root.path(), 0o755);
    let verify = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65533", "--regid", "65533", "--clear-groups"]).arg(place.path("program"));
        command.arg("verify").arg(&signed).arg("--allowed-signers").arg(place.path("allowed"));
        place.finish(&mut command)
    };
    let said = verify();
    assert!(said.code == 0 && said.out.contains("signed by ours@example.org"), "{}", said.all());
    mode(&place.path("allowed"), 0o666);
    let said = verify();
    assert!(said.code == 1 && said.err.contains("others may write"), "{}", said.all());
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_agent_signs_with_its_own_key() {
    let Some(place) = Place::new() else { return };
    let socket = place.path("agent");
    let agent = Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn();
    let Ok(_agent) = agent.map(Agent) else {
        println!("skipped: there is no ssh-agent");
        return;
    };
    for _ in 0..500 {
        if socket.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let mut add = Command::new("ssh-add");
    add.arg("-q").arg(place.path("ours")).env("SSH_AUTH_SOCK", &socket);
    assert!(add.status().unwrap().success());
    fs::remove_file(place.path("ours")).unwrap();
    let artifact = place.artifact.display().to_string();
    let sign = |socket: &Path| {
        let mut command = wheelbarrow(&place.root.path());
        command.args(["sign", &artifact, "--key", "ours.pub"]).env("SSH_AUTH_SOCK", socket);
        place.finish(&mut command)
    };
    let without = sign(Path::new("/nowhere"));
    assert_eq!(without.code, 2, "{}", without.all());
    assert!(without.err.contains("ssh-keygen does not sign with ours.pub"), "{}", without.all());
    assert!(without.err.contains("with a line end at its end (`echo >> KEY`)"), "{}", without.all());
    let said = sign(&socket);
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(place.verify(&place.artifact).out.contains("signed by ours@example.org"));
}

#[test]
fn unsigned_artifacts_change_nothing() {
    let Some(place) = Place::new() else { return };
    let good = place.sign("ours", "good.zip");
    let mut altered = fs::read(&good).unwrap();
    let zip = Archive::parse(altered.clone()).unwrap();
    let code = zip.entries().iter().find(|entry| entry.name.ends_with(".py") && entry.size > 0).unwrap();
    altered[code.data.start] ^= 1;
    fs::write(place.path("altered.zip"), altered).unwrap();
    let manifest = manifest(&place.artifact);
    let bad = [
        (17, "it is not signed", place.artifact.clone()),
        (17, "which is not listed in [PLACE]/allowed", place.sign("strangers", "strangers.zip")),
        (17, "does not match the manifest", place.with_signature("other.zip", b"{}", "wheelbarrow")),
        (17, "its signature has the namespace \"file\"", place.with_signature("file.zip", &manifest, "file")),
        (3, "altered.zip", place.path("altered.zip")),
    ];
    let before = place.names();
    let allowed = place.path("allowed").display().to_string();
    for (code, words, artifact) in bad {
        let artifact = artifact.display().to_string();
        let attempts: [&[&str]; 4] = [
            &["verify", &artifact],
            &["install", &artifact, "-d", "dest"],
            &["install", &artifact, "-d", "dest", "--check"],
            &["deploy", &artifact, "--root", "site"],
        ];
        for words_of in attempts {
            // What a member holds is looked at when there is a place for it: the journal then says what became of it.
            if code == 3 && words_of[0] == "deploy" {
                continue;
            }
            let said = place.run(&[words_of, &["--allowed-signers", &allowed]].concat());
            assert_eq!(said.code, code, "{words_of:?}: {}", said.all());
            assert!(said.all().contains(words), "{words_of:?}: {}", said.all());
            assert_eq!(place.names(), before, "{words_of:?}");
        }
    }
    let deploy = |artifact: &str| {
        place.run(&[
            "deploy",
            artifact,
            "--root",
            "site",
            "--without-pip",
            "--allowed-signers",
            &allowed,
            "--json",
        ])
    };
    let said = deploy("altered.zip");
    assert_eq!(said.code, 3, "{}", said.all());
    assert!(said.err.contains("altered.zip is not a whole artifact"), "{}", said.all());
    assert!(fs::read_dir(place.path("site/releases")).unwrap().next().is_none());
    assert!(!place.path("site/current").is_symlink());

    let said = deploy("good.zip");
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(said.out.contains("\"signed_by\": \"ours@example.org (ssh-ed25519 SHA256:"), "{}", said.out);
}

/// A signature covers members. So nothing else is in what is taken: no other line in front, no second directory.
#[test]
fn a_signed_artifact_has_no_part_that_the_signature_does_not_cover() {
    let Some(mut place) = Place::new() else { return };
    let whole = fs::read(place.sign("ours", "good.zip")).unwrap();
    let other = fs::read(place.root.artifact(&Version::good("2"))).unwrap();
    let with_comment = [&whole[..whole.len() - 2], &(other.len() as u16).to_le_bytes(), &other].concat();
    let with_line = |whole: &[u8]| {
        let mut changed = whole.to_vec();
        changed[..22].copy_from_slice(b"#!/usr/bin/env bash #3");
        changed
    };
    let mut bad = vec![
        (3, "a script in front", [b"#!/bin/sh\nexit\n", &whole[..]].concat()),
        (3, "another artifact in the comment", with_comment),
        (3, "another artifact in front", [&other[..], &whole].concat()),
        // Artifacts of 0.1.0 have no word on their first line.
        (17, "another first line of an artifact without a word on it", with_line(&whole)),
    ];
    if place.build() {
        let built = place.sign("ours", "built-and-signed.zip");
        assert_eq!(place.verify(&built).code, 0);
        bad.push((3, "another first line", with_line(&fs::read(built).unwrap())));
    }
    for (code, name, bytes) in bad {
        fs::write(place.path("bad.zip"), bytes).unwrap();
        let said = place.verify(&place.path("bad.zip"));
        assert_eq!(said.code, code, "{name}: {}", said.all());
        let said = place.run(&["deploy", "bad.zip", "--root", "site", "--allowed-signers", "allowed"]);
        assert_eq!(said.code, code, "{name}: {}", said.all());
        assert!(!place.path("site").exists(), "{name}");
    }
}

/// Without signatures a host does not read what its store has by the hash in the manifest; with them it reads everything.
#[test]
fn altered_members_are_refused_although_the_store_has_them() {
    let Some(mut place) = Place::new() else { return };
    if !place.build() {
        return;
    }
    let good = place.sign("ours", "good.zip");
    let allowed = place.path("allowed").display().to_string();
    let deploy =
        |artifact: &str| place.run(&["deploy", artifact, "--root", "site", "--allowed-signers", &allowed]);
    let said = deploy("good.zip");
    assert_eq!(said.code, 0, "{}", said.all());
    let mut altered = fs::read(&good).unwrap();
    let zip = Archive::parse(altered.clone()).unwrap();
    let wheel = zip.entries().iter().find(|entry| entry.name.starts_with("wheels/")).unwrap();
    altered[wheel.data.end - 1] ^= 1;
    fs::write(place.path("altered.zip"), altered).unwrap();
    let said = deploy("altered.zip");
    assert_eq!(said.code, 3, "{}", said.all());
    assert!(said.err.contains(&wheel.name), "{}", said.all());
}

/// The manifest of a thin artifact is that of the full one, and so is its signature.
#[test]
fn a_thin_artifact_is_vouched_for_like_the_full_one() {
    let Some(place) = Place::new() else { return };
    let first = place.sign("ours", "first.zip");
    let deploy = |artifact: &Path, more: &[&str]| {
        let artifact = artifact.display().to_string();
        let words = ["deploy", &artifact, "--root", "site", "--without-pip", "--allowed-signers", "allowed"];
        place.run(&[&words[..], more].concat())
    };
    assert_eq!(deploy(&first, &[]).code, 0);
    let second = place.root.artifact(&Version::good("2"));
    let thin = |key: Option<&str>, output: &str| {
        let full = match key {
            Some(key) => {
                let artifact = second.display().to_string();
                let said = place.run(&["sign", &artifact, "--key", key, "-o", "full.zip"]);
                assert_eq!(said.code, 0, "{}", said.all());
                "full.zip".to_owned()
            }
            None => second.display().to_string(),
        };
        let said = place.run(&["thin", &full, "--base", "first.zip", "-o", output]);
        assert_eq!(said.code, 0, "{}", said.all());
        place.path(output)
    };
    for bad in [thin(None, "unsigned.zip"), thin(Some("strangers"), "strangers.zip")] {
        let before = fs::read(place.path("site/.wheelbarrow/journal.jsonl")).unwrap();
        for more in [&[][..], &["--dry-run"]] {
            let said = deploy(&bad, more);
            assert_eq!(said.code, 17, "{}", said.all());
        }
        assert_eq!(fs::read(place.path("site/.wheelbarrow/journal.jsonl")).unwrap(), before);
        assert_eq!(place.verify(&bad).code, 17);
    }
    let good = thin(Some("ours"), "good.zip");
    assert!(place.verify(&good).out.contains("left out; signed by ours@example.org"));
    let said = deploy(&good, &["--json"]);
    assert!(said.code == 0 && said.out.contains("\"signed_by\": \"ours@example.org"), "{}", said.all());
    // It is the full one that is signed.
    let said = place.run(&["sign", "good.zip", "--key", "ours"]);
    assert_eq!(said.code, 18, "{}", said.all());
}

#[test]
fn lines_that_forbid_are_heeded() {
    let Some(place) = Place::new() else { return };
    let good = place.sign("ours", "good.zip");
    let key = place.public("ours");
    for (options, words) in [
        ("namespaces=\"file,git\"", "its namespaces are \"file,git\""),
        ("valid-before=\"20200101\"", "it was valid before 20"),
        ("valid-after=\"21000101Z\"", "it is valid after 2100-01-01T00:00:00Z"),
        ("cert-authority", "is not listed"),
    ] {
        place.allow(&format!("ours@example.org {options} {key}"));
        let said = place.verify(&good);
        assert_eq!(said.code, 17, "{}", said.all());
        assert!(said.err.contains(words), "{}", said.all());
        assert!(!ssh_keygen_verifies(&place, &good, "ours@example.org"), "{options}");
    }
    place.allow(&format!("ours@example.org valid-after=\"20200101\",valid-before=\"21000101\" {key}"));
    assert_eq!(place.verify(&good).code, 0);
    assert!(ssh_keygen_verifies(&place, &good, "ours@example.org"));
    place.allow("\n# nobody\n");
    assert_eq!(place.verify(&good).code, 17);
    place.allow("ours@example.org no-such-option ssh-ed25519 AAAA\n");
    insta::assert_snapshot!(place.verify(&good).all(), @r#"
    exit code: 2
    error: line 1 of allowed is not a valid allowed signer: the option "no-such-option" is not known
    hint: a line is `NAME[,NAME] [namespaces="wheelbarrow"] KEYTYPE BASE64`, as in the section ALLOWED SIGNERS of ssh-keygen(1)
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-2
    "#);
    let nowhere = place.run(&["verify", "good.zip", "--allowed-signers", "nowhere"]);
    assert_eq!(nowhere.code, 1, "{}", nowhere.all());
}

/// The file of the host itself, in a mount name space with an `/etc` of its own.
#[test]
fn a_host_with_signers_refuses_unsigned_artifacts() {
    let Some(mut place) = Place::new() else { return };
    if !place.build() {
        return;
    }
    place.sign("ours", "good.zip");
    let binary = assert_cmd::cargo::cargo_bin!("wheelbarrow").display().to_string();
    let unsigned = place.artifact.display().to_string();
    let on_the_host = |words: &str| {
        let script = format!(
            "set -e; mkdir etc; mount -t tmpfs none etc; cp -a /etc/. etc; mkdir -p etc/wheelbarrow; \
             cp allowed etc/wheelbarrow/allowed_signers; mount --bind etc /etc; umount -l etc; rmdir etc; {words}"
        );
        let mut command = wheelbarrow(&place.root.path());
        command = {
            let mut unshare = Command::new("unshare");
            unshare.args(["--mount", "sh", "-c", &script]).current_dir(place.root.path());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => unshare.env(name, value),
                    None => unshare.env_remove(name),
                };
            }
            unshare
        };
        place.finish(&mut command)
    };
    let ready = on_the_host("test -e /etc/wheelbarrow/allowed_signers");
    if ready.code != 0 {
        println!("skipped: no mount name space here: {}", ready.err);
        return;
    }
    let before = place.names();
    for words in [
        format!("{binary} deploy {unsigned} --root site"),
        format!("{binary} install {unsigned} -d dest"),
        format!("{binary} unit {unsigned} --root /srv/site --write ."),
        // Whoever deploys does not choose the signers: the host allows nobody here.
        format!(
            ": > /etc/wheelbarrow/allowed_signers; {binary} deploy good.zip --root site --allowed-signers allowed"
        ),
        // It is not for an artifact to judge itself, whoever has signed it.
        "./good.zip -d dest".to_owned(),
        "./good.zip unit --root /srv/site --write .".to_owned(),
        "./good.zip -d dest --check".to_owned(),
        "./good.zip -d dest --bootstrap".to_owned(),
        "./good.zip deploy --root site".to_owned(),
        "./good.zip deploy --root site --dry-run".to_owned(),
    ] {
        let said = on_the_host(&words);
        assert_eq!(said.code, 17, "{words}: {}", said.all());
        assert_eq!(place.names(), before, "{words}");
    }
    let said = on_the_host(&format!("{binary} unit {unsigned} --root /srv/site"));
    assert_ne!(said.code, 17, "what is printed only may be anybody's: {}", said.all());
    let said = on_the_host(&format!("{binary} deploy good.zip --root site"));
    assert_eq!(said.code, 0, "{}", said.all());
}
