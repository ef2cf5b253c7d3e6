//! An install is compared with itself after somebody did something to it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{MemberKind, Sha256};
use wheelbarrow_base::Explain;
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_base::progress::Silent;
use wheelbarrow_install::{
    Compile, Existing, InstallError, KnownFiles, Options, Pip, data, install, verify, virtualenv,
};

use crate::site::{self, SITE_PACKAGES, told, wheel_members};
use crate::zips::{Member, zip};

const CODE: [(&str, MemberKind, &str); 4] = [
    ("code/current", MemberKind::Link, "sub/a.py"),
    ("code/odd\\name.txt", MemberKind::File, "odd"),
    ("code/sub/a.py", MemberKind::File, "a = 1\n"),
    ("loadenv.py", MemberKind::File, ""),
];

fn wheel() -> Vec<u8> {
    let script = Member { mode: 0o100_755, ..Member::new("pack-1.data/scripts/run", "#!python\n") };
    zip(&wheel_members("pack", &[Member::new("pack.py", "x = 1\n"), script]))
}

struct Install {
    _directory: tempfile::TempDir,
    destination: PathBuf,
}

impl Install {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (artifact, destination) = (directory.path().join("site.zip"), directory.path().join("site"));
        site::write_site(&artifact, ("3.12", "cp312"), &CODE, &[("pack-1-py3-none-any.whl", &wheel())]);
        site::install_artifact(&artifact, &destination, Pip::Without).unwrap();
        Self { _directory: directory, destination }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.destination.join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs_err::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs_err::write(self.at(path), text).unwrap();
    }

    /// Takes the file away and makes a link in its place.
    fn swap(&self, path: &str, target: &str) {
        fs_err::remove_file(self.at(path)).unwrap();
        symlink(target, self.at(path)).unwrap();
    }

    fn edit_receipt(&self, change: impl FnOnce(&mut Value)) {
        let path = self.at(".wheelbarrow/receipt.json");
        let mut receipt = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
        change(&mut receipt);
        fs_err::write(path, receipt.to_string()).unwrap();
    }

    fn verify(&self) -> String {
        differences(&self.destination)
    }

    /// What is said, and the exit code.
    fn refused(&self) -> (String, u8) {
        let error = verify(&self.destination, &Silent).unwrap_err();
        assert!(error.hint().is_some());
        (told(&error).replace(self.destination.to_str().unwrap(), "DEST"), error.exit_code())
    }
}

/// A line a difference.
fn differences(destination: &Path) -> String {
    let verification = verify(destination, &Silent).unwrap();
    let mut lines = Vec::new();
    for (word, paths) in [
        ("changed", &verification.changed),
        ("missing", &verification.missing),
        ("extra", &verification.extra),
    ] {
        lines.extend(paths.iter().map(|path| format!("{word} {path}")));
    }
    assert_eq!(verification.is_clean(), lines.is_empty());
    lines.join("\n")
}

#[test]
fn an_install_is_as_it_was_installed() {
    let install = Install::new();
    let verification = verify(&install.destination, &Silent).unwrap();
    assert!(verification.is_clean(), "{verification:?}");
    assert_eq!(verification.files, 15);
    // What belongs to the host, and what Python writes.
    install.write("environment.json", "{}");
    install.write("code/__pycache__/a.cpython-312.pyc", "x");
    fs_err::create_dir(install.at("code/media")).unwrap();
    assert_eq!(install.verify(), "");
}

/// Nobody could wait for that: they have many terabytes.
#[test]
fn a_file_of_another_size_is_not_read() {
    let install = Install::new();
    let record = format!("venv/{SITE_PACKAGES}/pack-1.dist-info/RECORD");
    for path in [
        "code/sub/a.py",
        "venv/bin/run",
        "venv/pyvenv.cfg",
        &format!("venv/{SITE_PACKAGES}/pack.py"),
        &record,
    ] {
        let contents = fs_err::read(install.at(path)).unwrap();
        let file = fs_err::OpenOptions::new().write(true).open(install.at(path)).unwrap();
        file.set_len(1 << 42).unwrap();
        assert_eq!(install.verify(), format!("changed {path}"));
        let data = wheelbarrow_install::data(&install.destination, &Default::default()).unwrap();
        assert_eq!((data.files, data.count), (vec![path.to_owned()], 1));
        file.set_len(contents.len() as u64).unwrap();
        assert_eq!(install.verify(), "");
    }
}

