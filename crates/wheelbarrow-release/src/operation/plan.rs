//! The steps of each operation, in order. Nothing is read or written here.

use crate::root::journal::{Operation, Phase};
use crate::root::settings::Settings;
use crate::steps::check::{Check, CheckTime, Startable};
use crate::steps::commit::Commit;
use crate::steps::configure::Configure;
use crate::steps::hook::{HookMoment, HookStep};
use crate::steps::prepare::{Commands, Prepare};
use crate::steps::prune::Prune;
use crate::steps::reload::Reload;
use crate::steps::stage::Stage;
use crate::steps::static_root::{Inherit, StaticRoot};
use crate::steps::switch::Switch;
use crate::steps::verify::Verify;
use crate::steps::{Step, Steps};

/// A new release; live too if it is to be, its commands run as `prepare` says.
pub(crate) fn make<'s>(
    stage: Stage<'s>,
    configure: Configure<'s>,
    settings: &Settings,
    prepare: Option<Prepare>,
) -> Steps<'s> {
    let mut steps: Steps<'s> = vec![Box::new(stage), Box::new(configure)];
    if let Some(prepare) = prepare {
        steps.extend(before_switch(settings, prepare));
        steps.extend(switch(settings, Operation::Deploy));
        steps.push(Box::new(Prune));
    }
    steps
}

/// A release that is there becomes live, with its commands if it never was.
pub(crate) fn activate(
    settings: &Settings,
    operation: Operation,
    prepare: Option<Prepare>,
    is_live: bool,
) -> Steps<'static> {
    let mut steps = match prepare {
        Some(prepare) => before_switch(settings, prepare),
        // It was live, and was checked then; what it stands on may be gone.
        None => vec![Box::new(Startable) as Box<dyn Step>],
    };
    let mut switch = switch(settings, operation);
    if is_live {
        switch.retain(|step| step.phase() != Phase::Switch && step.hook().is_none());
    }
    steps.extend(switch);
    steps
}

/// From the switch on: the first step is the switch itself.
pub(crate) fn switch(settings: &Settings, operation: Operation) -> Steps<'static> {
    let mut steps: Steps<'static> = vec![Box::new(Switch), Box::new(Reload), Box::new(Verify)];
    let (before_end, after_end) = match operation {
        Operation::Rollback => (None, HookStep::AfterRollback),
        _ => (HookStep::RequiredAfterSwitch.step(settings), HookStep::AfterSwitch),
    };
    steps.extend(before_end);
    steps.push(Box::new(Commit));
    steps.extend(after_end.step(settings));
    steps
}

/// A release is looked at, as before a deploy runs its commands.
pub(crate) fn check(settings: &Settings) -> Steps<'static> {
    let look = if settings.prepare.is_empty() { CheckTime::Once } else { CheckTime::Before };
    vec![Box::new(Check(look))]
}

/// A database is changed. None is for code that does not even start.
pub(crate) fn migrate(settings: &Settings) -> Steps<'static> {
    let mut steps: Steps<'static> = vec![Box::new(Check(CheckTime::Before))];
    steps.extend(HookStep::BeforeMigrate.step(settings));
    steps.push(Box::new(Commands::Migrations));
    steps
}

/// A line for each step, and for each hook that runs if one of them fails.
pub(crate) fn describe(steps: &Steps<'_>, settings: &Settings) -> Vec<String> {
    let line = |step: &dyn Step| match step.hook() {
        Some(hook) => format!("hook {hook}: {}", step.describe(settings)),
        None => format!("{}: {}", step.phase(), step.describe(settings)),
    };
    let on_failure = HookMoment::OnFailure.words(settings);
    let on_failure = on_failure.map(|words| format!("hook on_failure: run {words} if a step fails"));
    let rolls_back = steps.iter().any(|step| step.hook() == Some(HookMoment::AfterRollback.name()));
    let after_rollback = HookMoment::AfterRollback.words(settings).filter(|_| !rolls_back);
    let after_rollback =
        after_rollback.map(|words| format!("hook after_rollback: run {words} after a rollback to it"));
    steps.iter().map(|step| line(&**step)).chain(on_failure).chain(after_rollback).collect()
}

