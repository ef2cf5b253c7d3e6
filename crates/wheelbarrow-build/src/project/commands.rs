//! Settings that cannot be meant so: the words of one command as a list of commands, scripts that the site does not have,
//! an application with a dot for the colon, and files as names of modules.

use wheelbarrow_artifact::release::{Hook, ReleaseSettings, Words};

use super::{FileContent, ProjectFile};

/// Programs that do nothing for a site without an argument.
const NEVER_ALONE: [&str; 7] = ["alembic", "bash", "django-admin", "flask", "python", "python3", "sh"];
const INTERPRETERS: [&str; 4] = ["bash", "python", "python3", "sh"];

/// Notes about `application`, `prepare` and the hooks. The commands run in `import_path`, a directory of `files`.
pub fn check_commands(
    release: Option<&ReleaseSettings>,
    files: &[ProjectFile],
    import_path: &str,
) -> Vec<String> {
    let Some(release) = release else { return Vec::new() };
    let shared = release.shared.as_deref().unwrap_or_default();
    let (application, settings) = (release.application.as_deref(), release.settings.as_deref());
    let mut notes: Vec<_> =
        application.and_then(|name| dotted(name, files, import_path)).into_iter().collect();
    let named = [("application", application), ("settings", settings)];
    notes.extend(named.into_iter().filter_map(|(key, name)| file_for_module(key, name?, files, import_path)));
    for (key, commands) in lists(release) {
        if is_split(&commands) {
            let words: Vec<&String> = commands.iter().flat_map(|command| command.as_slice()).collect();
            notes.push(format!(
                "`{key}` is a list of {} commands that looks like one command, which is a list in the list: `{key} = [{words:?}]`",
                commands.len()
            ));
            continue;
        }
        for script in commands.iter().filter_map(|command| script(command)) {
            let Some(path) = below(import_path, script) else { continue };
            let is_there = |file: &ProjectFile| {
                let is_link = matches!(file.content, FileContent::Link { .. });
                file.path == path
                    || file.path.starts_with(&format!("{path}/"))
                    || (is_link && path.starts_with(&format!("{}/", file.path)))
            };
            let is_shared = shared.iter().any(|shared| path.starts_with(shared.as_str()));
            if !is_shared && !files.iter().any(is_there) {
                notes.push(format!("`{key}` runs {script}, and the artifact has no {path}"));
            }
        }
    }
    notes
}

fn is_module(name: &str, files: &[ProjectFile], import_path: &str) -> bool {
    let path = below(import_path, &name.replace('.', "/")).unwrap_or_default();
    let inside = format!("{path}/");
    files.iter().any(|file| file.path == format!("{path}.py") || file.path.starts_with(&inside))
}

/// The path of a file in place of a module, as in `shop/settings.py` or `wsgi.py:application`.
fn file_for_module(key: &str, name: &str, files: &[ProjectFile], import_path: &str) -> Option<String> {
    let (file, rest) = name.split_at(name.find(':').unwrap_or(name.len()));
    let module = file.strip_prefix("./").unwrap_or(file);
    let module = module.strip_suffix(".py").unwrap_or(module).replace('/', ".");
    (module != file && !is_module(file, files, import_path)).then(|| {
        format!("`{key}` names the file {file}, and must name a module: the form is `{module}{rest}`")
    })
}

/// A name without a colon is a module, and the code has the one above it only.
fn dotted(application: &str, files: &[ProjectFile], import_path: &str) -> Option<String> {
    let (module, name) = application.rsplit_once('.').filter(|_| !application.contains(':'))?;
    let is_module = |name: &str| is_module(name, files, import_path);
    // `wsgi.py` is a file.
    (name != "py" && is_module(module) && !is_module(application)).then(|| {
        format!(
            "the code has no module {application}, which `application` names: the form is `{module}:{name}`"
        )
    })
}

fn lists(release: &ReleaseSettings) -> Vec<(&'static str, Vec<&Words>)> {
    let hooks = &release.hooks;
    vec![
        ("prepare", release.prepare.iter().flatten().collect()),
        ("before_migrate", words(hooks.before_migrate.as_deref())),
        ("after_switch", words(hooks.after_switch.as_deref())),
        ("on_failure", words(hooks.on_failure.as_deref())),
        ("after_rollback", words(hooks.after_rollback.as_deref())),
    ]
}

