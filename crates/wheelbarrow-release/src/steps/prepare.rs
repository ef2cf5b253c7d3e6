//! Prepare: the commands of a new release run before the switch.

use std::time::Instant;

use wheelbarrow_artifact::release::Words;

use crate::ReleaseError;
use crate::check::{django, django_query};
use crate::command::secrets::Secrets;
use crate::command::{CommandRun, in_release};
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
            Self::Migrations => changes_a_database(words),
            Self::Others => !changes_a_database(words),
        };
        commands.filter(|(_, words)| is_wanted(words)).map(|(number, words)| (number + 1, words)).collect()
    }
}

/// `django-admin migrate`, `alembic upgrade head`, `flask db upgrade`.
fn changes_a_database(words: &Words) -> bool {
    let words = words.as_slice();
    words.iter().any(|word| word == "migrate" || word == "alembic")
        || words.windows(2).any(|pair| pair == ["db", "upgrade"])
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
        let (locked, release, settings) = (job.locked, job.release()?, job.settings);
        let commands = self.of(settings);
        let mut applied = Vec::new();
        if django::migrates(commands.iter().map(|(_, words)| *words))
            && let Some(plan) = django_query::migration_plan(locked, release, settings)?
            && !plan.migrations.is_empty()
        {
            // Before they are applied: whatever happens then, a rollback must know of them.
            let (migrations, irreversible) = (plan.migrations, plan.irreversible);
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
            let ended = run.run(locked.operator.progress);
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_change_a_database_are_recognised() {
        let is = |text: &str| changes_a_database(&text.parse().unwrap());
        for text in ["django-admin migrate --noinput", "python -m alembic upgrade head", "flask db upgrade"] {
            assert!(is(text), "{text}");
        }
        for text in ["django-admin collectstatic", "python upgrade.py db", "sh -c 'django-admin migrate'"] {
            assert!(!is(text), "{text}");
        }
    }
}
