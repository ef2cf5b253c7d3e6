//! Mistakes in names, files and settings that `build` and `verify` report at once.

use crate::support::Place;

#[test]
fn a_name_that_no_file_can_have() {
    let place = Place::with(&[("requirements.txt", ""), ("manage.py", "")]);
    insta::assert_snapshot!(place.run(&["build", "--name", &"a".repeat(300)]).all(), @"
    exit code: 8
    error: the name of the site has 300 letters, more than 100
    hint: `--name NAME` gives another: letters, digits, -, _ and .
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
    let said = place.run(&["build", "--name", "a", "--version", &"1".repeat(300)]);
    assert!(said.code == 8 && said.err.contains("cannot be the version of a site"), "{}", said.all());
}

#[test]
fn a_requirements_file_as_the_project() {
    let place = Place::with(&[("requirements.txt", "")]);
    let said = place.run(&["build", "requirements.txt"]);
    let hint = "hint: PROJECT is a directory; a requirements file: `wheelbarrow build -r FILE`\n";
    assert!(said.code == 1 && said.err.contains(hint), "{}", said.all());
}

#[test]
fn an_artifact_that_does_not_exist() {
    let place = Place::with(&[]);
    for arguments in [&["verify", "site.zip"][..], &["verify", "site.zip", "--allowed-signers", "x"]] {
        let said = place.run(arguments);
        assert!(said.err.contains("No such file"), "{}", said.all());
    }
    insta::assert_snapshot!(place.run(&["verify", "site.zip"]).all(), @"
    exit code: 1
    error: cannot read site.zip
      Caused by: No such file or directory (os error 2)
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-1
    ");
}

#[test]
fn a_python_that_the_project_names_in_vain() {
    let place = Place::with(&[("requirements.txt", ""), ("app.py", ""), (".python-version", "shop-3.12\n")]);
    let said = place.run(&["build", "--offline", "--cache-dir", "cache"]);
    let note =
        "note: .python-version has no effect: `shop-3.12` is neither a version of CPython 3, such as 3.12";
    assert!(said.err.contains(note), "{}", said.all());
    let said = place.run(&["build", "--offline", "--cache-dir", "cache", "--python", "3.11"]);
    assert!(!said.err.contains("has no effect"), "{}", said.all());
    let lock =
        "lock-version = \"1.0\"\nrequires-python = \">=3.98\"\ncreated-by = \"other\"\npackages = []\n";
    place.write("pylock.toml", lock);
    let said = place.run(&["build", "--offline", "--cache-dir", "cache"]);
    assert!(said.code == 8 && said.err.contains("error: Python >=3.98 was not found"), "{}", said.all());
}

#[test]
fn dependencies_that_requirements_files_leave_out_are_noted() {
    let project = "[project]\nname = 'x'\nversion = '1'\n\
                   dependencies = ['Six>=1', 'bottle[x] >= 0.1', 'colorama; sys_platform == \"win32\"']\n";
    let place = Place::with(&[
        ("requirements.txt", "# see pyproject.toml\n"),
        ("app.py", ""),
        ("pyproject.toml", project),
    ]);
    let said = place.run(&["build", "--offline", "--cache-dir", "cache", "--no-install-project"]);
    let note = "note: pyproject.toml names dependencies that are not in the artifact, since requirements files count alone: bottle, six\n";
    assert!(said.err.contains(note), "{}", said.all());
    place.write("pyproject.toml", "[tool.ruff]\n");
    let said = place.run(&["build", "--offline", "--cache-dir", "cache", "--no-install-project"]);
    assert!(!said.err.contains("not in the artifact"), "{}", said.all());
}
