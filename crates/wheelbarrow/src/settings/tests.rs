use wheelbarrow_artifact::manifest::Precedence;
use wheelbarrow_base::Explain;

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
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", "[tool.wheelbarrow.release]\nkeep = 1\n")]), @"
    PROJECT/wheelbarrow.toml, line 1: unknown setting `tool`
    hint: names in wheelbarrow.toml are without `tool.wheelbarrow.`: [release], not [tool.wheelbarrow.release]
    ");
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", "qqq = 1\n")]), @"
    PROJECT/wheelbarrow.toml, line 1: unknown setting `qqq`
    hint: the settings are: audit, build, bytecode, environment, exclude, extra-index-url, extras, find-links, groups, import-path, index-url, install-project, lock, name, output, python, release, requirements, shebang, static, target, version, with
    ");
}

#[test]
fn a_value_of_another_kind_is_named_with_its_line_and_an_example() {
    let text =
        "[project]\nname = 'x'\n[tool.wheelbarrow.release.server]\nkind = 'systemd'\nunit = ['a', 'b']\n";
    insta::assert_snapshot!(refusal(&[("pyproject.toml", text)]), @r#"
    PROJECT/pyproject.toml, line 5: `release.server.unit` must be a string
    hint: for example: unit = "mysite.service"
    "#);
    for (text, words) in [
        ("[release]\nkeep = '5'\n", "line 2: `release.keep` must be a number, 0 or more"),
        ("[release]\nkeep = -1\n", "line 2: `release.keep` must be a number"),
        ("[release]\nkeep_static = 1.5\n", "line 2: `release.keep_static` must be a number"),
        ("[release.server]\nkind = 'apache'\n", "line 2: `release.server.kind` must be one of \"systemd\", "),
        (
            "[release.server]\nkind = 'systemd'\nunit = 'x'\naction = 1\n",
            "line 4: `release.server.action` must be one of",
        ),
        ("[release]\nprepare = 'migrate'\n", "line 2: `release.prepare` must be a list of commands"),
        ("[release]\nprepare = [\n 'a',\n [1],\n]\n", "line 4: `release.prepare`"),
        ("release = 1\n", "line 1: `release` must be a table"),
        ("[target]\ntarget = 'el9'\n", "line 1: `target` must be a list of tables"),
        ("[[target]]\ntarget = 9\n", "line 2: `target.target` must be a string"),
        ("[environment]\nprivate = 'yes'\n", "line 2: `environment.private` must be true or false"),
        ("bytecode = 'sometimes'\n", "line 1: `bytecode` must be one of \"auto\", \"always\", \"never\""),
    ] {
        let message = refusal(&[("wheelbarrow.toml", text)]);
        assert!(message.contains(words) && message.contains("for example: "), "{text}: {message}");
    }
}

#[test]
fn broken_and_double_settings_are_refused() {
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", "name = 'x'\npython = '3.12'\n")]), @"
    PROJECT/wheelbarrow.toml, line 2: `python` must be a list of strings
    hint: for example: python = [\"3.12\"]
    ");
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", "name = \n")]), @"PROJECT/wheelbarrow.toml, line 1: string values must be quoted, expected literal string");
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", ""), ("pyproject.toml", "[tool.wheelbarrow]\n")]), @"
    both PROJECT/wheelbarrow.toml and [tool.wheelbarrow] in PROJECT/pyproject.toml have settings
    hint: keep one of them
    ");
}

#[test]
fn unknown_keys_of_tables_are_refused_with_the_keys_of_the_table() {
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", "[release]\nonwer = 'x'\n")]), @"
    PROJECT/wheelbarrow.toml, line 2: unknown setting `onwer`
    hint: did you mean `owner`?
    ");
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", "[release]\npass_enviroment = []\n")]), @"
    PROJECT/wheelbarrow.toml, line 2: unknown setting `pass_enviroment`
    hint: did you mean `pass_environment`?
    ");
    let message = refusal(&[("wheelbarrow.toml", "[release]\nzzz = 1\n")]);
    assert!(message.contains("hint: the settings are: ") && !message.contains('-'), "{message}");
    insta::assert_snapshot!(refusal(&[("wheelbarrow.toml", "[[target]]\nzzz = 'debian-12'\n")]), @"
    PROJECT/wheelbarrow.toml, line 2: unknown setting `target.zzz`
    hint: the keys of [target] are: container, libraries, packages, target
    ");
}

#[test]
fn settings_of_pyproject_without_their_prefix_are_noted() {
    let text = "[build-system]\nrequires = []\n[release.server]\nkind = 'none'\n[[target]]\ntarget = 'el9'\n";
    let (place, settings) = load(&[("pyproject.toml", text)]);
    assert_eq!(settings.unwrap().release, None);
    insta::assert_snapshot!(misplaced(place.path()).join("\n"), @"
    pyproject.toml has a table [release], which has no effect: settings of Wheelbarrow are in [tool.wheelbarrow.release]
    pyproject.toml has a table [target], which has no effect: settings of Wheelbarrow are in [tool.wheelbarrow.target]
    ");
}
