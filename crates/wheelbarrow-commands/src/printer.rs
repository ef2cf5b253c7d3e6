//! The only module that prints: results on stdout, everything else on stderr. Most printed text comes from
//! outside, so all control characters are escaped, except those that this file writes.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "this is where it is done")]

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ColorChoice;
use wheelbarrow_artifact::{printable, printable_json, printable_line};

use crate::failure::{CommandError, CommandResult, Failure, WithContext, wants_json};
use crate::text;

/// The first error of writing results in this process.
static LOST: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Whether something was changed, which stays changed.
static DEED: AtomicBool = AtomicBool::new(false);

fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", printable(text)).and_then(|()| stdout.flush())
}

/// Indents the lines of a text, but the first, that begin as a line of this file does: a text of others has none such.
fn not_like_ours(text: &str) -> String {
    const OURS: [&str; 5] = ["error:", "hint:", "docs:", "note:", "Caused by:"];
    let is_ours = |line: &str| OURS.iter().any(|ours| line.trim_start().starts_with(ours));
    let lines = text.split('\n').enumerate();
    let lines =
        lines.map(|(at, line)| if at > 0 && is_ours(line) { format!("    {line}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

/// On standard error. Where that cannot be written nobody is told, and what is under way goes on.
fn tell(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether standard error takes colours, by the conventions of <https://no-color.org> and <https://bixense.com/clicolors>.
fn has_colours(color: ColorChoice) -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let is_zero = |name| set(name).is_some_and(|value| value == "0");
    match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if set("NO_COLOR").is_some() => false,
        ColorChoice::Auto if set("CLICOLOR_FORCE").is_some() && !is_zero("CLICOLOR_FORCE") => true,
        ColorChoice::Auto => {
            let obeys = set("TERM").is_some_and(|term| term != "dumb");
            obeys && !is_zero("CLICOLOR") && std::io::stderr().is_terminal()
        }
    }
}

/// Codes of a terminal (ECMA-48, 8.3.117).
const CYAN: &str = "36";
const BOLD_GREEN: &str = "1;32";
const BOLD_RED: &str = "1;31";

#[derive(Clone, Copy, Debug)]
pub struct Printer {
    quiet: bool,
    verbose: bool,
    colours: bool,
}

impl Printer {
    /// `auto` heeds `NO_COLOR`, `CLICOLOR_FORCE` and pipes.
    pub fn new(quiet: bool, verbose: bool, color: ColorChoice) -> Self {
        Self { quiet, verbose, colours: has_colours(color) }
    }

    /// A line on standard error that begins with a coloured word.
    fn say(&self, colour: &str, word: &str, text: &str) {
        let text = not_like_ours(&printable(text));
        if self.colours {
            tell(format_args!("\x1b[{colour}m{word}\x1b[0m {text}"));
        } else {
            tell(format_args!("{word} {text}"));
        }
    }

    /// In the place of what was drawn before, on a terminal and as far as one line of it reaches.
    pub(crate) fn draw(&self, text: &str) {
        let size = rustix::termios::tcgetwinsize(std::io::stderr());
        let columns = size.map_or(80, |size| if size.ws_col == 0 { 80 } else { usize::from(size.ws_col) });
        // What is not ASCII may be two columns wide.
        let mut room = columns.saturating_sub(1);
        let fits = text.chars().take_while(|character| {
            let width = if character.is_ascii() { 1 } else { 2 };
            room.checked_sub(width).inspect(|left| room = *left).is_some()
        });
        let mut line = "\r\x1b[K".to_owned();
        line.extend(fits);
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    /// What the command was asked for.
    pub fn result(&self, text: &str) {
        if let Err(error) = write(text)
            && let Ok(mut lost) = LOST.lock()
        {
            lost.get_or_insert(error);
        }
    }

    /// A line of a result. Whoever chooses a part of it begins no other one.
    pub fn line(&self, text: &str) {
        self.result(&printable_line(text));
    }

    /// From here on it is done, whether people hear of it or not: a command must not be said to have failed that has
    /// changed what is live.
    pub fn deed(&self) {
        DEED.store(true, Ordering::Relaxed);
    }

    /// Why a part of the result was not written, if that is so: it is then no result. After a deed there is none.
    pub fn finish(&self) -> CommandResult<()> {
        if DEED.load(Ordering::Relaxed) {
            return Ok(());
        }
        match LOST.lock().ok().and_then(|mut lost| lost.take()) {
            // A reader that has gone away (`| head`) is no failure of ours.
            Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(error).context(|| "cannot write the result".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What the command was asked for with `--json`.
    pub fn json(&self, value: &impl serde::Serialize) -> CommandResult<()> {
        self.result(&printable_json(&serde_json::to_string_pretty(value).map_err(std::io::Error::from)?));
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
            self.say(CYAN, "note:", text);
        }
    }

    /// That a phase of an operation is over: a line on a terminal and in a log. Programs find it in the JSON.
    pub fn phase(&self, name: &str, milliseconds: u64) {
        if !self.quiet && !wants_json() {
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

    /// Why it failed, the causes behind that, what to do, and where that is explained.
    /// With `--json` the same is on stdout, under the one key `failure`.
    pub fn failure(&self, error: &CommandError) {
        self.say(BOLD_RED, "error:", &error.to_string());
        for cause in error.causes() {
            tell(format_args!("  Caused by: {}", not_like_ours(&printable(&cause))));
        }
        if let Some(hint) = error.hint() {
            self.say(BOLD_GREEN, "hint:", &hint);
        }
        if let Some(address) = wheelbarrow_base::explained_at(error.exit_code()) {
            self.say(CYAN, "docs:", &address);
        }
        if wants_json() {
            let _ = self.json(&serde_json::json!({ "failure": Failure::new(error) }));
        }
    }

    /// Whether progress is worth drawing: on a terminal, and wanted.
    pub fn draws_progress(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_others_looks_like_one_of_ours() {
        let text = "cannot read /srv/a\nhint: run it\n  Caused by: b\n  log:\n    x";
        let shown = "cannot read /srv/a\n    hint: run it\n      Caused by: b\n  log:\n    x";
        assert_eq!(not_like_ours(text), shown);
    }
}
