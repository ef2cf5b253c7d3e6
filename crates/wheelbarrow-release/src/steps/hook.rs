//! Hooks: commands of the site before migrations, after a switch, and after a failure.
//!
//! A hook is a command of a release and runs as its `prepare` commands do, with the variables of environment.json, and
//! with a JSON object as its input. `docs/guides/hooks.md` is the specification.

use std::process::Command;
use std::time::{Duration, Instant};

use serde::Serialize;
use wheelbarrow_artifact::manifest::Precedence;
use wheelbarrow_artifact::release::{Hook, Words};
use wheelbarrow_base::Explain;

use crate::check::DjangoReport;
use crate::check::django::Migrating;
use crate::command::identity::other_user;
use crate::command::secrets::Secrets;
use crate::command::{CommandRun, in_release};
use crate::environment::shared_environment;
use crate::root::journal::{JournalEvent, Operation, Outcome, Phase};
use crate::root::locked_root::{LockedRoot, milliseconds};
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::steps::switch::Uncancellable;
use crate::steps::{Job, Step};
use crate::{ReleaseError, ReleaseId};

/// Of a hook after a failure when somebody wants to stop.
const IMPATIENT: Duration = Duration::from_secs(30);

/// Variables that a hook has from [`in_release`], whatever environment.json says of them.
const OURS: [&str; 6] =
    ["PATH", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"];

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookMoment {
    BeforeMigrate,
    AfterSwitch,
    OnFailure,
    AfterRollback,
}

/// The hooks of one kind, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookStep {
    /// The first that fails stops the operation: nothing was changed.
    BeforeMigrate,
    /// The first that fails has the release rolled back.
    RequiredAfterSwitch,
    /// After the end: a failure is a note.
    AfterSwitch,
    /// Likewise.
    AfterRollback,
}

/// What a hook can read, as JSON.
#[derive(Serialize)]
struct HookInput<'f> {
    hook: &'static str,
    operation: Operation,
    /// Of the release that the operation is about; after a rollback, of the one that is live again.
    release: &'f ReleaseId,
    name: &'f str,
    version: Option<&'f str>,
    /// What was live before.
    previous: Option<&'f ReleaseId>,
    phase: Phase,
    outcome: Option<&'static str>,
    /// Of a failure, in one line.
    error: Option<String>,
    /// Pending migrations of the default database, if they are known.
    migrations: Option<&'f [String]>,
    root: String,
    /// As `--deploy-id` named it.
    deploy: Option<&'f str>,
    by: &'f str,
    /// Since the operation began.
    milliseconds: u64,
}

/// An operation that failed.
pub(crate) struct OperationFailure<'f> {
    pub(crate) operation: Operation,
    pub(crate) id: &'f ReleaseId,
    /// What was live before.
    pub(crate) previous: Option<&'f ReleaseId>,
    pub(crate) phase: Phase,
    pub(crate) outcome: Outcome,
    pub(crate) error: &'f str,
    pub(crate) begun: Instant,
}

