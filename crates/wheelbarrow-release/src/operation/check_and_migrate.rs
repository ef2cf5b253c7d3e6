//! Steps of a deploy that many machines run separately: each machine checks its release before anything is
//! switched, and one of them migrates the database.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use crate::check::{DjangoReport, findings};
use crate::operation::{engine, plan, recovery};
use crate::root::history::journaled_operations;
use crate::root::journal::Operation;
use crate::root::locked_root::{LockedRoot, milliseconds};
use crate::root::operator::Operator;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::serving::services;
use crate::steps::check::{CheckLog, CheckTime, check};
use crate::steps::prepare::Commands;
use crate::steps::{Job, StepResults, Steps};
use crate::{ReleaseError, ReleaseId, Root};

/// What a look at a release has found; nothing of it keeps the release from being made live.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedRelease {
    pub root: PathBuf,
    pub id: ReleaseId,
    /// What `check --deploy` finds, where the site is Django's.
    pub checks: Vec<String>,
    /// Migrations that are due in the default database, as `app.name`.
    pub due: Vec<String>,
    /// Those of them that Django cannot take back.
    pub irreversible: Vec<String>,
    /// Why it is not known which are due.
    pub unknown: Option<String>,
    pub milliseconds: u64,
}

/// What a migration did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Migrated {
    pub root: PathBuf,
    pub id: ReleaseId,
    /// Those that were due, and are not any more, as `app.name`.
    pub migrations: Vec<String>,
    pub irreversible: Vec<String>,
    /// The commands that ran; none where they ran for this release before.
    pub commands: Vec<String>,
    /// False where Django says that none was due, or nothing ran.
    pub is_changed: bool,
    pub milliseconds: u64,
}

/// Does what a deploy does before the `prepare` commands run: imports the application, has Django check itself. A site
/// without such commands is asked for a page too.
pub fn check_release(
    root: &Root,
    id: &ReleaseId,
    operator: &Operator<'_>,
) -> Result<CheckedRelease, ReleaseError> {
    let begun = Instant::now();
    let locked = recovery::begin(root, "check", operator)?;
    let (release, settings) = find(root, id)?;
    let steps = plan::check(&settings);
    let django = run_steps(&locked, begun, Operation::Check, release, &settings, steps)?;
    let DjangoReport { checks, migrations, irreversible, unknown, .. } = django.unwrap_or_default();
    Ok(CheckedRelease {
        root: root.path().to_path_buf(),
        id: id.clone(),
        checks: checks.iter().map(ToString::to_string).collect(),
        due: migrations,
        irreversible,
        unknown,
        milliseconds: milliseconds(begun.elapsed()),
    })
}

/// Runs those `prepare` commands of a release that change a database, unless they ran for it before. Nothing is
/// switched.
pub fn migrate(root: &Root, id: &ReleaseId, operator: &Operator<'_>) -> Result<Migrated, ReleaseError> {
    let begun = Instant::now();
    let locked = recovery::begin(root, "migrate", operator)?;
    let (release, settings) = find(root, id)?;
    let mut migrated = nothing(root, id);
    if is_migrated(root, id)? || Commands::Migrations.of(&settings).is_empty() {
        return Ok(migrated);
    }
    let django = run_steps(&locked, begun, Operation::Migrate, release, &settings, plan::migrate(&settings))?;
    migrated.tell(&settings, django);
    migrated.milliseconds = milliseconds(begun.elapsed());
    Ok(migrated)
}

/// Says what [`migrate`] would do; nothing is written.
pub fn plan_migrate(root: &Root, id: &ReleaseId, operator: &Operator<'_>) -> Result<Migrated, ReleaseError> {
    let (release, settings) = find(root, id)?;
    let mut migrated = nothing(root, id);
    if !is_migrated(root, id)? && !Commands::Migrations.of(&settings).is_empty() {
        let known = findings::of_live(root);
        migrated.tell(
            &settings,
            check(
                &release,
                &settings,
                CheckTime::Before,
                CheckLog::Forgotten,
                &known,
                None,
                operator.progress,
            )?,
        );
    }
    Ok(migrated)
}

impl Migrated {
    fn tell(&mut self, settings: &Settings, django: Option<DjangoReport>) {
        self.commands =
            Commands::Migrations.of(settings).iter().map(|(_, words)| words.to_string()).collect();
        // Where nobody can say that none was due, some were.
        self.is_changed =
            django.as_ref().is_none_or(|report| report.unknown.is_some() || !report.migrations.is_empty());
        let django = django.unwrap_or_default();
        (self.migrations, self.irreversible) = (django.migrations, django.irreversible);
    }
}

fn nothing(root: &Root, id: &ReleaseId) -> Migrated {
    Migrated {
        root: root.path().to_path_buf(),
        id: id.clone(),
        migrations: Vec::new(),
        irreversible: Vec::new(),
        commands: Vec::new(),
        is_changed: false,
        milliseconds: 0,
    }
}

fn find(root: &Root, id: &ReleaseId) -> Result<(CompleteRelease, Settings), ReleaseError> {
    let release = root.complete(id)?;
    let settings = Settings::of(root, &release, &Default::default())?;
    // Before a database is changed for a release that could not be made live.
    services::plan(root, &settings, &release.site()?.project.import_path)?;
    Ok((release, settings))
}

fn is_migrated(root: &Root, id: &ReleaseId) -> Result<bool, ReleaseError> {
    let journaled_operations = journaled_operations(&root.journal().read()?);
    let is = |operation| operation == Operation::Migrate;
    Ok(journaled_operations
        .iter()
        .any(|journaled| journaled.id == *id && is(journaled.operation) && journaled.is_done()))
}

/// Takes the steps; what Django said meanwhile.
fn run_steps(
    locked: &LockedRoot<'_>,
    begun: Instant,
    operation: Operation,
    release: CompleteRelease,
    settings: &Settings,
    steps: Steps<'_>,
) -> Result<Option<DjangoReport>, ReleaseError> {
    let mut job = Job {
        locked,
        operation,
        id: release.id().clone(),
        settings,
        previous: locked.root.live()?,
        begun,
        release: Some(release),
        done: StepResults::default(),
    };
    engine::begin(&job)?;
    engine::run(&mut job, steps)?;
    Ok(job.done.django)
}
