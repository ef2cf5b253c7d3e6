//! A build with a uv of its own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use fs_err as fs;

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
