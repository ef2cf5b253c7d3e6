//! What happens in a new release before the switch: its application is checked, its commands run.

use crate::command::{Run, in_release};
use crate::journal::{Event, Phase};
use crate::release::CompleteRelease;
use crate::seam::Look;
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::work::{Fault, Work};
use crate::{ReleaseError, django, seam, statics};

/// Whether the commands of `prepare` run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepare {
    Run,
    Skip,
}

pub(crate) fn check_and_prepare(
    work: &Work<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    prepare: Prepare,
) -> Result<(), Fault> {
    let check = |look| work.phase(Phase::Check, || seam::check(work, release, settings, look));
    if prepare == Prepare::Skip || settings.prepare.is_empty() {
        check(Look::Once)?;
    } else {
        check(Look::Before)?;
        work.phase(Phase::Prepare, || run_all(work, release, settings))?;
        check(Look::After)?;
    }
    statics::note_root(work, release, settings).map_err(|cause| Fault { phase: Phase::Prepare, cause })
}

fn run_all(work: &Work<'_>, release: &CompleteRelease, settings: &Settings) -> Result<(), ReleaseError> {
    if django::migrates(&settings.prepare)
        && let Some(plan) = django::migration_plan(work, release, settings)?
        && !plan.migrations.is_empty()
    {
        // Before they are applied: whatever happens then, a rollback must know of them.
        let (migrations, irreversible) = (plan.migrations, plan.irreversible);
        work.record(Event::Migrating { migrations, irreversible })?;
    }
    for (number, words) in settings.prepare.iter().enumerate() {
        let run = Run {
            command: in_release(release, settings, words)?,
            words: words.to_string(),
            log: release.logs().join(format!("prepare-{}.log", number + 1)),
            timeout: settings.prepare_timeout,
            secrets: Secrets::of(release.path()),
            lock: Some(&work.lock),
        };
        run.run(work.operator.progress)?;
    }
    Ok(())
}
