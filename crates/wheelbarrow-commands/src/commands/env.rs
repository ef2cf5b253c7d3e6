//! `wheelbarrow env check FILE`, and `env set`, `unset`, `apply`, `list` and `diff --root ROOT`

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use wheelbarrow_artifact::manifest::EnvironmentRules;
use wheelbarrow_artifact::{Anybody, Artifact};
use wheelbarrow_base::{LARGEST_ENVIRONMENT, open_regular};
use wheelbarrow_release::environment;
use wheelbarrow_release::{
    ChangedEnvironment, EnvironmentDifference, RewrittenFile, VariableChange, change_environment, check_name,
    environment_difference, environment_names, plan_change, plan_rewrite, rewrite_environment,
};

use super::root::{RootArguments, SwitchArguments, WaitArguments, find};
use crate::failure::{CommandError, CommandResult, Refusal, WithContext};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::{absolute, secret, text};

#[derive(Args)]
pub struct EnvArguments {
    #[command(subcommand)]
    command: EnvCommand,
}

#[derive(Subcommand)]
enum EnvCommand {
    /// Check whether a site would start with this file
    Check {
        /// The file, such as environment.json
        file: PathBuf,
        /// Check by the rules of this artifact: required variables, who may read the file
        #[arg(long)]
        artifact: Option<PathBuf>,
    },
    /// Set a variable, and release it; the value is prompted for, or read from standard input
    Set {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        change: SwitchArguments,
    },
    /// Remove a variable, and release that
    Unset {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        change: SwitchArguments,
    },
    /// Release the current contents of ROOT/shared/environment.json
    Apply {
        #[command(flatten)]
        change: SwitchArguments,
    },
    /// Write ROOT/shared/environment.json from a JSON object on standard input; the next release uses it
    Write {
        #[command(flatten)]
        root: RootArguments,
        /// Keep variables that are not in the object
        #[arg(long)]
        merge: bool,
        /// Print what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        wait: WaitArguments,
    },
    /// List the names of the variables, never a value
    List {
        #[command(flatten)]
        root: RootArguments,
        /// A release [default: ROOT/shared/environment.json]
        #[arg(long, value_name = "ID")]
        release: Option<String>,
    },
    /// List the names that differ between two environments, never a value
    Diff {
        /// A release [default: the live one]
        one: Option<String>,
        /// Another release [default: ROOT/shared/environment.json]
        other: Option<String>,
        #[command(flatten)]
        root: RootArguments,
    },
}

#[derive(Args)]
struct Name {
    /// The name of the variable
    #[arg(value_name = "KEY")]
    name: String,
    /// Taken so that it can be refused without being shown. One, so that flags behind it are read.
    #[arg(hide = true, allow_hyphen_values = true)]
    value: Option<std::ffi::OsString>,
    /// The same.
    #[arg(hide = true, allow_hyphen_values = true)]
    values: Vec<std::ffi::OsString>,
}

pub(super) fn run(arguments: EnvArguments, printer: &Printer) -> CommandResult<()> {
    match arguments.command {
        EnvCommand::Check { file, artifact } => check(&file, artifact, printer),
        EnvCommand::Set { name, change: arguments } => {
            let name = name.validated()?;
            // Nobody types a password for a root that is not there.
            arguments.root.open()?;
            let value = secret::read(&name)?;
            change(&VariableChange::Set { name, value }, &arguments, printer)
        }
        EnvCommand::Unset { name, change: arguments } => {
            change(&VariableChange::Unset { name: name.validated()? }, &arguments, printer)
        }
        EnvCommand::Apply { change: arguments } => change(&VariableChange::Nothing, &arguments, printer),
        EnvCommand::Write { root, merge, dry_run, wait } => {
            let mut text = Vec::new();
            // One byte more, which is refused.
            let limited = std::io::stdin().take(LARGEST_ENVIRONMENT + 1).read_to_end(&mut text);
            limited.context(|| "cannot read standard input".to_owned())?;
            let change =
                if merge { VariableChange::Merge { text } } else { VariableChange::Replace { text } };
            let path = absolute(&root.root)?;
            let rewritten = if dry_run {
                plan_rewrite(&path, &change)?
            } else {
                rewrite_environment(&path, &change, &wait.operator(&Bar::interruptible(printer)))?
            };
            report(&rewritten, dry_run, root.json, printer)
        }
        EnvCommand::List { root, release } => {
            let site = root.open()?;
            let release = release.map(|id| find(&site, &id)).transpose()?;
            let names = environment_names(&site, release.as_ref())?;
            if root.json {
                return printer.json(&names);
            }
            names.iter().for_each(|name| printer.result(&name.escape_debug().to_string()));
            Ok(())
        }
        EnvCommand::Diff { one, other, root } => {
            let site = root.open()?;
            let one = match one {
                Some(id) => find(&site, &id)?,
                None => site.complete_or_live(None)?.id().clone(),
            };
            let other = other.map(|id| find(&site, &id)).transpose()?;
            let difference = environment_difference(&site, Some(&one), other.as_ref())?;
            if root.json {
                return printer.json(&difference);
            }
            show(&difference, printer);
            Ok(())
        }
    }
}

