use std::os::unix::fs::chown;
use std::process::Command;

use super::*;

fn git(directory: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-C"]).arg(directory);
    assert!(git.args(arguments).status().unwrap().success(), "git {arguments:?}");
}

/// As `/tmp/.git`, which any user can make above what is built in there.
#[test]
fn a_checkout_of_another_user_decides_nothing() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root has files of several users");
    }
    let place = tree(&[(".gitignore", "/site/app.py\n"), ("site/.gitignore", "secret.py\n")]);
    let site = place.path().join("site");
    ["app.py", "secret.py"].iter().for_each(|name| fs::write(site.join(name), "").unwrap());
    git(place.path(), &["init", "--quiet"]);
    git(place.path(), &["add", "--force", "site/secret.py"]);
    assert_eq!(paths(&site, &[]), [".gitignore", "secret.py"]);
    chown(place.path().join(".git"), Some(4321), None).unwrap();
    let (files, notes) = walk_project(&site, &[]).unwrap();
    assert_eq!(files.into_iter().map(|file| file.path).collect::<Vec<_>>(), [".gitignore", "app.py"]);
    assert!(notes.len() == 1 && notes[0].contains("/.git belongs to another user"), "{notes:?}");
}

/// Git reads a directory that a sparse checkout leaves out, and fetches it if it is missing.
#[test]
fn a_repository_runs_no_program() {
    let place = tree(&[("site/app.py", ""), ("other/a", "")]);
    let directory = place.path();
    let outside = tempfile::tempdir().unwrap();
    let (ran, program) = (outside.path().join("ran"), outside.path().join("program"));
    fs::write(&program, format!("#!/bin/sh\necho >'{}'\nexit 1\n", ran.display())).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    git(directory, &["init", "--quiet"]);
    git(directory, &["add", "site", "other"]);
    git(directory, &["commit", "--quiet", "-m", "all"]);
    git(directory, &["sparse-checkout", "set", "--cone", "--sparse-index", "site"]);
    let output = Command::new("git").arg("-C").arg(directory).args(["rev-parse", "HEAD:other"]).output();
    let id = String::from_utf8(output.unwrap().stdout).unwrap();
    let (first, rest) = id.trim().split_at(2);
    fs::remove_file(directory.join(".git/objects").join(first).join(rest)).unwrap();
    for (name, value) in [
        ("core.repositoryformatversion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", "/nowhere"),
        ("remote.origin.uploadpack", program.to_str().unwrap()),
        ("protocol.file.allow", "always"),
    ] {
        git(directory, &["config", name, value]);
    }
    assert_eq!(paths(directory, &[]), ["site/app.py"]);
    assert!(!ran.exists());
}

#[test]
fn rules_of_a_repository_above_the_checkout_are_not_opened() {
    let place = tree(&[("a/.git/HEAD", ""), ("a/app.py", ""), ("b/app.py", ""), (".git/info/x", "")]);
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let exclude = place.path().join(".git/info/exclude");
    rustix::fs::mknodat(rustix::fs::CWD, &exclude, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for project in ["a", "b"] {
        assert_eq!(paths(&place.path().join(project), &[]), ["app.py"]);
    }
    fs::remove_file(&exclude).unwrap();
    symlink("/dev/zero", &exclude).unwrap();
    assert_eq!(paths(&place.path().join("b"), &[]), ["app.py"]);
}
