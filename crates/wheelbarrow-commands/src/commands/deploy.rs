//! `wheelbarrow deploy ARTIFACT --root ROOT`

use std::path::PathBuf;

use clap::Args;
use wheelbarrow_base::Exit;
use wheelbarrow_install::Pip;
use wheelbarrow_release::{
    DeployExtent, DeployOptions, DeployPlan, Deployed, ExistingRelease, deploy, plan_deploy,
};

use super::activate::does_not_serve;
use super::changes::{between, environment, lines};
use super::context::Context;
use super::prune;
use super::root::{SettingsArguments, SwitchArguments, or_dash};
use crate::failure::{CommandError, CommandResult, Refusal};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text::{Align, table};
use crate::{absolute, text};

#[derive(Args)]
pub struct DeployArguments {
    /// The artifact
    artifact: Option<PathBuf>,
    #[command(flatten)]
    switch: SwitchArguments,
    /// The Python of the site [default: the one in the first line of the artifact, or python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Leave pip out of the virtualenv
    #[arg(long)]
    without_pip: bool,
    /// Accept only artifacts signed by a key in FILE [default: /etc/wheelbarrow/allowed_signers, if it exists]
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    /// Stop before the check; `activate` continues
    #[arg(long)]
    stage: bool,
    /// Reuse an existing good release with the same artifact, environment and flags
    #[arg(long)]
    reuse: bool,
    #[command(flatten)]
    settings: SettingsArguments,
}

pub(super) fn run(arguments: DeployArguments, context: &Context, printer: &Printer) -> CommandResult<()> {
    let progress = Bar::interruptible(printer);
    let operator = arguments.switch.operator(&progress);
    let root = absolute(&arguments.switch.root.root)?;
    let artifact = arguments
        .artifact
        .or_else(|| context.artifact.clone())
        .ok_or_else(|| Refusal::usage("no artifact to deploy", "wheelbarrow deploy ARTIFACT --root ROOT"))?;
    let options = DeployOptions {
        artifact,
        trust: (context.judge)(arguments.allowed_signers.as_deref())?,
        python: arguments.python.or_else(|| context.python.clone()),
        settings: arguments.settings.settings(),
        pip: if arguments.without_pip { Pip::Without } else { Pip::With },
        until: if arguments.stage { DeployExtent::Staged } else { DeployExtent::Live },
        prepare: arguments.switch.prepare(),
        existing: if arguments.reuse { ExistingRelease::Taken } else { ExistingRelease::Remade },
    };
    if arguments.switch.dry_run {
        let plan = plan_deploy(&root, &options)?;
        match arguments.switch.root.json {
            true => printer.json(&plan)?,
            false => printer.result(&show(&plan)),
        }
        return if plan.lacking.is_empty() {
            Ok(())
        } else {
            Err(CommandError::Reported(Exit::Lacking.code()))
        };
    }
    let json = arguments.switch.root.json;
    let mut answered = Ok(());
    let pruned = deploy(&root, &options, &operator, |deployed| {
        printer.deed();
        match json {
            true => answered = printer.json(deployed),
            false => report(deployed, printer),
        }
    })?;
    prune::note_after(&pruned, printer);
    answered
}

fn show(plan: &DeployPlan) -> String {
    let version = plan.version.as_deref().unwrap_or("without a version");
    let mut rows = vec![
        (
            if plan.is_new { "would make" } else { "would take" },
            format!("{} of {} {version}", plan.id, plan.name),
        ),
        ("live now", or_dash(plan.live.as_ref())),
    ];
    rows.extend(plan.doubt.iter().map(|doubt| ("would make", doubt.clone())));
    rows.extend(plan.lost.iter().map(|lost| ("would lose", lost.clone())));
    rows.extend(plan.python.iter().map(|python| ("python", between(python))));
    rows.extend(environment(&plan.environment).map(|names| ("environment", names)));
    rows.extend(plan.signed_by.iter().map(|signer| ("signed by", signer.clone())));
    rows.extend(plan.shared.iter().map(|path| ("shared", path.clone())));
    rows.extend(plan.prepare.iter().map(|words| ("would run", words.clone())));
    match plan.services.is_empty() {
        true => rows.push(("server", plan.server.clone())),
        false => rows.push(("services", plan.services.join(", "))),
    }
    rows.extend(plan.probe.iter().map(|url| ("would ask", url.clone())));
    rows.extend(plan.steps.iter().map(|step| ("step", step.clone())));
    rows.extend(plan.missing.iter().map(|what| ("missing", what.clone())));
    rows.extend(plan.lacking.iter().map(|path| ("is not here", path.clone())));
    let rows: Vec<_> = rows.into_iter().map(|(what, text)| vec![what.to_owned(), text]).collect();
    table(&[Align::Left, Align::Left], &rows)
}

fn report(deployed: &Deployed, printer: &Printer) {
    let Deployed { id, name, version, is_live, changes, unproved, milliseconds, .. } = deployed;
    let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let state = if *is_live { "live" } else { "staged" };
    let lines = if *is_live { lines(changes) } else { String::new() };
    match unproved {
        Some(found) => printer.result(&(does_not_serve(id, "", *milliseconds, found) + &lines)),
        None => {
            printer
                .done(&format!("{id} is {state}: {name}{version} ({}){lines}", text::seconds(*milliseconds)));
        }
    }
}
