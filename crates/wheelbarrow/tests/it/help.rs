//! What people read first.

use crate::support::Place;

#[test]
fn the_commands() {
    insta::assert_snapshot!(Place::with(&[]).run(&["--help"]).all());
}

#[test]
fn each_command() {
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
    insta::assert_snapshot!("help_env_check", place.run(&["env", "check", "--help"]).all());
}

#[test]
fn colours_need_a_terminal_or_a_flag() {
    let place = Place::with(&[]);
    assert!(!place.run(&["inspect", "nothing.zip"]).err.contains('\x1b'));
    assert!(place.run(&["--color", "always", "inspect", "nothing.zip"]).err.contains('\x1b'));
}
