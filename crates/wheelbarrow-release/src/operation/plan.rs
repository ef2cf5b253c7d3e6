//! Which steps an operation takes, in order. Nothing is read or written here.

use crate::root::settings::Settings;
use crate::steps::check::{Check, Look, Startable};
use crate::steps::commit::Commit;
use crate::steps::configure::Configure;
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
        steps.extend(switch());
        steps.push(Box::new(Prune));
    }
    steps
}

/// A release that is there becomes live, with its commands if it never was.
pub(crate) fn activate(settings: &Settings, prepare: Option<Prepare>, is_live: bool) -> Steps<'static> {
    let mut steps = match prepare {
        Some(prepare) => before_switch(settings, prepare),
        // It was live, and was checked then; what it stands on may be gone.
        None => vec![Box::new(Startable) as Box<dyn Step>],
    };
    let mut switch = switch();
    steps.extend(switch.drain(usize::from(is_live)..));
    steps
}

/// From the switch on: the first step is the switch itself.
pub(crate) fn switch() -> Steps<'static> {
    vec![Box::new(Switch), Box::new(Reload), Box::new(Verify), Box::new(Commit)]
}

/// A release is looked at, as before a deploy runs its commands.
pub(crate) fn check(settings: &Settings) -> Steps<'static> {
    let look = if settings.prepare.is_empty() { Look::Once } else { Look::Before };
    vec![Box::new(Check(look))]
}

/// A database is changed. None is for code that does not even start.
pub(crate) fn migrate() -> Steps<'static> {
    vec![Box::new(Check(Look::Before)), Box::new(Commands::Migrations)]
}

/// A line for each step.
pub(crate) fn describe(steps: &Steps<'_>, settings: &Settings) -> Vec<String> {
    steps.iter().map(|step| format!("{}: {}", step.phase(), step.describe(settings))).collect()
}

fn before_switch(settings: &Settings, prepare: Prepare) -> Steps<'static> {
    let (mut steps, commands): (Steps<'static>, _) = match prepare {
        Prepare::Run => (Vec::new(), Some(Commands::All)),
        Prepare::WithoutMigrations => (Vec::new(), Some(Commands::Others)),
        Prepare::Skip => (vec![Box::new(Inherit)], None),
    };
    let commands = commands.filter(|commands| !commands.of(settings).is_empty());
    steps.push(Box::new(Check(if commands.is_some() { Look::Before } else { Look::Once })));
    steps.push(Box::new(StaticRoot { is_written: commands.is_some() }));
    if let Some(commands) = commands {
        steps.push(Box::new(commands));
        steps.push(Box::new(Check(Look::After)));
    }
    steps
}
