//! `wheelbarrow singletons [yes|no] --root ROOT`

use clap::{Args, ValueEnum};
use wheelbarrow_release::{SaidBy, set_singletons, singletons};

use super::root::{RootArguments, WaitArguments, find};
use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::progress::Bar;

#[derive(Args)]
pub struct SingletonsArguments {
    /// Whether this host runs them from now on [default: print whether it does]
    #[arg(value_enum)]
    answer: Option<Answer>,
    /// The release whose services are shown, by its id or number [default: the live release]
    #[arg(long, value_name = "ID", conflicts_with = "answer")]
    release: Option<String>,
    #[command(flatten)]
    root: RootArguments,
    #[command(flatten)]
    wait: WaitArguments,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Answer {
    Yes,
    No,
}

pub(super) fn run(arguments: &SingletonsArguments, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.open()?;
    let found = match arguments.answer {
        Some(answer) => {
            let progress = Bar::interruptible(printer);
            let set = set_singletons(&root, answer == Answer::Yes, &arguments.wait.operator(&progress))?;
            printer.deed();
            set
        }
        None => {
            let release = arguments.release.as_ref().map(|release| find(&root, release)).transpose()?;
            singletons(&root, release.as_ref())?
        }
    };
    if arguments.root.json {
        return printer.json(&found);
    }
    let services = match found.services.as_slice() {
        [] => "services with `hosts = \"one\"`, of which the release has none".to_owned(),
        names => names.join(", "),
    };
    let verb = if found.runs { "runs" } else { "does not run" };
    let why = match found.said_by {
        SaidBy::Nobody => ": the default",
        SaidBy::Command => "",
        SaidBy::Settings => ": set in shared/wheelbarrow.toml",
    };
    let text = format!("this host {verb} {services}{why}");
    match arguments.answer {
        Some(_) => printer.done(&text),
        None => printer.result(&text),
    }
    Ok(())
}
