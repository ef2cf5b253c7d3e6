//! The standalone binary in every artifact.
//!
//! `__main__.py` starts it, in one of two ways. Without arguments it is the installer, which reads a request
//! from its standard input. With arguments, these are the path of the artifact, the path of the Python that
//! ran it, and the words of a command on releases: `./site.zip deploy --root ROOT` is `wheelbarrow deploy
//! site.zip --root ROOT`. Under the name `wheelbarrow` it accepts such a command alone: it can be copied to a
//! server to manage releases there.
//!
//! The script in front of an artifact with a bundled Python starts it too, with an empty path of a Python:
//! then it does the work of `__main__.py` itself. `--starts` only shows that the program runs.

#[cfg(any(test, target_env = "musl"))]
mod compare;
mod door;
mod installer;
mod request;
#[cfg(target_env = "musl")]
mod thread_names;
#[cfg(all(target_env = "musl", panic = "abort"))]
mod unwind;

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgAction, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use wheelbarrow_artifact::{Anybody, Trust, printable_line};
use wheelbarrow_base::{Exit, Memory};
use wheelbarrow_commands::commands::{Command, Context, run};
use wheelbarrow_commands::failure::{CommandError, CommandResult, Refusal, runs_from};
use wheelbarrow_commands::printer::Printer;
use wheelbarrow_commands::verify_artifact::HOST_SIGNERS;

/// That of musl has one lock for all threads, and gives large blocks back to the kernel each time.
#[global_allocator]
static ALLOCATOR: Memory<mimalloc::MiMalloc> = Memory(mimalloc::MiMalloc);

/// Make and manage releases of this site.
#[derive(Parser)]
#[command(name = "wheelbarrow", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Print errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print details
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
}

/// By which it was started by somebody who has no artifact.
const NAME: &str = "wheelbarrow";

/// The one word with which it does nothing.
const STARTS: &str = "--starts";

/// `mi_option_purge_delay` of mimalloc.h: how many milliseconds freed memory is kept.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    wheelbarrow_base::watch_panics();
    wheelbarrow_base::reset_signals();
    // Buffers of large members are not kept beside each other; what is used again at once is kept.
    // SAFETY: no other thread was started yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 1) };
    let mut words = std::env::args_os();
    if words.next().is_some_and(|program| Path::new(&program).file_name() == Some(OsStr::new(NAME))) {
        return main_of(
            parse(NAME, words.collect()),
            &Context { artifact: None, python: None, judge: host_judge },
        );
    }
    let (Some(artifact), Some(python)) = (words.next(), words.next()) else {
        return match std::env::args_os().nth(1) {
            Some(word) if word == STARTS => ExitCode::SUCCESS,
            _ => installer::run(),
        };
    };
    if python.is_empty() {
        return enter(&artifact, words.collect());
    }
    let name = Path::new(&artifact).file_name().unwrap_or(&artifact).to_string_lossy().into_owned();
    let context =
        Context { artifact: Some(artifact.into()), python: Some(PathBuf::from(python)), judge: no_judge };
    main_of(parse(&name, words.collect()), &context)
}

/// Without a Python: a command on releases, or an install.
fn enter(artifact: &OsStr, words: Vec<OsString>) -> ExitCode {
    let name = Path::new(artifact).file_name().unwrap_or(artifact).to_string_lossy().into_owned();
    let absolute = std::path::absolute(artifact).unwrap_or_else(|_| artifact.into());
    let is_option = words.first().is_none_or(|word| word.as_encoded_bytes().starts_with(b"-"));
    if !is_option {
        let context = Context { artifact: Some(absolute), python: None, judge: no_judge };
        return main_of(parse(&name, words), &context);
    }
    let printer = Printer::new(false, false, ColorChoice::Auto);
    let ended = no_judge(None).and_then(|_| door::run(&absolute, &words, &printer));
    ended.unwrap_or_else(|error| fail(&error, &printer))
}

fn main_of(cli: Cli, context: &Context) -> ExitCode {
    if let Some(artifact) = &context.artifact {
        runs_from(artifact, Command::has_subcommand);
    }
    let printer = Printer::new(cli.global.quiet, cli.global.verbose > 0, cli.global.color);
    match run(cli.command, context, &printer).and_then(|()| printer.finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, &printer),
    }
}

fn fail(error: &CommandError, printer: &Printer) -> ExitCode {
    if !matches!(error, CommandError::Reported(_)) {
        printer.failure(error);
    }
    ExitCode::from(error.exit_code())
}

/// The host's own: whoever has put this program there trusts it.
fn host_judge(file: Option<&Path>) -> CommandResult<Arc<dyn Trust>> {
    Ok(wheelbarrow_signature::judge(file, Path::new(HOST_SIGNERS))?)
}

/// What is asked of is the judge, so there is nothing to trust in its answer.
fn no_judge(file: Option<&Path>) -> CommandResult<Arc<dyn Trust>> {
    let of_host = Path::new(HOST_SIGNERS);
    let is_missing = of_host.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if file.is_none() && is_missing {
        return Ok(Arc::new(Anybody));
    }
    let message = match file {
        Some(_) => "an artifact cannot verify its own signature".to_owned(),
        None => {
            format!(
                "this host accepts signed artifacts only ({HOST_SIGNERS}), and an artifact cannot verify itself"
            )
        }
    };
    let hint = "use `wheelbarrow` of the host in place of the artifact, and the artifact as the argument of its command, such as \
                `deploy ARTIFACT` or `unit ARTIFACT`";
    let hint = Some(hint.to_owned());
    Err(Refusal { message, hint, exit: Exit::Unsigned }.into())
}

/// Help and usage name the artifact, which is what people have started.
fn parse(name: &str, words: Vec<OsString>) -> Cli {
    let name = printable_line(name).into_owned();
    let command = Cli::command().bin_name(name.clone());
    let words = std::iter::once(OsString::from(name)).chain(words);
    Cli::from_arg_matches(&command.get_matches_from(words)).unwrap_or_else(|error| error.exit())
}