#[test]
fn an_install_is_verified_through_a_link() {
    let install = Install::new();
    let link = install.destination.with_file_name("current");
    symlink("site", &link).unwrap();
    assert_eq!(differences(&link), "");
}

#[test]
fn a_change_of_any_byte_is_found() {
    let install = Install::new();
    let sums = fs_err::read_to_string(install.at(".wheelbarrow/SHA256SUMS")).unwrap();
    let tree = site::tree(&install.destination);
    let own = [".wheelbarrow/SHA256SUMS", ".wheelbarrow/receipt.json"];
    for (path, node) in &tree {
        let site::Node::File { contents, .. } = node else { continue };
        if own.contains(&path.as_str()) || contents.is_empty() {
            continue;
        }
        let mut changed = contents.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs_err::write(install.at(path), &changed).unwrap();
        assert_eq!(install.verify(), format!("changed {path}"));
        changed.pop();
        fs_err::write(install.at(path), &changed).unwrap();
        assert_eq!(install.verify(), format!("changed {path}"));
        fs_err::remove_file(install.at(path)).unwrap();
        // Without its manifest nobody knows the links of the project.
        assert_eq!(install.verify(), format!("missing {path}"));
        fs_err::write(install.at(path), contents).unwrap();
    }
    assert_eq!(install.verify(), "");
    assert!(sums.contains("  code/odd\\\\name.txt\n"), "{sums}");
}

#[test]
fn unlisted_files_are_extra() {
    let install = Install::new();
    install.write("code/sub/new.py", "");
    install.write("code/sub/sourceless.pyc", "");
    install.write("code/__pycache__/notes.txt", "");
    install.write("venv/environment.json", "");
    symlink("/etc/passwd", install.at("code/__pycache__/planted.pyc")).unwrap();
    symlink("a.py", install.at("code/sub/link")).unwrap();
    symlink("lib", install.at("venv/lib32")).unwrap();
    insta::assert_snapshot!(install.verify(), @r"
    extra code/__pycache__/notes.txt
    extra code/__pycache__/planted.pyc
    extra code/sub/link
    extra code/sub/new.py
    extra code/sub/sourceless.pyc
    extra venv/environment.json
    extra venv/lib32
    ");
}

#[test]
fn a_changed_file_type_is_a_change() {
    let install = Install::new();
    let copy = install.destination.with_file_name("a.py");
    fs_err::copy(install.at("code/sub/a.py"), &copy).unwrap();
    install.swap("code/sub/a.py", copy.to_str().unwrap());
    let module = format!("venv/{SITE_PACKAGES}/pack.py");
    fs_err::remove_file(install.at(&module)).unwrap();
    fs_err::create_dir(install.at(&module)).unwrap();
    let script = install.at("venv/bin/run");
    fs_err::remove_file(&script).unwrap();
    assert!(Command::new("mkfifo").arg(&script).status().unwrap().success());
    insta::assert_snapshot!(install.verify(), @r"
    changed code/sub/a.py
    changed venv/bin/run
    missing venv/lib/python3.12/site-packages/pack.py
    ");
}

#[test]
fn changed_link_targets_are_found() {
    let install = Install::new();
    install.swap("code/current", "sub/b.py");
    install.swap("venv/bin/python", "/tmp/python3.12");
    install.swap("venv/lib64", "../elsewhere");
    insta::assert_snapshot!(install.verify(), @r"
    changed code/current
    changed venv/bin/python
    changed venv/lib64
    ");
    fs_err::remove_file(install.at("code/current")).unwrap();
    install.swap("venv/bin/python", "python3");
    symlink("/usr/bin/python3.12", install.at("venv/bin/python3")).unwrap();
    install.swap("venv/lib64", "lib");
    assert_eq!(install.verify(), "missing code/current");
    fs_err::remove_file(install.at("venv/bin/python")).unwrap();
    assert_eq!(install.verify(), "missing code/current\nmissing venv/bin/python");
    install.write("venv/bin/python", "#!/bin/sh\n");
    assert_eq!(install.verify(), "changed venv/bin/python\nmissing code/current");
}

#[test]
fn a_directory_that_became_a_link_is_not_followed() {
    let install = Install::new();
    let moved = install.destination.with_file_name("moved");
    fs_err::rename(install.at("code/sub"), &moved).unwrap();
    symlink(&moved, install.at("code/sub")).unwrap();
    assert_eq!(install.verify(), "missing code/sub/a.py\nextra code/sub");
}

/// The site's user may write in a directory of the install while root compares it.
#[test]
fn a_directory_that_is_exchanged_for_a_link_meanwhile_is_not_followed() {
    let install = Install::new();
    let outside = install.destination.with_file_name("outside");
    fs_err::create_dir(&outside).unwrap();
    fs_err::write(outside.join("foreign"), "").unwrap();
    install.write("code/media/own", "");
    symlink(&outside, install.at("code/link")).unwrap();
    let (media, link) = (install.at("code/media"), install.at("code/link"));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, &media, rustix::fs::CWD, &link, exchange).unwrap();
            }
        });
        let compared: Vec<_> = (0..300)
            .map(|_| {
                let verification = verify(&install.destination, &Silent).map_err(|error| told(&error));
                (
                    verification,
                    data(&install.destination, &KnownFiles::default()).map_err(|error| told(&error)),
                )
            })
            .collect();
        ended.store(true, Ordering::Relaxed);
        for (verification, data) in compared {
            let (verification, data) = (verification.unwrap(), data.unwrap());
            assert!(verification.changed.is_empty() && verification.missing.is_empty(), "{verification:?}");
            let mut named = verification.extra.iter().chain(&data.files);
            assert!(named.all(|path| !path.contains("foreign")), "{:?} {data:?}", verification.extra);
        }
    });
}

