//! Runs a command of a site: its output is bounded, and processes that it leaves running are not waited for.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{Error, Result};

/// Bytes of each stream that are kept: the last.
const MOST_OUTPUT: u64 = 1 << 20;

/// Runs a command to its end. Its streams are files of `scratch`, which another process may hold open for longer.
pub(super) fn run(command: &mut Command, scratch: &Path) -> Result<Output> {
    let make = || tempfile::tempfile_in(scratch).map_err(Error::io("make a file in", scratch));
    let (stdout, stderr) = (make()?, make()?);
    let program = PathBuf::from(command.get_program());
    let failed = |source| Error::Run { program: program.clone(), source };
    command.stdout(stdout.try_clone().map_err(failed)?).stderr(stderr.try_clone().map_err(failed)?);
    let status = command.status().map_err(failed)?;
    Ok(Output { status, stdout: last(stdout).map_err(failed)?, stderr: last(stderr).map_err(failed)? })
}

/// The end of a file. Where it begins within a line, that line is left out: half a secret would not be found.
fn last(mut file: std::fs::File) -> std::io::Result<Vec<u8>> {
    let skipped = file.metadata()?.len().saturating_sub(MOST_OUTPUT);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(MOST_OUTPUT).read_to_end(&mut bytes)?;
    if skipped > 0 {
        let line = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        bytes.drain(..line);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_bounded_and_what_runs_on_is_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let sh = |script: &str| run(Command::new("sh").args(["-c", script]), place.path()).unwrap();
        let begun = std::time::Instant::now();
        let output = sh("sleep 60 & echo out; echo err >&2; exit 3");
        assert!(begun.elapsed().as_secs() < 30, "it waited for what the command left running");
        assert_eq!(
            (output.status.code(), &*output.stdout, &*output.stderr),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
        let output = sh("printf secret; head -c 3000000 /dev/zero; echo; echo last");
        assert_eq!(output.stdout, b"last\n");
        let output = sh("head -c 9000000 /dev/zero");
        assert!(output.stdout.is_empty() && output.status.success());
    }
}
