//! `wheelbarrow env check`

use crate::support::Place;

#[test]
fn a_good_file_is_counted() {
    let place = Place::with(&[("environment.json", "{\"SECRET_KEY\": \"hunter2\", \"DEBUG\": \"\"}")]);
    insta::assert_snapshot!(place.run(&["env", "check", "environment.json"]).all(), @"
    exit code: 0
    environment.json: 2 variables
    ");
    insta::assert_snapshot!(place.run(&["--quiet", "env", "check", "environment.json"]).all(), @"exit code: 0");
}

#[test]
fn a_broken_file_is_refused_without_its_values() {
    let place = Place::with(&[("environment.json", "{\n  \"A\": \"hunter2\",\n  \"PORT\": 8000\n}")]);
    insta::assert_snapshot!(place.run(&["env", "check", "environment.json"]).all(), @r#"
    exit code: 7
    error: environment.json, line 3: key "PORT": the value is a number; it must be a string in double quotes
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-7
    "#);
}

#[test]
fn a_missing_file_has_its_own_error() {
    insta::assert_snapshot!(Place::with(&[]).run(&["env", "check", "environment.json"]).all(), @"
    exit code: 1
    error: cannot read environment.json
      Caused by: No such file or directory (os error 2)
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-1
    ");
}

#[test]
fn a_value_in_a_command_is_refused_and_not_shown() {
    let place = Place::with(&[]);
    for words in [
        &["env", "set", "TOKEN", "s3cr3t", "--root", "root"][..],
        &["env", "set", "--root", "root", "TOKEN", "-s3cr3t", "more-s3cr3t"],
    ] {
        let said = place.run(words);
        assert_eq!(said.code, 2, "{}", said.all());
        assert!(said.err.contains("a value must not stand in a command") && !said.all().contains("s3cr3t"));
    }
}