impl HookMoment {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BeforeMigrate => "before_migrate",
            Self::AfterSwitch => "after_switch",
            Self::OnFailure => "on_failure",
            Self::AfterRollback => "after_rollback",
        }
    }

    fn of(self, settings: &Settings) -> &[Hook] {
        let hooks = &settings.declared.hooks;
        let list = match self {
            Self::BeforeMigrate => &hooks.before_migrate,
            Self::AfterSwitch => &hooks.after_switch,
            Self::OnFailure => &hooks.on_failure,
            Self::AfterRollback => &hooks.after_rollback,
        };
        list.as_deref().unwrap_or_default()
    }

    /// The commands, for a plan.
    pub(crate) fn words(self, settings: &Settings) -> Option<String> {
        let words: Vec<_> = self.of(settings).iter().map(|hook| hook.run.to_string()).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

impl HookStep {
    pub(crate) fn when(self) -> HookMoment {
        match self {
            Self::BeforeMigrate => HookMoment::BeforeMigrate,
            Self::RequiredAfterSwitch | Self::AfterSwitch => HookMoment::AfterSwitch,
            Self::AfterRollback => HookMoment::AfterRollback,
        }
    }

    /// With their numbers, which name their logs.
    fn of(self, settings: &Settings) -> Vec<(usize, &Hook)> {
        let hooks = self.when().of(settings).iter().enumerate().map(|(number, hook)| (number + 1, hook));
        let is_wanted = |hook: &Hook| match self {
            Self::RequiredAfterSwitch => hook.required,
            Self::AfterSwitch => !hook.required,
            Self::BeforeMigrate | Self::AfterRollback => true,
        };
        hooks.filter(|(_, hook)| is_wanted(hook)).collect()
    }

    /// The step, if there is anything to run.
    pub(crate) fn step(self, settings: &Settings) -> Option<Box<dyn Step>> {
        (!self.of(settings).is_empty()).then(|| Box::new(self) as Box<dyn Step>)
    }

    fn pending<'j>(self, job: &'j Job<'_>) -> Option<&'j [String]> {
        let django = job.done.django.as_ref().filter(|_| self == Self::BeforeMigrate);
        pending(django, &job.settings.prepare)
    }

    fn is_binding(self) -> bool {
        matches!(self, Self::BeforeMigrate | Self::RequiredAfterSwitch)
    }
}

impl Step for HookStep {
    fn phase(&self) -> Phase {
        if *self == Self::BeforeMigrate { Phase::Prepare } else { Phase::Commit }
    }

    fn hook(&self) -> Option<&'static str> {
        Some(self.when().name())
    }

    fn is_after_end(&self) -> bool {
        !self.is_binding()
    }

    fn describe(&self, settings: &Settings) -> String {
        let words: Vec<_> = self.of(settings).iter().map(|(_, hook)| hook.run.to_string()).collect();
        let condition = match self {
            Self::BeforeMigrate => " unless no migration is pending",
            Self::RequiredAfterSwitch => " (required)",
            Self::AfterSwitch | Self::AfterRollback => "",
        };
        format!("run {}{condition}", words.join("; "))
    }

    fn is_skipped(&self, job: &Job<'_>) -> bool {
        self.pending(job).is_some_and(<[String]>::is_empty)
            || (*self != Self::BeforeMigrate && job.is_live_already())
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        let (release, settings, when) = (job.release()?, job.settings, self.when());
        let migrations = self.pending(job);
        let facts = HookInput {
            hook: when.name(),
            operation: job.operation,
            release: &job.id,
            name: &release.record.name,
            version: release.record.version.as_deref(),
            previous: job.previous.as_ref(),
            phase: self.phase(),
            outcome: (*self != Self::BeforeMigrate).then_some("live"),
            error: None,
            migrations,
            root: job.locked.root.path().display().to_string(),
            deploy: job.locked.operator.deploy.as_deref(),
            by: &job.locked.operator.by,
            milliseconds: milliseconds(job.begun.elapsed()),
        };
        let place = HookRunner { locked: job.locked, release, settings, when };
        for (number, hook) in self.of(settings) {
            let ended = place.run(number, hook, &facts, None);
            if self.is_binding() {
                ended?;
            } else {
                place.note(ended);
            }
        }
        Ok(())
    }
}

/// The migrations that are pending; none if that is not known for all that the `prepare` commands change.
fn pending<'d>(django: Option<&'d DjangoReport>, prepare: &[Words]) -> Option<&'d [String]> {
    let django = django.filter(|django| django.unknown.is_none() && django.broken.is_none())?;
    (!prepare.iter().any(|words| Migrating::of(words).others)).then_some(&django.migrations)
}

/// Runs `on_failure`, and `after_rollback` if an earlier release is live again. Nothing that goes wrong here changes anything.
pub(crate) fn after_failure(locked: &LockedRoot<'_>, failure: &OperationFailure<'_>) {
    if failure.operation == Operation::Check {
        return;
    }
    let Ok(live) = locked.root.live() else { return };
    // What never became a release has no commands.
    let own = locked.root.complete_or_none(failure.id).ok().flatten();
    let live = live.and_then(|live| locked.root.complete_or_none(&live).ok().flatten());
    if let Some(release) = own.as_ref().or(live.as_ref()) {
        run_after(locked, HookMoment::OnFailure, release, failure);
    }
    if let Some(live) = live.filter(|_| failure.outcome == Outcome::Reverted) {
        run_after(locked, HookMoment::AfterRollback, &live, failure);
    }
}

fn run_after(
    locked: &LockedRoot<'_>,
    when: HookMoment,
    release: &CompleteRelease,
    failure: &OperationFailure<'_>,
) {
    let Ok(settings) = Settings::of(locked.root, release, &Default::default()) else { return };
    let secrets = Secrets::of(release.path());
    let (outcome, about, previous) = match when {
        HookMoment::AfterRollback => ("live", release.id(), Some(failure.id)),
        _ => (outcome(failure.outcome), failure.id, failure.previous),
    };
    // Of a release that is gone nothing is known but its id.
    let is_there = release.id() == about;
    let facts = HookInput {
        hook: when.name(),
        operation: failure.operation,
        release: about,
        name: &release.record.name,
        version: release.record.version.as_deref().filter(|_| is_there),
        previous,
        phase: failure.phase,
        outcome: Some(outcome),
        error: Some(secrets.hide(failure.error)),
        migrations: None,
        root: locked.root.path().display().to_string(),
        deploy: locked.operator.deploy.as_deref(),
        by: &locked.operator.by,
        milliseconds: milliseconds(failure.begun.elapsed()),
    };
    let place = HookRunner { locked, release, settings: &settings, when };
    let limit = locked.operator.progress.is_cancelled().then_some(IMPATIENT);
    for (number, hook) in when.of(&settings).iter().enumerate() {
        place.note(place.run(number + 1, hook, &facts, limit));
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unchanged => "unchanged",
        Outcome::Reverted => "reverted",
        Outcome::RevertFailed => "revert-failed",
    }
}

