//! What happens in a new release before the switch: its application is checked, its commands run.

use std::time::Instant;

use wheelbarrow_artifact::release::Words;

use crate::ReleaseError;
use crate::activation::verification;
use crate::activation::verification::{Look, Said};
use crate::check::{django, django_query, startable};
use crate::command::secrets::Secrets;
use crate::command::{Run, in_release};
use crate::root::journal::{Event, Phase};
use crate::root::locked_root::{Fault, LockedRoot, milliseconds};
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::stage::statics;

/// Whether the commands of `prepare` run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepare {
    Run,
    /// All but those that change a database, which somebody runs once for all machines: [`crate::migrate`].
    WithoutMigrations,
    Skip,
}

/// Which of the commands of `prepare`.
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

pub(crate) fn check_and_prepare(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    prepare: Prepare,
) -> Result<(), Fault> {
    let progress = locked.operator.progress;
    let check = |look| {
        locked.phase(Phase::Check, || {
            if look != Look::After {
                startable::check(release, settings, progress)?;
                startable::check_files(release, settings)?;
            }
            verification::check(release, settings, look, Said::Kept, progress).map(drop)
        })
    };
    let commands = match prepare {
        Prepare::Run => Some(Commands::All),
        Prepare::WithoutMigrations => Some(Commands::Others),
        Prepare::Skip => {
            locked.phase(Phase::Prepare, || statics::inherit(locked, release, settings))?;
            None
        }
    };
    let commands = commands.filter(|commands| !commands.of(settings).is_empty());
    check(if commands.is_some() { Look::Before } else { Look::Once })?;
    locked.phase(Phase::Check, || {
        let static_root = statics::ask(locked, release, settings)?;
        if let Some(static_root) = static_root.as_ref().filter(|_| commands.is_some()) {
            statics::make_writable(release, settings, static_root)?;
        }
        // Before they are collected: whatever happens then, they are known to be made from the artifact.
        statics::note_root(locked, release, settings, static_root)
    })?;
    if let Some(commands) = commands {
        locked.phase(Phase::Prepare, || run(locked, release, settings, commands))?;
        check(Look::After)?;
    }
    Ok(())
}

/// Runs these commands, one after the other.
pub(crate) fn run(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    commands: Commands,
) -> Result<(), ReleaseError> {
    let commands = commands.of(settings);
    if django::migrates(commands.iter().map(|(_, words)| *words))
        && let Some(plan) = django_query::migration_plan(locked, release, settings)?
        && !plan.migrations.is_empty()
    {
        // Before they are applied: whatever happens then, a rollback must know of them.
        let (migrations, irreversible) = (plan.migrations, plan.irreversible);
        locked.record(Event::Migrating { migrations, irreversible })?;
    }
    for (number, words) in commands {
        let run = Run {
            command: in_release(release, settings, words)?,
            words: words.to_string(),
            log: release.logs().join(format!("prepare-{number}.log")),
            timeout: settings.prepare_timeout,
            secrets: Secrets::of(release.path()),
            lock: Some(&locked.lock),
        };
        let (begun, command) = (Instant::now(), run.secrets.hide(&run.words));
        let ended = run.run(locked.operator.progress);
        locked.record(Event::Command { command, milliseconds: milliseconds(begun.elapsed()) })?;
        ended?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_database_is_known_by_its_words() {
        let is = |text: &str| changes_a_database(&text.parse().unwrap());
        for text in ["django-admin migrate --noinput", "python -m alembic upgrade head", "flask db upgrade"] {
            assert!(is(text), "{text}");
        }
        for text in ["django-admin collectstatic", "python upgrade.py db", "sh -c 'django-admin migrate'"] {
            assert!(!is(text), "{text}");
        }
    }
}
