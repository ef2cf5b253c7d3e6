//! Optional programs of the system: if one fails, a note is printed, and the deploy continues.

use std::process::{Command, Stdio};
use std::time::Duration;

use wheelbarrow_base::progress::Progress;

use super::child::{self, Leftovers, ProgramEnd};
use super::output::Output;
use super::secrets::Secrets;

/// Bytes of what it says.
const LONGEST: usize = 16 << 10;

/// Runs it for no longer than the limit. What went wrong, in a line.
pub(crate) fn attempt(command: &mut Command, limit: Duration, progress: &dyn Progress) -> Option<String> {
    let said = Output::memory().and_then(|said| Ok((said.writer()?, said)));
    let (writer, said) = match said {
        Ok(said) => said,
        Err(error) => return Some(error.to_string()),
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    let running = match child::start(command, Leftovers::Keep, None) {
        Ok(running) => running,
        Err(error) => return Some(error.to_string()),
    };
    match running.wait(limit, progress, || said.cut(&Secrets::default())) {
        Ok(ProgramEnd::By(status)) if status.success() => None,
        Ok(ProgramEnd::By(_)) => Some(first_line(&said.head(LONGEST))),
        Ok(ProgramEnd::Late) => Some(format!("not done after {} s", limit.as_secs())),
        Ok(ProgramEnd::Cancelled) => Some("not waited for".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

pub(crate) fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or_default().trim().to_owned()
}
