//! What Django wants to know and nobody should have to say: where its settings and its application are, and which
//! migrations are due.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use wheelbarrow_artifact::release::Words;

use crate::application::{Code, Found, Search, find};
use crate::command::{Run, in_release};
use crate::release::{CompleteRelease, Site};
use crate::secrets::Secrets;
use crate::settings::{Settings, bin};
use crate::work::Work;
use crate::{ReleaseError, identity};

const VARIABLE: &str = "DJANGO_SETTINGS_MODULE";
/// Tells which migrations `migrate` would apply, as JSON.
const MIGRATIONS: &str = include_str!("../python/migrations.py");

/// What [`MIGRATIONS`] says.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct MigrationPlan {
    /// `app.name`, in the order in which they are applied.
    pub(crate) migrations: Vec<String>,
    /// Those with an operation that cannot be taken back.
    pub(crate) irreversible: Vec<String>,
    /// Those that the database has.
    pub(crate) applied: BTreeSet<String>,
}

/// The value of `DJANGO_SETTINGS_MODULE` that a command of this release should get: none where its environment.json has
/// one, or where no file of the site names one.
pub(crate) fn settings_module(
    release: &CompleteRelease,
    site: &Site,
    settings: &Settings,
) -> Result<Option<String>, ReleaseError> {
    if sets_variable(release) {
        return Ok(None);
    }
    if let Some(module) = &settings.said.settings {
        return Ok(Some(module.clone()));
    }
    let is_inherited = identity::other_user(settings.identity.as_ref()).is_none()
        || settings.pass_environment.iter().any(|name| name == VARIABLE);
    if is_inherited && std::env::var_os(VARIABLE).is_some() {
        return Ok(None);
    }
    let path = release.path().join(&site.project.import_path);
    let code = release.open()?.sub(&site.project.import_path).map_err(ReleaseError::io("open", &path))?;
    Ok(Code::beneath(code).settings_modules().into_iter().next())
}

/// The application of a release: what its settings name, else what is found in its code.
pub(crate) fn application(release: &CompleteRelease, site: &Site, settings: &Settings) -> Search {
    if let Some(name) = settings.said.application.clone() {
        return Search::One(Found::named(name));
    }
    let module = variable(release).or_else(|| settings.said.settings.clone());
    let code = release.open().ok().and_then(|release| release.sub(&site.project.import_path).ok());
    code.map_or(Search::Nothing, |code| find(&Code::beneath(code), module.as_deref()))
}

/// Whether the release's own environment.json, which wins over what a command inherits, has the variable.
fn sets_variable(release: &CompleteRelease) -> bool {
    variable(release).is_some()
}

fn variable(release: &CompleteRelease) -> Option<String> {
    let text = release.read(crate::environment::ENVIRONMENT).unwrap_or_default();
    let values = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&text);
    values.ok()?.get(VARIABLE)?.as_str().map(str::to_owned)
}

/// `mysite.settings` of `os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")`, as `startproject` writes it.
pub(crate) fn named_in(text: &str) -> Option<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let rest = code.split_once(VARIABLE)?.1;
    let rest = rest.get(1..)?.trim_start_matches([']', ' ', '\n', ',', '=']);
    let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let name = rest[1..].split(quote).next()?;
    let is_module = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '.');
    (!name.is_empty() && name.chars().all(is_module)).then(|| name.to_owned())
}

/// Whether one of the commands migrates a database.
pub(crate) fn migrates<'w>(commands: impl IntoIterator<Item = &'w Words>) -> bool {
    commands.into_iter().any(|words| words.as_slice().iter().any(|word| word == "migrate"))
}

/// The migrations that are due; none where Django cannot say, which `migrate` itself will explain.
pub(crate) fn migration_plan(
    work: &Work<'_>,
    release: &CompleteRelease,
    settings: &Settings,
) -> Result<Option<MigrationPlan>, ReleaseError> {
    ask(
        work,
        release,
        settings,
        &Question { script: MIGRATIONS, words: "the plan of migrations", log: "migrations.log" },
    )
}

/// The migrations that the default database has, as a release's Django reads it; none where that cannot be known.
pub(crate) fn applied(work: &Work<'_>, release: &CompleteRelease) -> Option<BTreeSet<String>> {
    let settings = Settings::of(work.root, release, &Default::default()).ok()?;
    Some(migration_plan(work, release, &settings).ok()??.applied)
}

/// What a release's Django is asked.
pub(crate) struct Question {
    /// Python whose last line of output is JSON.
    pub script: &'static str,
    /// As errors name it.
    pub words: &'static str,
    /// Among the logs of the release.
    pub log: &'static str,
}

/// The answer; none where there is none that can be read.
pub(crate) fn ask<T: DeserializeOwned>(
    work: &Work<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    question: &Question,
) -> Result<Option<T>, ReleaseError> {
    let python = bin(release).join("python").display().to_string();
    let words = Words::new(vec![python, "-c".to_owned(), question.script.to_owned()]);
    let Ok(words) = words else { return Ok(None) };
    let run = Run {
        command: in_release(release, settings, &words)?,
        words: question.words.to_owned(),
        log: release.logs().join(question.log),
        timeout: settings.prepare_timeout,
        secrets: Secrets::of(release.path()),
        lock: Some(&work.lock),
    };
    match run.run(work.operator.progress) {
        Ok(output) => Ok(serde_json::from_slice(&output.last_line()).ok()),
        Err(ReleaseError::Command { .. } | ReleaseError::NoProgram { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::named_in;

    #[test]
    fn the_settings_module_is_found() {
        let found = |text| named_in(text).unwrap_or_default();
        let lines = "# DJANGO_SETTINGS_MODULE, 'no'\nos.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"a.settings\")";
        assert_eq!(found(lines), "a.settings");
        assert_eq!(found("os.environ['DJANGO_SETTINGS_MODULE'] = 'b'"), "b");
        assert_eq!(found("setdefault(\n    'DJANGO_SETTINGS_MODULE',\n    'c.d')"), "c.d");
        assert_eq!(found("setdefault('DJANGO_SETTINGS_MODULE', NAME)"), "");
        assert_eq!(found(""), "");
    }
}