/// Only a program that goes from directory to directory can make such a path.
#[test]
fn a_directory_with_a_path_that_is_too_long_is_extra() {
    let install = Install::new();
    let mut directory = Directory::open(&install.at("code")).unwrap();
    let name = "d".repeat(250);
    for _ in 0..20 {
        directory = directory.make(name.as_ref(), 0o777).unwrap().0;
    }
    directory.create("file".as_ref(), 0o666).unwrap();
    let verification = verify(&install.destination, &Silent).unwrap();
    let [extra] = &verification.extra[..] else { panic!("{verification:?}") };
    assert_eq!(extra, &format!("code{}", format!("/{name}").repeat(17)));
    assert!(verification.changed.is_empty() && verification.missing.is_empty());
    let found = data(&install.destination, &KnownFiles::default()).unwrap();
    assert_eq!(found.files, [format!("{extra}/")]);
}

#[test]
fn sums_that_were_edited_prove_nothing() {
    let install = Install::new();
    let path = install.at(".wheelbarrow/SHA256SUMS");
    let sums = fs_err::read_to_string(&path).unwrap();
    install.write("code/sub/a.py", "a = 2\n");
    let [old, new] = ["a = 1\n", "a = 2\n"].map(|text| Sha256::of(text.as_bytes()).to_string());
    let edited = sums.replace(&old, &new);
    assert_ne!(edited, sums);
    fs_err::write(&path, &edited).unwrap();
    let broken = "DEST/.wheelbarrow/SHA256SUMS was altered: its SHA-256 is not the one in the receipt";
    assert_eq!(install.refused(), (broken.to_owned(), 3));
    // Even where the receipt agrees, they must be sums of paths in the destination, the manifest's among them.
    let cases = [
        ("no sums".to_owned(), "SHA256SUMS was altered: it is no list of sums"),
        (format!("{old}  ../../etc/passwd\n"), "SHA256SUMS was altered: it names a path that leads out"),
        (format!("{old}  a\n{old}  a\n"), "SHA256SUMS was altered: it is no list of sums"),
        (format!("\\{old}  a\\t\n"), "SHA256SUMS was altered: it is no list of sums"),
        (format!("{old}  a\n"), "receipt.json was altered: its manifest is not the one in the sums"),
    ];
    for (text, said) in cases {
        fs_err::write(&path, &text).unwrap();
        install
            .edit_receipt(|receipt| receipt["sums_sha256"] = Sha256::of(text.as_bytes()).to_string().into());
        assert_eq!(install.refused(), (format!("DEST/.wheelbarrow/{said}"), 3));
    }
    fs_err::remove_file(&path).unwrap();
    assert_eq!(install.refused(), ("DEST/.wheelbarrow/SHA256SUMS was altered: it is missing".to_owned(), 3));
}