impl Name {
    fn validated(self) -> CommandResult<String> {
        if self.value.is_some() {
            let message =
                "a value must not stand in a command, which other users and the shell's history can see";
            let hint = "leave it out: the value is prompted for, or read from standard input";
            return Err(Refusal::usage(message, hint).into());
        }
        check_name(&self.name)?;
        Ok(self.name)
    }
}

fn check(file: &Path, artifact: Option<PathBuf>, printer: &Printer) -> CommandResult<()> {
    let rules = match artifact {
        Some(path) => Artifact::open_thin(&path, &Anybody)?.manifest().environment.clone(),
        None => EnvironmentRules::default(),
    };
    let open = open_regular(file).context(|| format!("cannot read {}", file.display()))?;
    let mode = open.metadata()?.permissions().mode();
    let mut data = Vec::new();
    open.take(LARGEST_ENVIRONMENT + 1).read_to_end(&mut data)?;
    let keys =
        environment::check(&data, mode, &rules, |key| std::env::var_os(key).is_some()).map_err(|error| {
            let context = Some(format!("{}{error}", file.display()));
            CommandError::Explained { context, error: Box::new(error) }
        })?;
    printer.done(&format!("{}: {}", file.display(), text::count(keys.len(), "variable")));
    Ok(())
}

fn change(change: &VariableChange, arguments: &SwitchArguments, printer: &Printer) -> CommandResult<()> {
    let root = arguments.root.open()?;
    let json = arguments.root.json;
    if arguments.dry_run {
        return answer(&plan_change(&root, change)?, "would be live", json, printer);
    }
    let progress = Bar::interruptible(printer);
    let operator = arguments.operator(&progress);
    let mut answered = Ok(());
    let pruned = change_environment(&root, change, arguments.prepare(), &operator, |changed| {
        printer.deed();
        answered = answer(changed, "is live", json, printer);
    })?;
    super::prune::note_after(&pruned, printer);
    answered
}

fn answer(changed: &ChangedEnvironment, live: &str, json: bool, printer: &Printer) -> CommandResult<()> {
    if json {
        return printer.json(changed);
    }
    show(&changed.difference, printer);
    let ChangedEnvironment { id, previous, difference, milliseconds, .. } = changed;
    let message = match (id, previous) {
        (Some(id), Some(previous)) => {
            format!("{id} {live}, in place of {previous} ({})", text::seconds(*milliseconds))
        }
        (None, Some(live)) if difference.is_empty() => format!("nothing differs from what {live} has"),
        (None, None) if difference.is_empty() => "nothing differs".to_owned(),
        (_, Some(live)) => format!("{live} has this environment already"),
        (_, None) => "no release is live; the first one will use it".to_owned(),
    };
    printer.done(&message);
    Ok(())
}

fn report(rewritten: &RewrittenFile, dry_run: bool, json: bool, printer: &Printer) -> CommandResult<()> {
    if !dry_run && rewritten.is_changed {
        printer.deed();
    }
    if json {
        return printer.json(rewritten);
    }
    show(&rewritten.difference, printer);
    let path = rewritten.path.display();
    printer.done(&match (rewritten.is_changed, dry_run) {
        (false, _) => format!("{path} is up to date"),
        (true, true) => format!("would write {path}"),
        (true, false) => format!("wrote {path}"),
    });
    Ok(())
}

fn show(difference: &EnvironmentDifference, printer: &Printer) {
    let EnvironmentDifference { added, removed, changed } = difference;
    for (sign, names) in [("+", added), ("-", removed), ("~", changed)] {
        names.iter().for_each(|name| printer.result(&format!("{sign} {}", name.escape_debug())));
    }
}
