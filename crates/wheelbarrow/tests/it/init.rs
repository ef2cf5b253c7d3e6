//! `wheelbarrow init`

use crate::support::Place;

const SETTINGS: &str = "import os\nSECRET_KEY = os.environ['SECRET_KEY']\n# os.environ['OLD']\nos.environ['TZ'] = 'UTC'\n\
                        NAME = os.environ[\"DATABASE\"]\nDEBUG = os.environ.get('DEBUG')\n";

#[test]
fn a_project_is_looked_at() {
    let place = Place::with(&[
        ("requirements/base.txt", "django"),
        ("src/manage.py", ""),
        ("src/site/settings/base.py", SETTINGS),
    ]);
    insta::assert_snapshot!(place.run(&["init", "--dry-run", "."]).all().replace(&name_of(&place), "[NAME]"), @r#"
    exit code: 0
    name = "[NAME]"
    # version = "1.0"
    # dependencies: requirements/base.txt
    # python = ["3.12"]  # the Pythons of the servers; without it, the python3 found here
    # src/ goes on sys.path, since manage.py or src/ is there; to change that:
    # import-path = "src"
    # exclude = ["/docs/", "/tests/"]  # beside what .gitignore names

    # [environment]
    # required = ["DATABASE", "SECRET_KEY"]  # os.environ[...] in the settings
    "#);
    assert!(!place.path().join("wheelbarrow.toml").exists());
    assert_eq!(place.run(&["init"]).code, 0);
    insta::assert_snapshot!(place.run(&["init"]).all(), @"
    exit code: 8
    error: . has settings already
    hint: edit them; docs/settings.md says what there is
    ");
}

#[test]
fn a_pyproject_gets_a_table() {
    let place = Place::with(&[
        ("pyproject.toml", "[project]\nname = \"site\"\nversion = \"1\"\ndependencies = []"),
        ("a.py", ""),
    ]);
    insta::assert_snapshot!(place.run(&["init"]).all(), @"
    exit code: 0
    wrote ./pyproject.toml
    ");
    insta::assert_snapshot!(place.read("pyproject.toml"), @r#"
    [project]
    name = "site"
    version = "1"
    dependencies = []

    [tool.wheelbarrow]
    # requirements = ["requirements.txt"]
    # python = ["3.12"]  # the Pythons of the servers; without it, the python3 found here
    # exclude = ["/docs/", "/tests/"]  # beside what .gitignore names
    "#);
    assert_eq!(place.run(&["init"]).code, 8);
}

fn name_of(place: &Place) -> String {
    place.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned()
}
