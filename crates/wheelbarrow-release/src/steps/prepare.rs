//! Prepare: runs the commands of a new release before the switch.

use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use wheelbarrow_artifact::release::Words;

use crate::ReleaseError;
use crate::check::django::Migrating;
use crate::check::{DjangoReport, django, django_query};
use crate::command::fork_server::ForkServer;
use crate::command::secrets::Secrets;
use crate::command::{CommandRun, Fork, in_release};
use crate::root::data;
use crate::root::journal::{JournalEvent, Phase};
use crate::root::locked_root::milliseconds;
use crate::root::settings::Settings;
use crate::steps::{Job, Step};

/// Whether the commands of `prepare` run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepare {
    Run,
    /// All but those that change a database, which somebody runs once for all machines: [`crate::migrate`].
    WithoutMigrations,
    Skip,
}

/// Runs these of the commands of `prepare`, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commands {
    All,
    Migrations,
    Others,
}

impl Commands {
    /// With their numbers, which name their logs.
    pub(crate) fn of(self, settings: &Settings) -> Vec<(usize, &Words)> {
        let commands = settings.prepare.iter().enumerate();
        let is_wanted = |words: &Words| match self {
            Self::All => true,
            Self::Migrations => Migrating::of(words).is_any(),
            Self::Others => !Migrating::of(words).is_any(),
        };
        commands.filter(|(_, words)| is_wanted(words)).map(|(number, words)| (number + 1, words)).collect()
    }
}

impl Step for Commands {
    fn phase(&self) -> Phase {
        Phase::Prepare
    }

    fn describe(&self, settings: &Settings) -> String {
        let commands: Vec<_> = self.of(settings).iter().map(|(_, words)| words.to_string()).collect();
        format!("run {}", commands.join("; "))
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        // The engine has just written the journal: no clock is compared with the times of files.
        let begun = std::fs::metadata(job.locked.root.journal().path());
        let ended = self.run_all(job);
        // The site writes into the live release meanwhile. Files that are not recorded count as data.
        if let (Ok(begun), false) = (begun, job.is_live_already()) {
            let begun = (begun.mtime(), begun.mtime_nsec());
            let _ = data::record_prepared(job.locked.root, &job.id, begun);
        }
        ended
    }
}

impl Commands {
    fn run_all(self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        let mut server = job.done.fork_server.take();
        let (locked, release, settings) = (job.locked, job.release()?, job.settings);
        let commands = self.of(settings);
        let mut applied = Vec::new();
        if django::migrates(commands.iter().map(|(_, words)| *words))
            && let Some(Pending { migrations, irreversible }) = pending(job, server.as_mut())?
            && !migrations.is_empty()
        {
            // Before they are applied: whatever happens then, a rollback must know of them.
            applied.clone_from(&migrations);
            locked.record(JournalEvent::Migrating { migrations, irreversible })?;
        }
        for (number, words) in commands {
            let run = CommandRun {
                command: in_release(release, settings, words)?,
                words: words.to_string(),
                log: release.logs().join(format!("prepare-{number}.log")),
                input: Vec::new(),
                timeout: settings.prepare_timeout,
                secrets: Secrets::of(release.path()),
                lock: Some(&locked.lock),
            };
            let (begun, command) = (Instant::now(), run.secrets.hide(&run.words));
            let log = locked.root.below(&run.log);
            let fork = match &mut server {
                Some(server) if django::is_command(words) => {
                    let module = django::settings_module(release, &release.site()?, settings)?;
                    let request = serde_json::json!({ "words": words.as_slice(), "settings": module });
                    Some(Fork { server, request })
                }
                _ => None,
            };
            let ended = run.run_in(fork, locked.operator.progress);
            locked.record(JournalEvent::Command {
                command,
                milliseconds: milliseconds(begun.elapsed()),
                hook: None,
                log,
                problem: ended.as_ref().err().map(ReleaseError::first_line),
            })?;
            ended?;
        }
        job.done.migrations = applied;
        job.done.fork_server = server;
        Ok(())
    }
}

/// Migrations of the default database.
struct Pending {
    migrations: Vec<String>,
    /// Those of them that Django cannot take back.
    irreversible: Vec<String>,
}

/// The migrations that are pending: as the check found them, else asked now. None if Django cannot say, which `migrate`
/// itself will explain.
fn pending(job: &Job<'_>, server: Option<&mut ForkServer>) -> Result<Option<Pending>, ReleaseError> {
    // A hook may have changed the database since.
    let has_hook = !job.settings.declared.hooks.before_migrate.as_deref().unwrap_or_default().is_empty();
    let found = job.done.django.as_ref().filter(|django| django.unknown.is_none() && !has_hook);
    if let Some(django) = found
        && is_of_commands(job, django)?
    {
        let (migrations, irreversible) = (django.migrations.clone(), django.irreversible.clone());
        return Ok(Some(Pending { migrations, irreversible }));
    }
    let plan = django_query::migration_plan(job.locked, job.release()?, job.settings, server)?;
    Ok(plan.map(|plan| Pending { migrations: plan.migrations, irreversible: plan.irreversible }))
}

/// Whether the commands use the settings that were asked.
fn is_of_commands(job: &Job<'_>, django: &DjangoReport) -> Result<bool, ReleaseError> {
    let release = job.release()?;
    let module = django::settings_module(release, &release.site()?, job.settings)?;
    Ok(module.is_none() || module == django.settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_change_a_database_are_recognised() {
        let is = |text: &str| Migrating::of(&text.parse().unwrap()).is_any();
        for text in [
            "django-admin migrate --noinput",
            "python -m alembic upgrade head",
            "flask db upgrade",
            "sh -c 'cd .. && alembic upgrade head'",
        ] {
            assert!(is(text), "{text}");
        }
        for text in ["django-admin collectstatic", "python upgrade.py db", "sh -c 'echo migrated'"] {
            assert!(!is(text), "{text}");
        }
    }
}