fn before_switch(settings: &Settings, prepare: Prepare) -> Steps<'static> {
    let (mut steps, commands): (Steps<'static>, _) = match prepare {
        Prepare::Run => (Vec::new(), Some(Commands::All)),
        Prepare::WithoutMigrations => (Vec::new(), Some(Commands::Others)),
        Prepare::Skip => (vec![Box::new(Inherit)], None),
    };
    let commands = commands.filter(|commands| !commands.of(settings).is_empty());
    steps.push(Box::new(Check(if commands.is_some() { CheckTime::Before } else { CheckTime::Once })));
    steps.push(Box::new(StaticRoot { is_written: commands.is_some() }));
    if let Some(commands) = commands {
        if commands != Commands::Others {
            steps.extend(HookStep::BeforeMigrate.step(settings));
        }
        steps.push(Box::new(commands));
        steps.push(Box::new(Check(CheckTime::After)));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;

    fn settings(text: &str) -> Settings {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        Settings::of_manifest(&root, "site", Some(&serde_json::from_str(text).unwrap()), &Default::default())
            .unwrap()
    }

    /// Phases and hooks.
    fn names(steps: &Steps<'_>) -> String {
        let name = |step: &dyn Step| match step.hook() {
            Some(hook) if step.is_after_end() => format!("({hook})"),
            Some(hook) => hook.to_owned(),
            None => step.phase().to_string(),
        };
        steps.iter().map(|step| name(&**step)).collect::<Vec<_>>().join(" ")
    }

    const ALL: &str = r#"{"prepare": ["migrate"], "hooks": {"before_migrate": "dump", "after_switch": ["purge", {"run": "smoke", "required": true}],
        "on_failure": "tell", "after_rollback": "tell"}}"#;

    #[test]
    fn hooks_run_at_their_steps() {
        let all = settings(ALL);
        let of = |operation, prepare, is_live| names(&activate(&all, operation, prepare, is_live));
        assert_eq!(
            of(Operation::Activate, Some(Prepare::Run), false),
            "check check before_migrate prepare check switch reload probe after_switch commit (after_switch)"
        );
        let without = "switch reload probe after_switch commit (after_switch)";
        // Nothing is migrated there.
        assert_eq!(
            of(Operation::Activate, Some(Prepare::Skip), false),
            format!("prepare check check {without}")
        );
        assert_eq!(
            of(Operation::Activate, Some(Prepare::WithoutMigrations), false),
            format!("check check {without}")
        );
        assert_eq!(of(Operation::Activate, None, false), format!("check {without}"));
        // It was switched to before.
        assert_eq!(of(Operation::Activate, None, true), "check reload probe commit");
        assert_eq!(of(Operation::Rollback, None, false), "check switch reload probe commit (after_rollback)");
        assert_eq!(names(&migrate(&all)), "check before_migrate prepare");
        let none = settings(r#"{"prepare": ["migrate"], "hooks": {"after_switch": []}}"#);
        assert_eq!(names(&switch(&none, Operation::Deploy)), "switch reload probe commit");
    }

    #[test]
    fn a_plan_names_the_hooks() {
        let all = settings(ALL);
        let lines = describe(&activate(&all, Operation::Activate, Some(Prepare::Run), false), &all);
        let hooks: Vec<_> = lines.iter().filter(|line| line.starts_with("hook ")).collect();
        assert_eq!(
            hooks,
            [
                "hook before_migrate: run dump unless no migration is pending",
                "hook after_switch: run smoke (required)",
                "hook after_switch: run purge",
                "hook on_failure: run tell if a step fails",
                "hook after_rollback: run tell after a rollback to it",
            ]
        );
        let back = describe(&activate(&all, Operation::Rollback, None, false), &all);
        assert_eq!(back.iter().filter(|line| line.starts_with("hook after_rollback")).count(), 1, "{back:?}");
    }

    #[test]
    fn only_a_hook_after_the_switch_can_be_required() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        for hook in ["before_migrate", "on_failure", "after_rollback"] {
            let text = format!(r#"{{"hooks": {{"{hook}": {{"run": "x", "required": true}}}}}}"#);
            let error = Settings::of_manifest(
                &root,
                "site",
                Some(&serde_json::from_str(&text).unwrap()),
                &Default::default(),
            );
            let error = error.unwrap_err();
            assert_eq!(wheelbarrow_base::Explain::exit_code(&error), 8, "{error}");
            assert!(error.to_string().contains(&format!("`hooks.{hook}`")), "{error}");
        }
    }
}
