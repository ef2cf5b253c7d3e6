//! Optional programs of the system: if one fails, a note is printed, and the deploy continues.

use std::process::{Command, Stdio};
use std::time::Duration;

use wheelbarrow_base::progress::{Progress, Silent};

use super::child::{self, Leftovers, ProgramEnd};
use super::output::Output;
use super::secrets::Secrets;

/// Bytes of what it says.
const LONGEST: usize = 16 << 10;

/// Runs it for no longer than the limit. What went wrong, in a line.
pub(crate) fn attempt(command: &mut Command, limit: Duration, progress: &dyn Progress) -> Option<String> {
    let ended = run(command.stdout(Stdio::null()), Command::stderr, limit, progress);
    match ended {
        Ok((ProgramEnd::By(status), _)) if status.success() => None,
        Ok((ProgramEnd::By(_), said)) => Some(first_line(&said.head(LONGEST))),
        Ok((ProgramEnd::Late, _)) => Some(format!("not done after {} s", limit.as_secs())),
        Ok((ProgramEnd::Cancelled, _)) => Some("not waited for".to_owned()),
        Err(error) => Some(error),
    }
}

/// What it prints; nothing if it fails, or does not end in time.
pub(crate) fn answer(command: &mut Command, limit: Duration) -> Vec<u8> {
    match run(command.stderr(Stdio::null()), Command::stdout, limit, &Silent) {
        Ok((ProgramEnd::By(_), said)) => said.head(LONGEST << 6),
        _ => Vec::new(),
    }
}

/// Runs it with one of its streams kept in memory.
fn run(
    command: &mut Command,
    stream: fn(&mut Command, std::fs::File) -> &mut Command,
    limit: Duration,
    progress: &dyn Progress,
) -> Result<(ProgramEnd, Output), String> {
    let said = Output::memory().and_then(|said| Ok((said.writer()?, said)));
    let (writer, said) = said.map_err(|error| error.to_string())?;
    stream(command.stdin(Stdio::null()), writer);
    let ended = child::start(command, Leftovers::Keep, None)
        .and_then(|running| running.wait(limit, progress, || said.cut(&Secrets::default())));
    Ok((ended.map_err(|error| error.to_string())?, said))
}

pub(crate) fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or_default().trim().to_owned()
}
