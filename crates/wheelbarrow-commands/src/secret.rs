//! Reads a secret value: from a terminal without echo, else from standard input.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use wheelbarrow_base::Exit;

use crate::failure::{CommandResult, Refusal, WithContext};

/// No value is larger: the kernel takes no longer string, in bytes.
const LONGEST: u64 = 128 << 10;

const INTERRUPT: u8 = 3;
const END: u8 = 4;
const KILL_LINE: u8 = 21;
const ERASE: [u8; 2] = [8, 127];

/// The value of the variable `name`. What is piped in may end with one line end, which is not of it.
pub(crate) fn read(name: &str) -> CommandResult<String> {
    let stdin = std::io::stdin();
    let bytes = if stdin.is_terminal() {
        let silence = HiddenInput::begin(stdin.as_fd())?;
        let mut stderr = std::io::stderr();
        let _ = write!(stderr, "value of {name}: ").and_then(|()| stderr.flush());
        let typed = type_line(&mut stdin.lock());
        drop(silence);
        let _ = writeln!(stderr);
        typed?.ok_or_else(|| Refusal { message: "stopped".to_owned(), hint: None, exit: Exit::Stopped })?
    } else {
        let mut bytes = Vec::new();
        stdin
            .lock()
            .take(LONGEST + 1)
            .read_to_end(&mut bytes)
            .context(|| "cannot read standard input".to_owned())?;
        if bytes.is_empty() {
            // What should have written it has failed, as a rule.
            let message = format!("standard input ends before the value of {name}");
            return Err(
                Refusal::usage(message, "nothing was changed; an empty line is an empty value").into()
            );
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        bytes
    };
    let refuse = |what: &str| Refusal::usage(format!("the value of {name} {what}"), "nothing was changed");
    if bytes.len() as u64 >= LONGEST {
        return Err(refuse("is too long").into());
    }
    // The error of the conversion would have the bytes with it.
    String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8").into())
}

/// A terminal that does not show what is typed, and hands over each key, Ctrl-C too, which would else leave it so.
struct HiddenInput<'t> {
    terminal: BorrowedFd<'t>,
    before: Termios,
}

impl<'t> HiddenInput<'t> {
    fn begin(terminal: BorrowedFd<'t>) -> CommandResult<Self> {
        let before = tcgetattr(terminal)
            .map_err(io::Error::from)
            .context(|| "cannot prompt on the terminal".to_owned())?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(terminal, OptionalActions::Flush, &silent)
            .map_err(io::Error::from)
            .context(|| "cannot silence the terminal".to_owned())?;
        Ok(Self { terminal, before })
    }
}

impl Drop for HiddenInput<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// None where the person has thought better of it.
fn type_line(keys: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    for key in keys.bytes() {
        match key? {
            b'\n' | b'\r' => return Ok(Some(line)),
            INTERRUPT | END => return Ok(None),
            KILL_LINE => line.clear(),
            key if ERASE.contains(&key) => {
                // A character of UTF-8, not a byte of one.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            key => line.push(key),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_line_can_be_edited() {
        let typed = |keys: &str| {
            type_line(&mut keys.as_bytes()).unwrap().map(|line| String::from_utf8(line).unwrap())
        };
        assert_eq!(typed("secret\rmore").as_deref(), Some("secret"));
        assert_eq!(typed("wrong\u{15}r\u{e9}x\u{7f}\u{7f}ight\n").as_deref(), Some("right"));
        assert_eq!(typed("sec\u{3}"), None);
        assert_eq!(typed("sec"), None);
    }
}