/// Where hooks run.
struct HookRunner<'p> {
    locked: &'p LockedRoot<'p>,
    release: &'p CompleteRelease,
    settings: &'p Settings,
    when: HookMoment,
}

impl HookRunner<'_> {
    /// Runs one, and writes down that it ran. With a `limit` it is no use to ask it to stop.
    fn run(
        &self,
        number: usize,
        hook: &Hook,
        facts: &HookInput<'_>,
        limit: Option<Duration>,
    ) -> Result<(), ReleaseError> {
        let name = self.when.name();
        let of_hook = |error| ReleaseError::Hook { hook: name, error: Box::new(error) };
        let secrets = Secrets::of(self.release.path());
        let command = self.command(&hook.run).map_err(of_hook)?;
        let timeout = hook.timeout.map_or(self.settings.hook_timeout, Duration::from_secs);
        let run = CommandRun {
            command,
            words: secrets.hide(&hook.run.to_string()),
            log: self.release.logs().join(format!("{name}-{number}.log")),
            input: serde_json::to_vec(facts).unwrap_or_default(),
            timeout: limit.map_or(timeout, |limit| limit.min(timeout)),
            secrets,
            lock: Some(&self.locked.lock),
        };
        let (begun, command, log) = (Instant::now(), run.words.clone(), self.locked.root.below(&run.log));
        let progress = self.locked.operator.progress;
        let ended = match self.when {
            HookMoment::OnFailure | HookMoment::AfterRollback if facts.error.is_some() => {
                run.run(&Uncancellable(progress))
            }
            _ => run.run(progress),
        };
        let ended = ended.map(drop);
        let written = self.locked.record(JournalEvent::Command {
            command,
            milliseconds: milliseconds(begun.elapsed()),
            hook: Some(name.to_owned()),
            log,
            problem: ended.as_ref().err().map(ReleaseError::first_line),
        });
        ended.and(written).map_err(of_hook)
    }

    /// With the variables that loadenv gives to a Python, for programs that are none.
    fn command(&self, words: &Words) -> Result<Command, ReleaseError> {
        let mut command = in_release(self.release, self.settings, words)?;
        let inherits = other_user(self.settings.identity.as_ref()).is_none()
            && self.release.site()?.environment.precedence == Precedence::Process;
        let variables = shared_environment::of_release(self.release)?;
        let is_taken = |name: &str| !OURS.contains(&name) && (!inherits || std::env::var_os(name).is_none());
        command.envs(variables.iter().filter(|(name, _)| is_taken(name)));
        Ok(command)
    }

    /// Of a hook that decides nothing.
    fn note(&self, ended: Result<(), ReleaseError>) {
        if let Err(error) = ended {
            let log = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            self.locked.operator.progress.note(&format!("{error}{log}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_migrations_are_known_only_for_django() {
        let known = DjangoReport { migrations: vec!["shop.0002".to_owned()], ..DjangoReport::default() };
        let words = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Words>>();
        let plain = words(&["django-admin migrate --noinput", "django-admin collectstatic"]);
        assert_eq!(pending(Some(&known), &plain), Some(&known.migrations[..]));
        assert_eq!(pending(Some(&DjangoReport::default()), &plain), Some(&[][..]));
        for other in [
            "alembic upgrade head",
            "flask db upgrade",
            "django-admin migrate --database=archive",
            "django-admin migrate_schemas",
            "sh -c 'django-admin migrate;django-admin migrate --database other'",
            "aerich upgrade",
        ] {
            assert_eq!(pending(Some(&DjangoReport::default()), &words(&[other])), None, "{other}");
        }
        assert_eq!(pending(None, &plain), None);
        let asked = |unknown: Option<&str>, broken: Option<&str>| DjangoReport {
            unknown: unknown.map(str::to_owned),
            broken: broken.map(str::to_owned),
            ..DjangoReport::default()
        };
        assert_eq!(pending(Some(&asked(Some("no database"), None)), &plain), None);
        assert_eq!(pending(Some(&asked(None, Some("ImportError"))), &plain), None);
    }
}