#[test]
fn a_receipt_that_was_edited_proves_nothing() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 9] = [
        ("its format is 0, not 1", |receipt| receipt["format"] = 0.into()),
        ("its manifest is not the one in the sums", |receipt| {
            receipt["manifest_sha256"] = Sha256::of(b"").to_string().into();
        }),
        ("it says something else than the manifest", |receipt| receipt["name"] = "other".into()),
        ("it says something else than the manifest", |receipt| receipt["version"] = "2".into()),
        ("it says something else than the manifest", |receipt| receipt["wheels"] = Value::Array(Vec::new())),
        ("it says something else than the manifest", |receipt| receipt["target"]["abi"] = "cp313".into()),
        ("it says something else than the manifest", |receipt| {
            receipt["interpreter"]["version"] = "3.13.1".into();
        }),
        ("it is no receipt: missing field `interpreter`", |receipt| {
            receipt.as_object_mut().unwrap().remove("interpreter");
        }),
        ("it is no receipt: invalid type", |receipt| *receipt = Value::Null),
    ];
    for (said, change) in cases {
        let install = Install::new();
        install.edit_receipt(change);
        let (message, code) = install.refused();
        assert!(
            message.starts_with(&format!("DEST/.wheelbarrow/receipt.json was altered: {said}")),
            "{message}"
        );
        assert_eq!(code, 3);
    }
    let install = Install::new();
    install.edit_receipt(|receipt| receipt["format"] = 2.into());
    let (message, code) = install.refused();
    assert!(message.starts_with("DEST/.wheelbarrow/receipt.json has format 2") && code == 19, "{message}");
    let install = Install::new();
    install.edit_receipt(|receipt| receipt["sums_sha256"] = Sha256::of(b"").to_string().into());
    assert_eq!(install.refused().1, 3);
    let install = Install::new();
    install.edit_receipt(|receipt| receipt["interpreter"]["executable"] = "/usr/bin/python3".into());
    assert_eq!(install.verify(), "changed venv/bin/python");
    install.swap(".wheelbarrow/receipt.json", "/dev/zero");
    assert_eq!(
        install.refused(),
        ("DEST/.wheelbarrow/receipt.json was altered: it is not a regular file".to_owned(), 3)
    );
}

#[test]
fn a_changed_manifest_is_reported_with_other_changes() {
    let install = Install::new();
    install.write(".wheelbarrow/manifest.json", "{}");
    install.write("code/sub/a.py", "");
    assert_eq!(install.verify(), "changed .wheelbarrow/manifest.json\nchanged code/sub/a.py");
}

#[test]
fn directories_that_are_not_installs_are_refused() {
    let place = tempfile::tempdir().unwrap();
    for destination in [place.path().to_path_buf(), place.path().join("absent")] {
        let error = verify(&destination, &Silent).unwrap_err();
        assert!(matches!(error, InstallError::NoInstall { .. }), "{error}");
        assert_eq!(error.exit_code(), 5);
        assert!(error.hint().is_some());
    }
}

/// Both ways of installing, on the machine's own Python, and then that Python is run.
#[test]
fn bytecode_written_by_python_is_not_a_change() {
    if !site::has_python() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (artifact, destination) = (place.path().join("site.zip"), place.path().join("site"));
    let interpreter = Interpreter::probe("python3".as_ref(), Some(&virtualenv(&destination))).unwrap();
    let target = (interpreter.minor_version(), interpreter.abi.clone());
    site::write_site(&artifact, (&target.0, &target.1), &CODE, &[("pack-1-py3-none-any.whl", &wheel())]);
    let artifact = Artifact::open(&artifact).unwrap();
    let options = Options {
        destination: destination.clone(),
        existing: Existing::Refuse,
        pip: Pip::Without,
        store: None,
        compile: Compile::Never,
    };
    install(artifact, &interpreter, &options, &Silent).unwrap();
    assert_eq!(differences(&destination), "");
    let mut python = Command::new(destination.join("venv/bin/python"));
    let ran = python.args(["-c", "import pack"]).env_remove("PYTHONDONTWRITEBYTECODE").status().unwrap();
    assert!(ran.success());
    let compiled = format!("venv/{}/__pycache__", interpreter.site_packages);
    assert!(destination.join(compiled).exists());
    assert_eq!(differences(&destination), "");
}
