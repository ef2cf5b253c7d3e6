//! The one place that prints: results on stdout, everything else on stderr. What is printed is text of others for the most
//! part, so no control characters are let through but those of this file.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "this is where it is done")]

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::ColorChoice as StreamChoice;
use clap::ColorChoice;
use owo_colors::OwoColorize;
use wheelbarrow_artifact::{printable, printable_json};

use crate::{failure, text};

/// The first error of writing results in this process.
static LOST: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Whether something was changed, which stays changed.
static DEED: AtomicBool = AtomicBool::new(false);

fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = anstream::stdout();
    writeln!(stdout, "{}", printable(text)).and_then(|()| stdout.flush())
}

/// On standard error. Where that cannot be written nobody is told, and what is under way goes on.
fn tell(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

#[derive(Clone, Copy, Debug)]
pub struct Printer {
    quiet: bool,
    verbose: bool,
}

impl Printer {
    /// `color` counts for the whole process; `auto` heeds `NO_COLOR`, `CLICOLOR_FORCE` and pipes.
    pub fn new(quiet: bool, verbose: bool, color: ColorChoice) -> Self {
        match color {
            ColorChoice::Auto => StreamChoice::Auto,
            ColorChoice::Always => StreamChoice::Always,
            ColorChoice::Never => StreamChoice::Never,
        }
        .write_global();
        Self { quiet, verbose }
    }

    /// What the command was asked for.
    pub fn result(&self, text: &str) {
        if let Err(error) = write(text)
            && let Ok(mut lost) = LOST.lock()
        {
            lost.get_or_insert(error);
        }
    }

    /// From here on it is done, whether people hear of it or not: a command must not be said to have failed that has
    /// changed what is live.
    pub fn deed(&self) {
        DEED.store(true, Ordering::Relaxed);
    }

    /// Why a part of the result was not written, if that is so: it is then no result. After a deed there is none.
    pub fn finish(&self) -> anyhow::Result<()> {
        if DEED.load(Ordering::Relaxed) {
            return Ok(());
        }
        match LOST.lock().ok().and_then(|mut lost| lost.take()) {
            // A reader that has gone away (`| head`) is no failure of ours.
            Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(anyhow::Error::new(error).context("cannot write the result"))
            }
            _ => Ok(()),
        }
    }

    /// What the command was asked for with `--json`.
    pub fn json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        self.result(&printable_json(&serde_json::to_string_pretty(value)?));
        Ok(())
    }

    /// That something was done, for people; not with `--quiet`. It is done, whether they hear of it or not.
    pub fn done(&self, text: &str) {
        if !self.quiet {
            let _ = write(text);
        }
    }

    /// What a person should know beside the result.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            tell(format_args!("{} {}", "note:".cyan(), printable(text)));
        }
    }

    /// That a phase of an operation is over: a line on a terminal and in a log. Programs find it in the JSON.
    pub fn phase(&self, name: &str, milliseconds: u64) {
        if !self.quiet && !failure::wants_json() {
            let name = printable(name);
            tell(format_args!("{name:<14} {}", text::seconds(milliseconds)));
        }
    }

    /// Whether details are wanted.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Only with `--verbose`.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            tell(format_args!("{}", printable(text)));
        }
    }

    /// Why it failed, the causes behind that, and what to do.
    /// With `--json` the same is on stdout, under the one key `failure`.
    pub fn failure(&self, error: &anyhow::Error, hint: Option<String>, exit_code: u8) {
        tell(format_args!("{} {}", "error:".red().bold(), printable(&error.to_string())));
        for cause in failure::causes(error) {
            tell(format_args!("  Caused by: {}", printable(&cause)));
        }
        if let Some(hint) = &hint {
            tell(format_args!("{} {}", "hint:".green().bold(), printable(hint)));
        }
        if failure::wants_json() {
            let failure = failure::Failure::new(error, hint, exit_code);
            let _ = self.json(&serde_json::json!({ "failure": failure }));
        }
    }

    /// Whether progress is worth drawing: on a terminal, and wanted.
    pub fn draws_progress(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}
