use wheelbarrow_artifact::manifest::Precedence;

use super::*;

fn load(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Settings, SettingsError>) {
    let place = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(place.path().join(name), text).unwrap();
    }
    let settings = Settings::load(place.path());
    (place, settings)
}

fn refusal(files: &[(&str, &str)]) -> String {
    let (place, settings) = load(files);
    let error = settings.unwrap_err();
    let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("{error}{hint}").replace(&place.path().display().to_string(), "PROJECT")
}

#[test]
fn a_project_without_settings_has_none() {
    assert_eq!(load(&[]).1.unwrap(), Settings::default());
}

#[test]
fn paths_are_relative_to_the_file() {
    let text = "python = ['3.12', './py']\nrequirements = ['r/base.txt']\nstatic = ['/abs']\nfind-links = ['w', 'https://x/y']\n\
                [environment]\nrequired = ['KEY']\nprecedence = 'process'\n";
    let (place, settings) = load(&[("wheelbarrow.toml", text)]);
    let settings = settings.unwrap();
    assert_eq!(settings.requirements, [place.path().join("r/base.txt")]);
    assert_eq!(settings.static_directories, [PathBuf::from("/abs")]);
    assert_eq!(settings.find_links, [place.path().join("w").display().to_string(), "https://x/y".to_owned()]);
    assert_eq!(settings.python, ["3.12".to_owned(), place.path().join("./py").display().to_string()]);
    assert_eq!(settings.environment.required, ["KEY"]);
    assert_eq!(settings.environment.precedence, Precedence::Process);
}

#[test]
fn pyproject_lends_name_and_version() {
    let text = "[project]\nname = 'site'\nversion = '1.2'\n[tool.other]\nanything = 1\n[tool.wheelbarrow]\nversion = '2'\n";
    let settings = load(&[("pyproject.toml", text)]).1.unwrap();
    assert_eq!((settings.name.as_deref(), settings.version.as_deref()), (Some("site"), Some("2")));
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", "name = 'x'\n\nimport_path = 'src'\n")]), @"
    PROJECT/wheelbarrow.toml, line 3: unknown setting `import_path`
    hint: did you mean `import-path`?
    ");
    insta::assert_snapshot!(refusal(&[("pyproject.toml", "[tool.wheelbarrow.environment]\nrequire = []\n")]), @"
    PROJECT/pyproject.toml, line 2: unknown setting `environment.require`
    hint: did you mean `environment.required`?
    ");
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", "qqq = 1\n")]), @"
    PROJECT/wheelbarrow.toml, line 1: unknown setting `qqq`
    hint: the settings are: audit, build, bytecode, environment, exclude, extra-index-url, extras, find-links, groups, import-path, index-url, lock, name, output, python, requirements, shebang, static, target, version
    ");
}

#[test]
fn broken_and_double_settings_are_refused() {
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", "name = 'x'\npython = '3.12'\n")]), @"PROJECT/wheelbarrow.toml, line 2: invalid type: string \"3.12\", expected a sequence");
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", "name = \n")]), @"PROJECT/wheelbarrow.toml, line 1: string values must be quoted, expected literal string");
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", ""), ("pyproject.toml", "[tool.wheelbarrow]\n")]), @"
    both PROJECT/wheelbarrow.toml and [tool.wheelbarrow] in PROJECT/pyproject.toml have settings
    hint: keep one of them
    ");
}
