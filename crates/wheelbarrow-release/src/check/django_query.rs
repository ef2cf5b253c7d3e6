//! Queries to the Django of a release, run by its own Python: pending migrations and other facts that only it
//! has.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use wheelbarrow_artifact::release::Words;
use wheelbarrow_base::json;

use crate::ReleaseError;
use crate::check::django;
use crate::command::fork_server::ForkServer;
use crate::command::secrets::Secrets;
use crate::command::{CommandRun, Fork, in_release};
use crate::root::locked_root::LockedRoot;
use crate::root::release::CompleteRelease;
use crate::root::settings::{Settings, bin};

/// Tells which migrations `migrate` would apply, as JSON.
const MIGRATIONS: &str = include_str!("../../python/migrations.py");

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

/// The migrations that are due; none where Django cannot say, which `migrate` itself will explain.
pub(crate) fn migration_plan(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    server: Option<&mut ForkServer>,
) -> Result<Option<MigrationPlan>, ReleaseError> {
    ask(
        locked,
        release,
        settings,
        server,
        &Question { script: MIGRATIONS, words: "the plan of migrations", log: "migrations.log" },
    )
}

/// The migrations that the default database has, as a release's Django reads it; none where that cannot be known.
pub(crate) fn applied(locked: &LockedRoot<'_>, release: &CompleteRelease) -> Option<BTreeSet<String>> {
    let settings = Settings::of(locked.root, release, &Default::default()).ok()?;
    Some(migration_plan(locked, release, &settings, None).ok()??.applied)
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
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    server: Option<&mut ForkServer>,
    question: &Question,
) -> Result<Option<T>, ReleaseError> {
    let python = bin(release).join("python").display().to_string();
    let words = Words::new(vec![python, "-c".to_owned(), question.script.to_owned()]);
    let Ok(words) = words else { return Ok(None) };
    let run = CommandRun {
        command: in_release(release, settings, &words)?,
        words: question.words.to_owned(),
        log: release.logs().join(question.log),
        input: Vec::new(),
        // A question, and no work: whoever goes back waits for it.
        timeout: settings.check_timeout,
        secrets: Secrets::of(release.path()),
        lock: Some(&locked.lock),
    };
    let fork = match server {
        Some(server) => {
            let module = django::settings_module(release, &release.site()?, settings)?;
            let request = serde_json::json!({ "script": question.script, "settings": module });
            Some(Fork { server, request })
        }
        None => None,
    };
    match run.run_in(fork, locked.operator.progress) {
        Ok(output) => Ok(json::from_slice(&output.last_line()).ok()),
        Err(ReleaseError::Command { .. } | ReleaseError::NoProgram { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