fn words(hooks: Option<&[Hook]>) -> Vec<&Words> {
    hooks.unwrap_or_default().iter().map(|hook| &hook.run).collect()
}

fn is_split(commands: &[&Words]) -> bool {
    let is_part = |command: &&Words| {
        let program = command.program();
        program.starts_with('-') || (command.arguments().is_empty() && NEVER_ALONE.contains(&program))
    };
    commands.len() > 1 && commands.iter().any(is_part)
}

/// The file of the site that a command runs: its program, or the script of an interpreter.
fn script(command: &Words) -> Option<&str> {
    let script = match INTERPRETERS.contains(&command.program()) {
        true => command.arguments().first().filter(|word| !word.starts_with('-'))?,
        false => Some(command.program()).filter(|program| program.contains('/'))?,
    };
    (!script.starts_with('/')).then_some(script)
}

/// The path in the project, of a path that is relative to `directory`. None if it leads out of the project.
pub(super) fn below(directory: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use wheelbarrow_testing::site::settings;

    use super::*;

    fn notes(text: &str) -> String {
        let content = FileContent::File { size: 0, executable: false };
        let files = ["src/manage.py", "ops/dump.sh"].map(|path| ProjectFile {
            path: path.to_owned(),
            source: path.into(),
            content: content.clone(),
        });
        check_commands(Some(&settings(text)), &files, "src").join("\n")
    }

    #[test]
    fn the_words_of_one_command_are_no_list_of_commands() {
        insta::assert_snapshot!(notes("prepare = ['django-admin', 'migrate', '--noinput']"), @r#"`prepare` is a list of 3 commands that looks like one command, which is a list in the list: `prepare = [["django-admin", "migrate", "--noinput"]]`"#);
        insta::assert_snapshot!(notes("[hooks]\nafter_switch = ['sh', '-c', 'echo a']"), @r#"`after_switch` is a list of 3 commands that looks like one command, which is a list in the list: `after_switch = [["sh", "-c", "echo", "a"]]`"#);
        assert_eq!(
            notes(
                "prepare = ['django-admin migrate', ['sh', '-c', 'x'], 'true']\n[hooks]\non_failure = 'sh'"
            ),
            ""
        );
    }

    #[test]
    fn an_application_with_a_dot_for_the_colon_is_noted() {
        insta::assert_snapshot!(notes("application = 'manage.app'"), @"the code has no module manage.app, which `application` names: the form is `manage:app`");
        for fine in ["manage", "manage:app", "elsewhere.app", "manage:make('a.b')"] {
            assert_eq!(notes(&format!("application = \"{fine}\"")), "");
        }
    }

    #[test]
    fn a_file_for_a_module_is_noted() {
        insta::assert_snapshot!(notes("application = 'manage.py:app'\nsettings = 'shop/settings.py'"), @"
        `application` names the file manage.py, and must name a module: the form is `manage:app`
        `settings` names the file shop/settings.py, and must name a module: the form is `shop.settings`
        ");
        insta::assert_snapshot!(notes("application = 'manage.py'\nsettings = './shop/settings.py'"), @"
        `application` names the file manage.py, and must name a module: the form is `manage`
        `settings` names the file ./shop/settings.py, and must name a module: the form is `shop.settings`
        ");
        assert_eq!(notes("application = 'shop.web:make(\"a.py\")'\nsettings = 'shop.settings'"), "");
    }

    #[test]
    fn a_script_that_the_site_does_not_have_is_named() {
        insta::assert_snapshot!(notes("prepare = ['sh ops/dump.sh']\n[hooks]\nafter_switch = [{ run = 'python ops/smoke.py', required = true }]"), @"
        `prepare` runs ops/dump.sh, and the artifact has no src/ops/dump.sh
        `after_switch` runs ops/smoke.py, and the artifact has no src/ops/smoke.py
        ");
        let fine = "['sh ../ops/dump.sh', 'python manage.py x', './manage.py', 'python -m a', 'sh /opt/a', '../../a', 'python media/x']";
        assert_eq!(notes(&format!("shared = ['src/media']\nprepare = {fine}")), "");
    }
}
