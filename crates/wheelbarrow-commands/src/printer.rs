//! The one place that prints: results on stdout, everything else on stderr.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "this is where it is done")]

use std::io::{IsTerminal, Write};

use anstream::ColorChoice as StreamChoice;
use clap::ColorChoice;
use owo_colors::OwoColorize;

use crate::failure;

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
        // A reader that has gone away (`| head`) is no failure of ours.
        let _ = writeln!(anstream::stdout(), "{text}");
    }

    /// What the command was asked for with `--json`.
    pub fn json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        self.result(&serde_json::to_string_pretty(value)?);
        Ok(())
    }

    /// That something was done, for people; not with `--quiet`.
    pub fn done(&self, text: &str) {
        if !self.quiet {
            self.result(text);
        }
    }

    /// What a person should know beside the result.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            anstream::eprintln!("{} {text}", "note:".cyan());
        }
    }

    /// Whether details are wanted.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Only with `--verbose`.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            anstream::eprintln!("{text}");
        }
    }

    /// Why it failed, the causes behind that, and what to do.
    pub fn failure(&self, error: &anyhow::Error, hint: Option<&str>) {
        anstream::eprintln!("{} {error}", "error:".red().bold());
        for cause in failure::causes(error) {
            anstream::eprintln!("  Caused by: {cause}");
        }
        if let Some(hint) = hint {
            anstream::eprintln!("{} {hint}", "hint:".green().bold());
        }
    }

    /// Whether progress is worth drawing: on a terminal, and wanted.
    pub fn draws_progress(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}
