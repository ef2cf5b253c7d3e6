//! A build with a uv of its own: one that is too old, and one that works while the build is stopped.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::Signal;

use crate::support::{Place, wheelbarrow};

/// A project, and a program that is its uv.
fn place(uv: &str) -> (Place, Command) {
    let place = Place::with(&[("project/requirements.txt", "six"), ("project/app.py", ""), ("uv", uv)]);
    let path: PathBuf = place.path().join("uv");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let mut command = wheelbarrow(&place.path());
    command.args(["build", "project", "--cache-dir", "cache", "-o", "out/site.zip"]).env("UV", path);
    (place, command)
}

#[test]
fn a_uv_that_is_too_old_is_named() {
    let (place, mut command) = place("#!/bin/sh\necho 'uv 0.5.31 (abcdef 2025-02-12)'\n");
    insta::assert_snapshot!(place.finish(&mut command).all(), @"
    exit code: 8
    note: dependencies: project/requirements.txt
    error: uv 0.5.31 at [PLACE]/uv is too old: 0.6.15 or newer is required
    hint: upgrade it, for example with `pip install --upgrade uv` in its virtualenv, or set UV to the path of a newer uv
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
}

#[test]
fn what_a_build_has_started_ends_with_it() {
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && { echo uv 0.13.9; exit; }\nsleep 60 & echo $! > \"$0.started\"; wait\n";
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (place, mut command) = place(script);
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = || fs::read_to_string(place.path().join("uv.started")).unwrap_or_default();
        let wait = |what: &str| {
            assert!(begun.elapsed() < Duration::from_secs(50), "{what}");
            std::thread::sleep(Duration::from_millis(10));
        };
        while !started().ends_with('\n') {
            wait("uv was not started");
        }
        wheelbarrow_testing::kill(child.id(), signal);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let state = || fs::read_to_string(format!("/proc/{}/stat", started().trim())).unwrap_or_default();
        while !state().is_empty() && !state().contains(") Z") {
            wait("what uv has started runs on");
        }
    }
}
