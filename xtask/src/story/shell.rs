//! A shell that is told one command after the other, as by somebody who sits at it: directory and variables stay.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// For any one command.
const PATIENCE: Duration = Duration::from_secs(300);
/// Stands before the exit code, and is said by nothing else.
const MARK: &str = "\u{1}ended ";

pub(super) struct Shell {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

/// What a command said, on both of its outputs, and how it ended.
pub(super) struct Heard {
    pub(super) lines: Vec<String>,
    pub(super) code: i32,
}

impl Shell {
    /// `bash` is a command that runs one.
    pub(super) fn start(bash: &mut Command) -> Result<Self> {
        let bash = bash.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = bash.spawn().context("cannot start a shell")?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        writeln!(stdin, "exec 2>&1")?;
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, stdin, lines })
    }

    pub(super) fn run(&mut self, command: &str) -> Result<Heard> {
        // What it reads is not what comes next here; and `$?` is that of the command before.
        writeln!(
            self.stdin,
            "(exit ${{code:-0}})\n{{ {command}\n}} </dev/null; code=$?; printf '\\n{MARK}%s\\n' $code"
        )?;
        let mut said = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                bail!("`{command}` did not end, or the shell did:\n{}", said.join("\n"));
            };
            if let Some(code) = line.strip_prefix(MARK) {
                // The mark began a line of its own.
                if said.last().is_some_and(String::is_empty) {
                    said.pop();
                }
                return Ok(Heard { lines: said, code: code.parse().context("an exit code")? });
            }
            said.push(line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_remembers() {
        let mut shell = Shell::start(&mut Command::new("bash")).unwrap();
        assert_eq!(shell.run("cd / && export A=b; cat").unwrap().lines, Vec::<String>::new());
        let heard = shell.run("echo $A; pwd; printf c; echo d >&2; sh -c 'exit 7'").unwrap();
        assert_eq!((heard.lines.join(" ").as_str(), heard.code), ("b / cd", 7));
        assert_eq!(shell.run("echo $?").unwrap().lines, ["7"]);
    }
}
