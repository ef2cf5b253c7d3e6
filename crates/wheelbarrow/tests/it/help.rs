//! What people read first.

use crate::support::Place;

#[test]
fn the_commands() {
    insta::assert_snapshot!(Place::with(&[]).run(&["--help"]).all());
}

#[test]
fn each_command_on_releases() {
    let place = Place::with(&[]);
    for command in [
        "deploy",
        "activate",
        "check",
        "migrate",
        "rollback",
        "list",
        "find",
        "status",
        "history",
        "prune",
        "remove",
        "rescue",
        "pin",
        "unpin",
        "singletons",
        "recover",
        "exec",
        "unit",
        "doctor",
    ] {
        insta::assert_snapshot!(format!("help_{command}"), place.run(&[command, "--help"]).all());
    }
}

#[test]
fn each_command_that_builds() {
    let place = Place::with(&[]);
    for command in [
        "build", "install", "verify", "inspect", "diff", "thin", "audit", "sbom", "sign", "targets", "init",
        "cache",
    ] {
        insta::assert_snapshot!(format!("help_{command}"), place.run(&[command, "--help"]).all());
    }
    insta::assert_snapshot!(
        "help_store",
        place.run(&["store", "verify", "--help"]).all() + &place.run(&["store", "gc", "--help"]).all()
    );
    for verbs in [&["check"][..], &["set", "unset", "apply", "write", "list", "diff"]] {
        let said: String = verbs.iter().map(|verb| place.run(&["env", verb, "--help"]).all()).collect();
        insta::assert_snapshot!(format!("help_env_{}", verbs[0]), said);
    }
}

#[test]
fn colours_need_a_terminal_or_a_flag() {
    let place = Place::with(&[]);
    assert!(!place.run(&["inspect", "nothing.zip"]).err.contains('\x1b'));
    assert!(place.run(&["--color", "always", "inspect", "nothing.zip"]).err.contains('\x1b'));
}
